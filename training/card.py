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
from training.metrics import CALIBRATION_ERROR, Metric
from training.summary import SUMMARY, metrics_of, read_summary, summarise

CARD = "CARD.md"
FEW = 100
"""Groups with fewer pictures are marked."""

WORST = 12
"""Intersections shown for each attribute: those of the lowest accuracy among the groups that are not few."""

DISAGREEMENT: Mapping[str, str] = {
    "fairface": "in FairFace gender differs in 3 %, race in 17 % and age group in 39 %",
    "utkface": "in UTKFace gender differs in 7 %, ethnicity in 13 % and age by 4.0 years on average",
}


def write_card(folder: str | os.PathLike[str]) -> Path:
    """Write the card of a pack from its manifest and its evaluation, and return its path.

    Raises
    ------
    LabelerError
        If the manifest or the evaluation is missing, or the evaluation is of another version of the pack.
    """
    manifest = read_manifest(folder)
    summary = pack_summary(manifest)
    others = [checked(read_summary(path), path, manifest) for path in sorted(Path(folder).glob("evaluation-*.json"))]
    path = Path(folder) / CARD
    path.write_text(card_text(manifest, summary, others), encoding="utf-8")
    return path


def pack_summary(manifest: Manifest) -> dict[str, Any]:
    """Return a pack's own evaluation in aggregate, from `EVALUATION` or `training.summary.SUMMARY`.

    Raises
    ------
    LabelerError
        If there is neither, or it is of another version of the pack.
    """
    aggregate = manifest.folder / SUMMARY
    if aggregate.exists():
        return checked(read_summary(aggregate), aggregate, manifest)
    frame, about = read_evaluation(manifest.folder / EVALUATION)
    temperatures = {name: output.temperature for name, output in manifest.outputs.items()}
    summary = checked({"about": about}, manifest.folder / EVALUATION, manifest) | summarise(frame, about, temperatures)
    return summary | {"metrics": metrics_of(summary)}


def checked(summary: dict[str, Any], path: Path, manifest: Manifest) -> dict[str, Any]:
    """Return a summary that is of this version of a pack, or raise `LabelerError`."""
    if summary["about"]["pack"]["digest"] != manifest.digest:
        raise LabelerError(f"{path}: of another version of this pack; write it anew with train-labelers evaluate")
    return summary


def card_text(manifest: Manifest, summary: Mapping[str, Any], others: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    manifest : Manifest
        Of the pack.
    summary : mapping
        The pack's own evaluation, as `training.summary.read_summary` gives it.
    others : sequence of mapping
        Evaluations on other pictures.
    """
    metrics: Sequence[Metric] = summary["metrics"]
    notice = manifest.document.get("notice")
    parts = [
        f"# Model pack `{manifest.name}` {manifest.version}",
        str(manifest.document["description"]),
        *([f"**{notice}**"] if notice else []),
        _purpose(manifest),
        _data(manifest),
        _results(summary),
        _calibration(summary),
        *(_groups(metrics, attribute) for attribute in ATTRIBUTES if _present(metrics, attribute)),
        _intersections(metrics),
        *(_elsewhere(other) for other in others),
        _limits(manifest, summary["about"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _present(metrics: Sequence[Metric], attribute: str) -> bool:
    return any(row.attribute == attribute for row in metrics)


def _purpose(manifest: Manifest) -> str:
    size = f"{manifest.width}×{manifest.height} {manifest.colour}"
    training = manifest.document["training"]
    details = [f"network `{training.get('network', 'not stated')}`", str(training.get("precision", "float32"))]
    if training.get("test_time_flip"):
        details.append("averaged over the crop and its mirror image")
    return (
        "## What for\n\n"
        "Counting how perceived age, gender and ethnicity are spread over a *collection* of face pictures, so that a "
        "data team sees which groups are short. "
        f"Input: one face, {size}; {', '.join(details)}; one ONNX file with an output for each attribute.\n\n"
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


def _pictures(about: Mapping[str, Any]) -> str:
    text = f"{about['n']:,} pictures of {about['data_set']}, split `{about['split']}` ({about['licence']})"
    if about.get("face") == "whole":
        return f"{text}, each taken whole as the crop"
    left_out = f"; {about['no_face']} more, in which no face was found, are left out" if about["no_face"] else ""
    return f"{text}, cropped as `label-images` does{left_out}"


def _results(summary: Mapping[str, Any]) -> str:
    return (
        f"## Results\n\nOn {_pictures(summary['about'])}. They were used for no choice. Intervals: 95 %, Wilson for "
        "shares, bootstrap over pictures otherwise.\n\n" + _table(summary["metrics"])
    )


def _table(metrics: Sequence[Metric]) -> str:
    rows = [
        f"| {row.attribute} | {row.name} | {row.value:.3f} | {_interval(row.low, row.high)} | {row.n:,} |"
        for row in metrics
        if not row.by
    ]
    return "| attribute | metric | value | 95 % interval | n |\n|---|---|---:|---:|---:|\n" + "\n".join(rows)


def _calibration(summary: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {entry['before']:.3f} | {entry['after']:.3f} | {entry['by_chance']:.3f} "
        f"({entry['by_chance_below']:.3f}) |"
        for name, entry in summary["calibration"].items()
    ]
    return (
        "### Calibration\n\nExpected calibration error (15 bins of confidence) before and after the temperature, which "
        "was fitted on validation pictures. By chance: what a perfectly calibrated classifier would show on as many "
        "pictures (in brackets what 95 % of such stay below).\n\n"
        "| attribute | before | after | by chance |\n|---|---:|---:|---:|\n" + "\n".join(rows)
    )


def _groups(metrics: Sequence[Metric], attribute: str) -> str:
    own = [row for row in metrics if row.attribute == attribute and row.by in ATTRIBUTES]
    errors = {(row.by, row.group): row.value for row in own if row.name == CALIBRATION_ERROR}
    rows = [
        f"| {row.by} | {row.group}{_mark(row.n)} | {row.value:.3f} | {_interval(row.low, row.high)} | {row.n:,} | "
        f"{_number(errors.get((row.by, row.group), math.nan))} |"
        for row in own
        if row.name == "accuracy"
    ]
    return (
        f"### Accuracy of {attribute} by true group\n\n"
        "| by | group | accuracy | 95 % interval | n | calibration error |\n|---|---|---:|---:|---:|---:|\n"
        + "\n".join(rows)
    )


def _intersections(metrics: Sequence[Metric]) -> str:
    tables = []
    for attribute in ATTRIBUTES:
        crossed = [row for row in metrics if row.attribute == attribute and "×" in row.by and row.n >= FEW]
        worst = sorted(crossed, key=lambda row: row.value)[:WORST]
        tables += [
            f"| {attribute} | {row.group} | {row.value:.3f} | {_interval(row.low, row.high)} | {row.n:,} |"
            for row in worst
        ]
    if not tables:
        return ""
    return (
        f"### Intersections\n\nThe {WORST} least recognised intersections of two attributes with at least {FEW} "
        "pictures, for each attribute.\n\n"
        "| attribute | group | accuracy | 95 % interval | n |\n|---|---|---:|---:|---:|\n" + "\n".join(tables)
    )


def _elsewhere(summary: Mapping[str, Any]) -> str:
    about = summary["about"]
    return f"## On other pictures\n\nOn {_pictures(about)}, classes mapped.\n\n" + _table(summary["metrics"])


def _limits(manifest: Manifest, about: Mapping[str, Any]) -> str:
    age = "the mean of the age groups' middles under the predicted probabilities"
    if manifest.outputs["age"].years_name:
        age = "the mean of a distribution over single years"
    return (
        "## Limits\n\n"
        f"- \\* fewer than {FEW} pictures: the interval says how little is known.\n"
        f"- The figures hold for pictures like those of {about['data_set']}; on others they will be lower.\n"
        f"- Annotators disagree themselves: between near-duplicates {DISAGREEMENT[manifest.taxonomy]}, so no "
        "classifier can reach 1 on these labels.\n"
        f"- The expected age is {age}."
    )


def _mark(n: int) -> str:
    return " \\*" if n < FEW else ""


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
