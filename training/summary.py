"""An evaluation in aggregate: metrics, counts of confusions and reliability bins, without a row for any picture."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labeler.errors import PackError
from labeler.table import check_output
from labeler.taxonomy import ATTRIBUTES
from training.metrics import (
    Metric,
    Scored,
    calibration_error,
    chance_calibration_error,
    measure,
    scored_attribute,
    true_column,
)

SUMMARY = "evaluation.json"
"""In a pack that may not pass on its evaluation's rows."""

SUMMARY_VERSION = 1
BINS = 15


def summarise(frame: pd.DataFrame, about: Mapping[str, Any], temperatures: Mapping[str, float]) -> dict[str, Any]:
    """Return what an evaluation says in aggregate.

    Parameters
    ----------
    frame, about
        As `training.evaluate.read_evaluation` gives them.
    temperatures : mapping of str to float
        The pack's, by attribute: undone, they give the calibration error before it was calibrated.

    Returns
    -------
    dict
        ``version``, ``about``, ``metrics`` (as `training.metrics.Metric`, NaN as null), and for each attribute
        ``confusion`` (overall, and by gender and by ethnicity: counts, true classes down, predicted across),
        ``reliability`` (for each bin of confidence ``n``, mean ``confidence`` and ``accuracy``) and
        ``calibration`` (expected calibration error ``before`` and ``after``, and what a perfectly calibrated
        classifier would show ``by_chance`` on as many pictures and ``by_chance_below`` in 95 % of cases).
    """
    classes = about["classes"]
    document: dict[str, Any] = {
        "version": SUMMARY_VERSION,
        "about": dict(about),
        "metrics": [_without_nan(asdict(metric)) for metric in measure(frame, classes)],
        "confusion": {},
        "reliability": {},
        "calibration": {},
    }
    for attribute in ATTRIBUTES:
        known = frame[frame[true_column(attribute)].notna()]
        if known.empty:
            continue
        scored = scored_attribute(known, attribute, classes)
        document["confusion"][attribute] = _confusions(known, scored, attribute, classes)
        document["reliability"][attribute] = reliability(scored)
        before = uncalibrated(scored, temperatures[attribute])
        by_chance, below = chance_calibration_error(scored)
        document["calibration"][attribute] = {
            "before": calibration_error(before),
            "after": calibration_error(scored),
            "by_chance": by_chance,
            "by_chance_below": below,
        }
    return document


def uncalibrated(scored: Scored, temperature: float) -> Scored:
    """Return the probabilities as they were before a temperature: ``softmax(T log p)``.

    Examples
    --------
    >>> calibrated = Scored(np.array([0]), np.array([[0.8, 0.2]]))
    >>> uncalibrated(calibrated, 0.5).probabilities.round(4).tolist()
    [[0.6667, 0.3333]]
    """
    logs = temperature * np.log(np.maximum(scored.probabilities, 1e-30))
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return Scored(scored.truth, powers / powers.sum(axis=1, keepdims=True))


def confusion(scored: Scored, classes: int) -> list[list[int]]:
    """Return how often each true class (down) was taken for each class (across).

    Examples
    --------
    >>> confusion(Scored(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]])), 2)
    [[1, 0], [1, 0]]
    """
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (scored.truth, scored.predicted), 1)
    return [[int(count) for count in row] for row in counts]


def reliability(scored: Scored) -> list[dict[str, float]]:
    """Return for each bin of confidence that holds a picture: ``n``, mean ``confidence``, ``accuracy``."""
    confidence = scored.probabilities.max(axis=1)
    right = scored.predicted == scored.truth
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return [
        {
            "n": int(np.sum(number == one)),
            "confidence": round(float(confidence[number == one].mean()), 4),
            "accuracy": round(float(right[number == one].mean()), 4),
        }
        for one in np.unique(number)
    ]


def metrics_of(document: Mapping[str, Any]) -> list[Metric]:
    """Return the metrics of a summary, with NaN where it holds null."""
    rows: list[dict[str, Any]] = document["metrics"]
    filled: list[dict[str, Any]] = [
        {key: math.nan if value is None else value for key, value in row.items()} for row in rows
    ]
    return [Metric(**row) for row in filled]


def write_summary(document: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a summary as JSON.

    Raises
    ------
    LabelerError
        If the file cannot be written.
    """
    check_output(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_summary(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a summary; its ``metrics`` become `training.metrics.Metric`.

    Raises
    ------
    PackError
        If the file is missing or no summary.
    """
    name = os.fspath(path)
    try:
        document: dict[str, Any] = json.loads(Path(name).read_text(encoding="utf-8"))
        if document["version"] != SUMMARY_VERSION:
            raise PackError(f"{name}: version {document['version']}, expected {SUMMARY_VERSION}; write it anew")
        document["metrics"] = metrics_of(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackError(f"{name}: no readable summary; write it with train-labelers evaluate") from error
    return document


def _confusions(
    known: pd.DataFrame, scored: Scored, attribute: str, classes: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    count = len(classes[attribute])
    tables: list[dict[str, Any]] = [{"by": "", "group": "", "counts": confusion(scored, count)}]
    for by in ("gender", "ethnicity"):
        column = known[true_column(by)].to_numpy(object)
        for group in classes[by]:
            inside = scored.rows(np.flatnonzero(column == group))
            if len(inside.truth):
                tables.append({"by": by, "group": group, "counts": confusion(inside, count)})
    return tables


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and math.isnan(value) else _rounded(value) for key, value in row.items()
    }


def _rounded(value: Any) -> Any:
    return round(value, 5) if isinstance(value, float) else value
