"""The card of a model pack: what it is for, what it is not for, and what it gets right, made from its own files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labeler.errors import LabelerError
from labeler.pack import Manifest, read_manifest
from labeler.taxonomy import ATTRIBUTES
from training.evaluate import EVALUATION, read_evaluation
from training.metrics import Metric, measure

CARD = "CARD.md"
FEW = 100
"""Groups with fewer pictures are marked."""


def write_card(folder: str | os.PathLike[str]) -> Path:
    """Write the card of a pack from its manifest and its ``evaluation.parquet``, and return its path.

    Raises
    ------
    LabelerError
        If the manifest or the evaluation is missing, or the evaluation is of another version of the pack.
    """
    manifest = read_manifest(folder)
    frame, about = read_evaluation(Path(folder) / EVALUATION)
    if about["pack"]["digest"] != manifest.digest:
        raise LabelerError(
            f"{Path(folder) / EVALUATION}: of another version of this pack; write it anew with train-labelers evaluate"
        )
    path = Path(folder) / CARD
    path.write_text(card_text(manifest, measure(frame, about["classes"]), about), encoding="utf-8")
    return path


def card_text(manifest: Manifest, metrics: Sequence[Metric], about: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    manifest : Manifest
        Of the pack.
    metrics : sequence of Metric
        As `training.metrics.measure` gives it.
    about : mapping
        What the evaluation says of itself.
    """
    parts = [
        f"# Model pack `{manifest.name}` {manifest.version}",
        str(manifest.document["description"]),
        _purpose(manifest),
        _data(manifest),
        _results(metrics, about),
        *(_groups(metrics, attribute) for attribute in ATTRIBUTES),
        _limits(about),
    ]
    return "\n\n".join(parts) + "\n"


def _purpose(manifest: Manifest) -> str:
    size = f"{manifest.width}×{manifest.height} {manifest.colour}"
    network = manifest.document["training"].get("network", "not stated")
    return (
        "## What for\n\n"
        "Counting how perceived age, gender and ethnicity are spread over a *collection* of face pictures, so that a "
        "data team sees which groups are short. "
        f"Input: one face, {size}; network `{network}`; one ONNX file with an output for each attribute.\n\n"
        "## What not for\n\n"
        "- Deciding anything about one person, or telling who somebody is.\n"
        "- Gender or ethnic identity: the labels are what annotators *perceived* in a picture.\n"
        "- Shares taken at face value: the labels are wrong at the rates below, and not equally for all groups. Have a "
        "random sample of the store checked by people."
    )


def _data(manifest: Manifest) -> str:
    training = manifest.document["training"]
    lines = [
        f"- {source['name']}: {source['images']:,} pictures, {source['licence']}, {source['url']}"
        for source in training["data"]
    ]
    return (
        "## Data and licence\n\nTrained on:\n\n"
        + "\n".join(lines)
        + f"\n\n{training.get('validation_images', 0):,} further pictures of the training split chose the epoch and "
        f"set the temperatures. Licence of the pack: {manifest.licence}. Seed {training['seed']}; every setting is in "
        "`pack.json`."
    )


def _results(metrics: Sequence[Metric], about: Mapping[str, Any]) -> str:
    rows = [
        f"| {row.attribute} | {row.name} | {row.value:.3f} | {_interval(row.low, row.high)} | {row.n:,} |"
        for row in metrics
        if not row.by
    ]
    return (
        f"## Results\n\nOn {about['n']:,} pictures of {about['data_set']}, split `{about['split']}` "
        f"({about['licence']}), which were used for no choice; {about['no_face']} more, in which no face was found, "
        "are left out. Intervals: 95 %, Wilson for shares, bootstrap over pictures otherwise.\n\n"
        "| attribute | metric | value | 95 % interval | n |\n|---|---|---:|---:|---:|\n" + "\n".join(rows)
    )


def _groups(metrics: Sequence[Metric], attribute: str) -> str:
    rows = [
        f"| {row.by} | {row.group}{_mark(row.n)} | {row.value:.3f} | {_interval(row.low, row.high)} | {row.n:,} |"
        for row in metrics
        if row.attribute == attribute and row.by
    ]
    return (
        f"### Accuracy of {attribute} by true group\n\n"
        "| by | group | accuracy | 95 % interval | n |\n|---|---|---:|---:|---:|\n" + "\n".join(rows)
    )


def _limits(about: Mapping[str, Any]) -> str:
    return (
        "## Limits\n\n"
        f"- \\* fewer than {FEW} pictures: the interval says how little is known.\n"
        f"- The figures hold for pictures like those of {about['data_set']}; on others they will be lower.\n"
        "- Annotators disagree themselves: between near-duplicates in FairFace gender differs in 3 %, race in 17 % and "
        "age group in 39 %, so no classifier can reach 1 on these labels.\n"
        "- The expected age is the mean of the age groups' middles under the predicted probabilities."
    )


def _mark(n: int) -> str:
    return " \\*" if n < FEW else ""


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
