"""The mean of the weights of several runs: one network that generalises better than each of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from labeler.errors import LabelerError
from training.networks import Labeler
from training.settings import Settings
from training.sources import merged_sources
from training.train import crop_logits, validation_row
from training.trained import Trained, answers, output_meaning, write_trained


def average_runs(runs: Sequence[Trained], folder: str | os.PathLike[str]) -> dict[str, float]:
    """Average the weights of runs that started from one another, and leave the result as a run (Wortsman et al. 2022).

    Runs from one start lie in one valley of the loss, and the middle between them is lower than they are ("Model
    soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time"). Means
    and variances of the batch normalisation are averaged too.

    Parameters
    ----------
    runs : sequence of Trained
        Two or more; the settings and the validation crops of the last are kept.
    folder : path
        Of the run to write.

    Returns
    -------
    dict
        Of `training.train.validation_row`, on the validation crops.

    Raises
    ------
    LabelerError
        If the runs differ in network, classes or validation pictures, or the folder cannot be written.
    """
    last = runs[-1]
    if last.crops is None or len(runs) < 2:
        raise LabelerError("averaging takes two or more runs, the last one with its validation crops; name them")
    for run in runs[:-1]:
        if run.settings.network != last.settings.network:
            raise LabelerError(f"{run.name}: another network than {last.name}; average runs of one make")
        check_alike(run, last)
    network = last.network
    network.load_state_dict(_mean([run.network for run in runs]))
    return write_made_of(runs, network, last.settings, folder)


def write_made_of(
    runs: Sequence[Trained], network: Labeler, settings: Settings, folder: str | os.PathLike[str]
) -> dict[str, float]:
    """Leave a network made of those of some runs as a run of its own, with the data of all of them.

    Parameters
    ----------
    runs : sequence of Trained
        Their names, in order, are the new run's `init`; the last has validation crops, which are kept.
    network : Labeler
        What was made of them, in evaluation mode.
    settings : Settings
        By which it can be built.
    folder : path
        Of the run to write.

    Returns
    -------
    dict
        Of `training.train.validation_row`, on the validation crops.

    Raises
    ------
    LabelerError
        If the folder cannot be written.
    """
    last = runs[-1]
    assert last.crops is not None
    settings = replace(settings, init=",".join(run.name for run in runs))
    logits = crop_logits(answers(network, settings, last.taxonomy), last.crops)
    sources = merged_sources(*(run.sources for run in runs))
    write_trained(replace(last, network=network, settings=settings, sources=sources, logits=logits), folder)
    return validation_row(logits, last.labels)


def check_alike(run: Trained, other: Trained) -> None:
    """Refuse runs that do not say the same of pictures, or are not judged by the same ones.

    Raises
    ------
    LabelerError
        If classes or validation pictures differ.
    """
    if any(output_meaning(run.settings, run.taxonomy, name) != other.meaning(name) for name in other.settings.names):
        raise LabelerError(f"{run.name}: other classes than {other.name}; take runs of one make")
    if any(not np.array_equal(run.labels[name], labels) for name, labels in other.labels.items()):
        raise LabelerError(
            f"{run.name}: other validation pictures than {other.name}; take runs of one data set and seed"
        )


def _mean(networks: Sequence[Labeler]) -> dict[str, Any]:
    states = [network.state_dict() for network in networks]
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for name, value in states[-1].items()
    }
