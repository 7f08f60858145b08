"""The words of the page: what an attribute, a grade, a statistic and a standing are called, how a value is written."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from audit.text import decimal, percent, shown

Record = Mapping[str, Any]
TIMES = " × "
NO_FACE, CANT_TELL = "no face", "can't tell"
"""What people may say of an image besides the pack's classes."""
ROUNDING = 1e-9
"""What a share may be off by the arithmetic alone."""
UNIFORM = "uniform"
"""The target of even shares."""
LONGEST = 17
"""Letters of a class name that fit beside a chart; the table has the whole name."""

ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {"age": "Perceived age group", "gender": "Perceived gender", "ethnicity": "Perceived ethnicity"}
)
GROUPINGS: Mapping[str, str] = MappingProxyType(
    {"age": "age group", "gender": "gender", "ethnicity": "ethnicity", "decade": "decade of age"}
)
GRADES: Mapping[str, str] = MappingProxyType(
    {
        "raw": "uncorrected counts",
        "raw_distinct": "uncorrected, without near-duplicates",
        "model": "model-based shares",
        "verified": "verified shares",
    }
)
METHODS: Mapping[str, str] = MappingProxyType(
    {
        "counts": "Uncorrected",
        "adjusted_counts": "Model-based, adjusted counts",
        "expectation_maximisation": "Model-based, expectation–maximisation",
        "difference_estimator": "Verified",
    }
)
LOOKS: Mapping[str, str] = MappingProxyType(
    {
        "sharpness": "Sharpness of the faces",
        "contrast": "Contrast of the faces",
        "face_size": "Size of the faces, relative to the crop",
    }
)
ADJUSTMENTS: Mapping[str, str] = MappingProxyType({"holm": "Holm", "benjamini_hochberg": "Benjamini–Hochberg"})
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "imbalance_ratio": "Imbalance ratio",
        "evenness": "Evenness",
        "effective_classes": "Effective number of classes",
        "total_variation": "Total variation to target",
        "accuracy": "Accuracy",
        "balanced_accuracy": "Balanced accuracy",
        "macro_f1": "Macro F1",
        "roc_auc": "ROC AUC",
        "within_one_group": "Within one group",
        "expected_calibration_error": "Calibration error",
        "precision": "Precision",
        "recall": "Recall",
        "accuracy_difference": "Accuracy minus that of the rest",
        "cramers_v": "Cramér’s V",
        "npmi": "Mutual information",
        "group_mean": "Mean accuracy of groups",
        "group_deviation": "Standard deviation",
        "spread": "Spread, highest minus lowest",
        "worst_group": "Lowest accuracy",
        "error_ratio": "Largest error over geometric mean",
        "equalised_odds": "Equalised-odds difference",
        "mae": "Mean absolute error, years",
        "rmse": "Root mean square error, years",
        "bias": "Bias, years",
    }
)
FORMS: Mapping[str, str] = MappingProxyType(
    {
        "imbalance_ratio": "ratio",
        "evenness": "score",
        "effective_classes": "ratio",
        "total_variation": "share",
        "accuracy": "share",
        "balanced_accuracy": "share",
        "macro_f1": "score",
        "roc_auc": "score",
        "within_one_group": "share",
        "expected_calibration_error": "score",
        "precision": "share",
        "recall": "share",
        "accuracy_difference": "share",
        "cramers_v": "score",
        "npmi": "score",
        "group_mean": "share",
        "group_deviation": "share",
        "spread": "share",
        "worst_group": "share",
        "error_ratio": "ratio",
        "equalised_odds": "share",
        "mae": "ratio",
        "rmse": "ratio",
        "bias": "ratio",
    }
)
"""How a statistic's numbers are written: share (per cent), score (three decimals) or ratio (two)."""

OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "ok": "labelled",
        "no_face": "no face found",
        "unreadable": "could not be read",
        "corrupt": "damaged",
        "too_large": "too large",
        "unsupported": "format not supported",
        "crashed": "decoder crashed",
    }
)
"""How the page says what became of a file."""

STANDINGS: Mapping[str, str] = MappingProxyType(
    {"suppressed": "withheld", "undefined": "not defined", "absent": "no image"}
)
"""What stands in place of a value."""

VERDICTS: Mapping[str, str] = MappingProxyType(
    {"pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive", "none": "No verdict"}
)


def number(value: float | None, form: str) -> str:
    """Return a number in one of the forms of `FORMS`.

    Examples
    --------
    >>> number(0.5, "score"), number(2, "ratio")
    ('0.500', '2.00')
    """
    if form == "share":
        return percent(value)
    return decimal(value, 3 if form == "score" else 2)


def interval(record: Record, form: str) -> str:
    """Return a record's interval, or say that it has no upper end.

    Examples
    --------
    >>> interval({"low": 0.25, "high": 0.75}, "score"), interval({"low": 1.5, "high": None}, "ratio")
    ('0.250 to 0.750', '1.50 or more')
    """
    if record["high"] is None:
        return f"{number(record['low'], form)} or more"
    if form == "share":
        return f"{percent(record['low']).split()[0]} to {percent(record['high'])}"
    return f"{number(record['low'], form)} to {number(record['high'], form)}"


def label(name: str) -> str:
    """Return a class name for reading: underscores as spaces, nothing invisible.

    Examples
    --------
    >>> label("Latino_Hispanic")
    'Latino Hispanic'
    """
    return shown(name.replace("_", " "))


def clip(text: str) -> str:
    """Return a name cut to what fits beside a chart.

    Examples
    --------
    >>> clip("Southeast Asian"), clip("a name without any end")
    ('Southeast Asian', 'a name without a…')
    """
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def confidence(document: Record) -> str:
    """Return the confidence of the intervals in per cent.

    Examples
    --------
    >>> confidence({"options": {"confidence": 0.95}}).split()
    ['95', '%']
    """
    return f"{100 * document['options']['confidence']:.6g}\N{NO-BREAK SPACE}%"
