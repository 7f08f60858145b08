"""What a training run leaves: the best weights, read back with all that an export or another run needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from labeler.errors import LabelerError
from labeler.taxonomy import TAXONOMIES, Taxonomy
from training.networks import Answers, Labeler, Shape, build
from training.pictures import Pixels
from training.settings import Settings
from training.sources import Indices
from training.years import YEARS

BEST = "best.pt"
VALIDATION = "validation.npz"


@dataclass(frozen=True)
class Trained:
    """The best weights of a run, and its outputs on the validation pictures.

    Parameters
    ----------
    network : Labeler
        With the moving-average weights, ready for use.
    settings, taxonomy
        Of the run.
    epoch : int
        After which epoch the weights were taken.
    sources : sequence of mapping
        The data sets, as the manifest states them.
    logits : mapping of str to numpy.ndarray
        Of the validation pictures, shape (n, classes), float32.
    labels : mapping of str to numpy.ndarray
        Their class numbers, shape (n,).
    name : str
        What the run is called: its folder's name.
    crops : numpy.ndarray, optional
        The validation crops, shape (n, channels, height, width), uint8, where the run kept them.
    years : numpy.ndarray, optional
        Their ages in years, shape (n,), where they are known.
    """

    network: Labeler
    settings: Settings
    taxonomy: Taxonomy
    epoch: int
    sources: Sequence[Mapping[str, Any]]
    logits: Mapping[str, npt.NDArray[np.float32]]
    labels: Mapping[str, Indices]
    name: str = ""
    crops: Pixels | None = None
    years: npt.NDArray[np.float32] | None = None

    def answers(self, *, flip: bool = False) -> Answers:
        """Return the network as a pack gives it, in evaluation mode."""
        return answers(self.network, self.settings, self.taxonomy, flip=flip)

    def meaning(self, attribute: str) -> tuple[str, ...]:
        """Return what the outputs of an attribute stand for, in order; empty where it was not learned."""
        return output_meaning(self.settings, self.taxonomy, attribute)


def answers(network: Labeler, settings: Settings, taxonomy: Taxonomy, *, flip: bool = False) -> Answers:
    """Return a network as a pack gives it, in evaluation mode."""
    groups = taxonomy.classes["age"] if settings.age_years else ()
    ready = Answers(network, groups, flip=flip)
    ready.eval()
    return ready


def output_meaning(settings: Settings, taxonomy: Taxonomy, attribute: str) -> tuple[str, ...]:
    """Return what the outputs of an attribute's head stand for, in order; empty where it is not learned."""
    if attribute not in settings.names:
        return ()
    if attribute == "age" and settings.age_years:
        return tuple(str(year) for year in range(YEARS))
    return taxonomy.classes[attribute]


def output_shape(settings: Settings, taxonomy: Taxonomy) -> Shape:
    """Return what goes into and comes out of the network of a run."""
    channels = 1 if settings.colour == "gray" else 3
    counts = {name: len(output_meaning(settings, taxonomy, name)) for name in settings.names}
    return Shape(settings.width, settings.height, channels, counts)


def start_from(network: Labeler, settings: Settings, taxonomy: Taxonomy, other: Trained) -> list[str]:
    """Copy into a network the trunk of a trained one, and its heads where their outputs mean the same.

    The first convolution stays fresh where it takes another number of channels.

    Returns
    -------
    list of str
        The attributes whose heads were copied.

    Raises
    ------
    LabelerError
        If the trunks are not of one make.
    """
    mine, theirs = network.trunk.state_dict(), other.network.trunk.state_dict()
    first = next(iter(mine), None)
    other_shape = [name for name in mine if name in theirs and mine[name].shape != theirs[name].shape]
    if mine.keys() != theirs.keys() or other_shape not in ([], [first]):
        raise LabelerError(
            f"--init {other.name}: its network {other.settings.network} has another shape than {settings.network}; "
            "choose a run with the same network"
        )
    network.trunk.load_state_dict(theirs | {name: mine[name] for name in other_shape})
    same = [name for name in settings.names if output_meaning(settings, taxonomy, name) == other.meaning(name)]
    for name in same:
        network.heads[name].load_state_dict(other.network.heads[name].state_dict())
    return same


def read_trained(folder: str | os.PathLike[str]) -> Trained:
    """Read the best weights of a run.

    Raises
    ------
    LabelerError
        If the folder holds no run that has finished an epoch.
    """
    path = Path(folder) / BEST
    if not path.exists():
        raise LabelerError(f"{path}: no such checkpoint; train at least one epoch with train-labelers train")
    best = read_checkpoint(path)
    settings = Settings.from_document(best["settings"], os.fspath(path))
    taxonomy = TAXONOMIES[best["taxonomy"]]
    network = build(settings.network, output_shape(settings, taxonomy))
    network.load_state_dict(best["weights"])
    network.eval()
    crops, years = read_validation(Path(folder) / VALIDATION)
    return Trained(
        network,
        settings,
        taxonomy,
        int(best["epoch"]),
        best["sources"],
        {name: values.numpy() for name, values in best["validation_logits"].items()},
        {name: values.numpy() for name, values in best["validation_labels"].items()},
        Path(folder).resolve().name,
        crops,
        years,
    )


def write_trained(trained: Trained, folder: str | os.PathLike[str]) -> None:
    """Leave weights that no training of this folder made as a run that can be read, trained on and exported.

    Raises
    ------
    LabelerError
        If the folder cannot be written.
    """
    target = Path(folder)
    crops = np.zeros(0, np.uint8) if trained.crops is None else trained.crops
    years = np.zeros(0, np.float32) if trained.years is None else trained.years
    best = {
        "weights": trained.network.state_dict(),
        "settings": asdict(trained.settings),
        "taxonomy": trained.taxonomy.name,
        "sources": [dict(source) for source in trained.sources],
        "epoch": trained.epoch,
        "validation_logits": {name: torch.from_numpy(values) for name, values in trained.logits.items()},
        "validation_labels": {name: torch.from_numpy(values) for name, values in trained.labels.items()},
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(target / VALIDATION, crops=crops, years=years)
        torch.save(best, target / BEST)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise LabelerError(f"--out {target}: cannot be written ({error.strerror}); choose another folder") from error


def read_validation(path: Path) -> tuple[Pixels | None, npt.NDArray[np.float32] | None]:
    """Read the validation crops that a run kept, and their ages in years where they are known.

    Raises
    ------
    LabelerError
        If the file is damaged.
    """
    if not path.exists():
        return None, None
    try:
        with np.load(path, allow_pickle=False) as kept:
            crops, years = kept["crops"], kept["years"]
            return crops if len(crops) else None, years if len(years) else None
    except (OSError, ValueError, KeyError) as error:
        raise LabelerError(f"{path}: damaged ({error}); delete it and call train-labelers train again") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    LabelerError
        If the file is damaged.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:
        raise LabelerError(f"{path}: a damaged checkpoint; delete it and train again") from error
    return checkpoint
