"""Two networks side by side as one: the mean of what they say, in the time of both."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from labeler.errors import LabelerError
from training.average import check_alike, write_made_of
from training.mirrored import plain, take
from training.networks import PAIR, PAIR_OF, build
from training.trained import Trained, output_shape


def join_runs(first: Trained, second: Trained, folder: str | os.PathLike[str]) -> dict[str, float]:
    """Lay the networks of two runs side by side and leave the result as a run whose logits are the mean of theirs.

    Networks that learned apart make other mistakes, and their mean fewer than either.

    Parameters
    ----------
    first, second : Trained
        A run of each of the networks `training.networks.PAIR_OF`, in this order, on the same crops; the validation
        crops of the second are kept.
    folder : path
        Of the run to write.

    Returns
    -------
    dict
        Of `training.train.validation_row`, on the validation crops.

    Raises
    ------
    LabelerError
        If the runs are of other networks, or differ in classes, crops or validation pictures, or the folder cannot be
        written.
    """
    makes = (first.settings.network, second.settings.network)
    if makes != PAIR_OF or second.crops is None:
        raise LabelerError(
            f"{first.name}, {second.name}: networks {' and '.join(makes)}; join a run of {PAIR_OF[0]} and, with its "
            f"validation crops, one of {PAIR_OF[1]}"
        )
    check_alike(first, second)
    settings = replace(second.settings, network=PAIR)
    seen = ("width", "height", "colour", "framing", "margin")
    if any(getattr(first.settings, name) != getattr(settings, name) for name in seen):
        raise LabelerError(f"{first.name}: other crops than {second.name}; join runs of one size, colour and framing")
    network = build(PAIR, output_shape(settings, second.taxonomy))
    written, parts = plain(network), [plain(run.network) for run in (first, second)]
    for trunk, part in zip(written.trunk.children(), parts, strict=True):
        trunk.load_state_dict(part.trunk.state_dict())
    with torch.no_grad():
        for name, head in written.heads.items():
            weights, biases = zip(*(part.heads[name].state_dict().values() for part in parts), strict=True)
            head.load_state_dict({"weight": torch.cat(weights, 1) / 2, "bias": torch.stack(biases).mean(0)})
    take(network, written)
    network.eval()
    return write_made_of((first, second), network, settings, folder)
