"""The published experiments on perceived gender in the AGE data, repeated, beside our own pack."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from labeler.errors import LabelerError
from labeler.pack import Pack, softmax
from labeler.taxonomy import UTKFACE
from training.augment import NONE
from training.batches import plain_crops
from training.datasets import read_utkface
from training.metrics import (
    Scored,
    balanced_accuracy,
    bootstrap_interval,
    groups_of_20_to_79,
    roc_auc,
    spread_of_accuracy,
    wilson,
)
from training.pictures import Pixels, read_pictures
from training.plots import groups_svg, roc_curve, roc_svg
from training.settings import Settings
from training.sources import TrainingData, class_numbers, read_training_data
from training.train import Run, crop_logits
from training.trained import read_trained

PAGE = "reproduction.md"
PICTURES = "reproduction"
"""Folder beside the page for its SVG files."""

EPOCHS: Mapping[str, int] = {"logistic": 10, "cnn-128": 10, "cnn-1024": 10, "cnn-128-128": 10}
"""The four networks and how long each is trained at most; validation says after which epoch it is taken."""

BATCH = 128

PARTS = ("train", "validation", "test")
FEMALE = 1

PUBLISHED = """| what | data | figures |
|---|---|---|
| logistic regression | AGE data, perceived gender | balanced accuracy 0.849 |
| CNN "model 2" | AGE data, perceived gender | balanced accuracy 0.897, ROC AUC 0.961; accuracy spreads by 0.042 over \
ethnicities and by 0.077 over decades 20–79 |
| InceptionV3 | UTKFace, RGB | gender 0.924, ROC AUC 0.978; ethnicity 0.831, macro F1 0.711; age RMSE 8.70 years |
| ResNet-50 | FairFace, RGB | gender 0.91, ethnicity 0.66, age group 0.55 |"""


INTRODUCTION = """Perceived gender from 48×48 gray pictures of the AGE data set (UTKFace): four networks as published,
trained here without augmentation for a few passes over the pictures ({epochs}), beside our own pack. {counts} pictures.
Near-duplicates are on one side, which a random split, as in the published work, does not see to: part of what is
recognised there is known already. The test pictures are taken whole as the crop and were used for no choice. Intervals:
95 %."""

COMMAND = """```sh
train-labelers reproduce age_gender.csv.xz --splits splits.csv --test utkface/test --pack models/utkface \\
    --runs runs/reproduction --docs docs
```"""

GROUPS = """## Over groups of the test pictures

Mean, standard deviation (over the groups, ddof 0) and spread (largest minus smallest) of the groups' accuracy.

"""


@dataclass(frozen=True)
class Part:
    """Pictures of one part of the data and their labels.

    Parameters
    ----------
    crops : numpy.ndarray
        Shape (n, 1, 48, 48), uint8.
    labels : mapping of str to numpy.ndarray
        Class numbers in `labeler.taxonomy.UTKFACE`, shape (n,).
    """

    crops: Pixels
    labels: Mapping[str, npt.NDArray[np.int64]]


Predictions = Mapping[str, Mapping[str, Scored]]
"""For each model and part, perceived gender: truth and probabilities."""


def reproduce(
    source: str | os.PathLike[str],
    splits: str | os.PathLike[str],
    test: str | os.PathLike[str],
    pack: str | os.PathLike[str],
    runs: str | os.PathLike[str],
    docs: str | os.PathLike[str],
    *,
    threads: int = 2,
    progress: bool = False,
) -> Path:
    """Train the four networks, or take them up where they are trained, and write the page and its pictures.

    Parameters
    ----------
    source, splits : path
        The CSV file of the AGE data set, and its splits.
    test : path
        Folder of UTKFace images that are in neither split.
    pack : path
        Our pack, for 48×48 gray crops.
    runs : path
        Folder for the runs.
    docs : path
        Folder for `PAGE` and, in `PICTURES`, its SVG files.
    threads : int
        Cores for the networks.
    progress : bool
        Show progress bars.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    LabelerError
        If something cannot be read or written, or the pack takes other crops.
    """
    data = read_training_data("utkface", source, colour="gray", splits=splits, progress=progress)
    parts = {**_known_parts(data), "test": _test_part(Path(test), progress=progress)}
    predictions: dict[str, dict[str, Scored]] = {}
    for name, epochs in EPOCHS.items():
        settings = Settings(
            network=name,
            attributes="gender",
            framing="whole",
            epochs=epochs,
            batch=BATCH,
            learning_rate=1e-3,
            averaging=0.99,
            label_smoothing=0.0,
            augmentation=NONE,
        )
        run = Run(data, settings, Path(runs) / name, threads=threads)
        run.train(progress=progress)
        ready = read_trained(Path(runs) / name).answers()
        predictions[name] = {
            part: Scored(inside.labels["gender"], softmax(crop_logits(ready, inside.crops)["gender"]))
            for part, inside in parts.items()
        }
    ours = Pack.load(pack)
    predictions[f"pack {ours.manifest.name}"] = {
        part: Scored(inside.labels["gender"], pack_gender(ours, inside.crops)) for part, inside in parts.items()
    }
    return write_page(predictions, parts["test"].labels, docs)


def write_page(
    predictions: Predictions, labels: Mapping[str, npt.NDArray[np.int64]], docs: str | os.PathLike[str]
) -> Path:
    """Write the page and its pictures from predictions and the labels of the test pictures.

    Raises
    ------
    LabelerError
        If the folder cannot be written.
    """
    test = {name: parts["test"] for name, parts in predictions.items()}
    decades = groups_of_20_to_79(UTKFACE.classes["age"])
    curves = {name: roc_curve(scored.truth == FEMALE, scored.probabilities[:, FEMALE]) for name, scored in test.items()}
    pictures = {
        "roc.svg": roc_svg(curves, "ROC curves, perceived gender, test pictures"),
        "ethnicity.svg": groups_svg(
            {name: _by_group(scored, labels, "ethnicity") for name, scored in test.items()},
            UTKFACE.classes["ethnicity"],
            "Accuracy of perceived gender by ethnicity",
        ),
        "decade.svg": groups_svg(
            {name: _by_group(scored, labels, "age") for name, scored in test.items()},
            UTKFACE.classes["age"],
            "Accuracy of perceived gender by decade",
        ),
    }
    page = Path(docs) / PAGE
    try:
        (page.parent / PICTURES).mkdir(parents=True, exist_ok=True)
        for name, text in pictures.items():
            (page.parent / PICTURES / name).write_text(text, encoding="utf-8")
        page.write_text(_page(predictions, test, labels, decades), encoding="utf-8")
    except OSError as error:
        raise LabelerError(f"{page}: cannot be written ({error.strerror}); choose another folder") from error
    return page


def _page(
    predictions: Predictions,
    test: Mapping[str, Scored],
    labels: Mapping[str, npt.NDArray[np.int64]],
    decades: Sequence[str],
) -> str:
    sizes = {part: len(scored.truth) for part, scored in next(iter(predictions.values())).items()}
    counts = ", ".join(f"{sizes[part]:,} {part}" for part in PARTS)
    overall = [_overall_row(name, part, scored[part]) for name, scored in predictions.items() for part in PARTS]
    spreads = [
        _spread_row(name, scored, labels, by, groups)
        for by, groups in _families(decades)
        for name, scored in test.items()
    ]
    sexes = [row for name, scored in test.items() for row in _gender_rows(name, scored)]
    parts = [
        "# The published experiments, repeated",
        INTRODUCTION.format(counts=counts, epochs=", ".join(f"{name}: {passes}" for name, passes in EPOCHS.items())),
        COMMAND,
        "## Published figures\n\n" + PUBLISHED,
        "## Overall\n\n| model | part | n | accuracy | balanced accuracy | ROC AUC | F1 (female) |\n"
        "|---|---|---:|---:|---:|---:|---:|\n" + "\n".join(overall),
        f"![ROC curves]({PICTURES}/roc.svg)",
        GROUPS
        + "| over | model | mean | standard deviation | spread | 95 % interval |\n|---|---|---:|---:|---:|---:|\n"
        + "\n".join(spreads),
        f"![Accuracy by ethnicity]({PICTURES}/ethnicity.svg)",
        f"![Accuracy by decade]({PICTURES}/decade.svg)",
        "## By perceived gender, test pictures\n\n| model | gender | n | precision | recall | F1 |\n"
        "|---|---|---:|---:|---:|---:|\n" + "\n".join(sexes),
    ]
    return "\n\n".join(parts) + "\n"


def _overall_row(name: str, part: str, scored: Scored) -> str:
    n = len(scored.truth)
    hits = int(np.sum(scored.predicted == scored.truth))
    low, high = wilson(hits, n)
    cells = [f"{hits / n:.3f} ({low:.3f}–{high:.3f})"]
    for statistic in (balanced_accuracy, roc_auc):
        low, high = bootstrap_interval(statistic, scored, replicates=100)
        cells.append(f"{statistic(scored):.3f} ({low:.3f}–{high:.3f})")
    cells.append(f"{precision_recall_f1(scored, FEMALE)[2]:.3f}")
    return f"| {name} | {part} | {n:,} | {' | '.join(cells)} |"


def precision_recall_f1(scored: Scored, number: int) -> tuple[float, float, float]:
    """Return precision, recall and F1 of one class; NaN where it is never predicted or never true.

    Examples
    --------
    >>> scored = Scored(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]))
    >>> [round(value, 3) for value in precision_recall_f1(scored, 1)]
    [1.0, 0.5, 0.667]
    """
    predicted, true = scored.predicted == number, scored.truth == number
    hits, claimed, present = (int(np.sum(values)) for values in (predicted & true, predicted, true))
    precision = hits / claimed if claimed else math.nan
    recall = hits / present if present else math.nan
    return precision, recall, 2 * hits / (claimed + present) if claimed + present else math.nan


def _gender_rows(name: str, scored: Scored) -> list[str]:
    rows = []
    for number, gender in enumerate(UTKFACE.classes["gender"]):
        precision, recall, f1 = precision_recall_f1(scored, number)
        n = int(np.sum(scored.truth == number))
        rows.append(f"| {name} | {gender} | {n:,} | {precision:.3f} | {recall:.3f} | {f1:.3f} |")
    return rows


def _families(decades: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    return [
        ("ethnicity", UTKFACE.classes["ethnicity"]),
        ("age", UTKFACE.classes["age"]),
        ("age", decades),
    ]


def _spread_row(
    name: str, scored: Scored, labels: Mapping[str, npt.NDArray[np.int64]], by: str, groups: Sequence[str]
) -> str:
    shares = np.array(
        [
            value
            for group, value in zip(UTKFACE.classes[by], _by_group(scored, labels, by), strict=True)
            if group in groups and not math.isnan(value)
        ]
    )
    column = np.array(UTKFACE.classes[by], object)[labels[by]]
    value, low, high, _ = spread_of_accuracy(scored.predicted == scored.truth, column, groups)
    title = (
        "ethnicities"
        if by == "ethnicity"
        else "decades"
        if len(groups) == len(UTKFACE.classes[by])
        else ("decades 20–79")
    )
    return f"| {title} | {name} | {shares.mean():.3f} | {shares.std():.3f} | {value:.3f} | {low:.3f}–{high:.3f} |"


def _by_group(scored: Scored, labels: Mapping[str, npt.NDArray[np.int64]], by: str) -> list[float]:
    right = scored.predicted == scored.truth
    inside = [right[labels[by] == number] for number in range(len(UTKFACE.classes[by]))]
    return [float(values.mean()) if len(values) else math.nan for values in inside]


def _known_parts(data: TrainingData) -> dict[str, Part]:
    if data.fixed_validation is None:
        raise LabelerError("--splits: the reproduction needs the splits of the AGE data; name their file")
    parts = {}
    for name, mask in (("train", ~data.fixed_validation), ("validation", data.fixed_validation)):
        chosen = np.flatnonzero(mask)
        labels = {attribute: values[chosen] for attribute, values in data.labels.items()}
        parts[name] = Part(plain_crops(data.pictures, chosen, (48, 48)), labels)
    return parts


def _test_part(folder: Path, *, progress: bool) -> Part:
    frame: pd.DataFrame = read_utkface(folder)
    pixels = read_pictures([folder / path for path in frame["path"]], 48, 48, "gray", progress=progress)
    return Part(pixels[:, None], class_numbers(frame, UTKFACE))


def pack_gender(pack: Pack, crops: Pixels) -> npt.NDArray[np.float32]:
    """Return a pack's probabilities of perceived gender, shape (n, 2), for crops (n, 1, 48, 48).

    Raises
    ------
    LabelerError
        If the pack takes other crops.
    """
    manifest = pack.manifest
    if (manifest.width, manifest.height, manifest.colour) != (48, 48, "gray"):
        raise LabelerError(f"--pack {manifest.folder}: takes other crops than 48×48 gray; choose another")
    return np.asarray(pack.predict(crops[:, 0]).probabilities["gender"], np.float32)
