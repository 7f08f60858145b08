"""What the page's sections show: records of audit.json as findings in words, chart positions and table rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from audit.text import count, decimal, percent, plural, shown

Record = Mapping[str, Any]
View = dict[str, Any]

ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {"age": "Perceived age group", "gender": "Perceived gender", "ethnicity": "Perceived ethnicity"}
)
GROUPINGS: Mapping[str, str] = MappingProxyType({"age": "age group", "gender": "gender", "ethnicity": "ethnicity"})
GRADES: Mapping[str, str] = MappingProxyType(
    {"raw": "uncorrected counts", "model": "model-based shares", "verified": "verified shares"}
)
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
        "mae": "ratio",
        "rmse": "ratio",
        "bias": "ratio",
    }
)
"""How a statistic's numbers are written: share (per cent), score (three decimals) or ratio (two)."""

CLASS_METRICS = ("accuracy", "within_one_group", "balanced_accuracy", "macro_f1", "roc_auc")
YEAR_METRICS = ("mae", "rmse", "bias")
LONGEST = 17
"""Letters of a class name that fit beside a chart; the table has the whole name."""


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


def shares(document: Record) -> list[View]:
    """Return one view for each attribute: its finding, chart and tables."""
    views = []
    for attribute, name in ATTRIBUTES.items():
        records = [record for record in document["shares"] if record["attribute"] == attribute]
        known = [record for record in records if record["status"] == "ok"]
        target = records[0]["target"]
        scale = axis(0.0, max((record["high"] for record in known), default=1.0), target)
        views.append(
            {
                "id": f"share-{attribute}",
                "name": name,
                "title": f"{name}: share of each class",
                "finding": _share_finding(known, target),
                "caption": f"Uncorrected share of the labelled images, with {confidence(document)} interval.",
                "n": records[0]["n"],
                "records": records,
                "balance": [record for record in document["balance"] if record["attribute"] == attribute],
                "scale": scale,
                "reference": _reference(scale, target, f"even: {percent(target)}"),
                "rows": [_mark(label(record["class"]), record, scale) for record in records],
            }
        )
    return views


def _share_finding(known: Sequence[Record], target: float) -> str:
    if not known:
        return "No image was labelled, so there are no shares."
    most = max(known, key=lambda record: float(record["value"]))
    seen = [record for record in known if record["count"]]
    least = min(seen, key=lambda record: float(record["value"]))
    if len(seen) == 1:
        return f"Every image was labelled {label(most['class'])}."
    text = (
        f"Most often labelled {label(most['class'])}: {_with_interval(most)}. "
        f"Least often {label(least['class'])}: {_with_interval(least)}. "
        f"Even shares would be {percent(target)} each."
    )
    empty = [label(record["class"]) for record in known if not record["count"]]
    return text + (f" No image was labelled {_listed(empty)}." if empty else "")


def _with_interval(record: Record) -> str:
    return f"{percent(record['value'])} ({interval(record, 'share')})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def axis(low: float, high: float, also: float | None = None) -> View:
    """Return an axis of shares that holds low and high, with at most six round ticks.

    Examples
    --------
    >>> scale = axis(0.0, 0.43)
    >>> scale["low"], scale["high"], len(scale["ticks"])
    (0.0, 0.5, 6)
    """
    low, high = (min(low, also), max(high, also)) if also is not None else (low, high)
    step = next((s for s in (0.01, 0.02, 0.05, 0.1) if (high - low) / s <= 5), 0.2)
    first, last = math.floor(round(low / step, 9)), math.ceil(round(high / step, 9))
    last = max(last, first + 1)
    return {
        "low": round(first * step, 9),
        "high": round(last * step, 9),
        "ticks": [
            {"x": round(100 * (i - first) / (last - first), 3), "text": f"{100 * i * step:.0f}\N{NO-BREAK SPACE}%"}
            for i in range(first, last + 1)
        ],
    }


def _position(scale: View, value: float) -> float:
    low, high = float(scale["low"]), float(scale["high"])
    return round(100 * (value - low) / (high - low), 3)


def _reference(scale: View, value: float, text: str) -> View:
    x = _position(scale, value)
    return {"x": x, "text": text, "anchor": "start" if x < 20 else "end" if x > 80 else "middle"}


def _mark(name: str, record: Record, scale: View) -> View:
    if record["status"] != "ok":
        return {"label": name, "value": None, "text": record["status"]}
    places = {key: _position(scale, record[key]) for key in ("value", "low", "high")}
    return {"label": name, "text": percent(record["value"]), **places}


def performance(document: Record) -> list[View]:
    """Return one view for each attribute whose truth is known: overall, and by each other attribute."""
    views = []
    for attribute, name in ATTRIBUTES.items():
        records = [record for record in document["performance"] if record["attribute"] == attribute]
        if not records:
            continue
        overall = [record for record in records if not record["group"]]
        accuracy = next(record for record in overall if record["metric"] == "accuracy")
        views.append(
            {
                "name": name,
                "finding": _agreement(accuracy),
                "overall": list(_metric_tables(f"{name}, all images", "Group", [("all images", overall)], document)),
                "by": [
                    _by_group(attribute, other, records, accuracy, document)
                    for other in ATTRIBUTES
                    if any(other in record["group"] for record in records)
                ],
            }
        )
    return views


def _agreement(accuracy: Record) -> str:
    if accuracy["status"] != "ok":
        return f"How often the labels agree with truth is {accuracy['status']}: {accuracy['reason']}."
    return f"Right for {_with_interval(accuracy)} of {plural(accuracy['n'], 'image')} whose truth is known."


def _by_group(attribute: str, other: str, records: Sequence[Record], accuracy: Record, document: Record) -> View:
    labels = document["pack"]["classes"][other]
    groups = [(label(group), [record for record in records if record["group"].get(other) == group]) for group in labels]
    accuracies = [
        (group, next(record for record in members if record["metric"] == "accuracy")) for group, members in groups
    ]
    name, by = ATTRIBUTES[attribute], GROUPINGS[other]
    finding = _group_finding(accuracies)
    known = [record for _, record in accuracies if record["status"] == "ok"]
    chart = None
    if known and accuracy["status"] == "ok":
        scale = axis(min(r["low"] for r in known), max(r["high"] for r in known), accuracy["value"])
        chart = {
            "id": f"accuracy-{attribute}-{other}",
            "title": f"{name}: accuracy by {by}",
            "finding": finding,
            "caption": f"Accuracy with {confidence(document)} interval. The axis does not start at zero."
            if scale["low"] > 0
            else f"Accuracy with {confidence(document)} interval.",
            "scale": scale,
            "reference": _reference(scale, accuracy["value"], f"all: {percent(accuracy['value'])}"),
            "rows": [_mark(group, record, scale) for group, record in accuracies],
        }
    return {
        "name": by,
        "finding": finding,
        "chart": chart,
        "tables": list(_metric_tables(f"{name}, by {by}", by.capitalize(), groups, document)),
    }


def _group_finding(accuracies: Sequence[tuple[str, Record]]) -> str:
    known = [(group, record) for group, record in accuracies if record["status"] == "ok"]
    parts = []
    if len(known) > 1:
        worst = min(known, key=lambda pair: float(pair[1]["value"]))
        best = max(known, key=lambda pair: float(pair[1]["value"]))
        parts.append(
            f"Least often right for {worst[0]}: {_with_interval(worst[1])}; "
            f"most often for {best[0]}: {_with_interval(best[1])}."
        )
    for status, text in (("suppressed", "Too few images to show"), ("absent", "No image of")):
        named = [group for group, record in accuracies if record["status"] == status]
        if named:
            parts.append(f"{text}: {', '.join(named)}.")
    return " ".join(parts) or "One group has enough images to show."


def _metric_tables(
    caption: str, heading: str, groups: Sequence[tuple[str, Sequence[Record]]], document: Record
) -> Iterator[View]:
    for metrics in (CLASS_METRICS, YEAR_METRICS):
        rows = [_metric_row(group, [r for r in members if r["metric"] in metrics]) for group, members in groups]
        present = [name for name in metrics if any(name in row["records"] for row in rows)]
        if present:
            what = "agreement of classes" if metrics is CLASS_METRICS else "error in years"
            yield {
                "caption": f"{caption}: {what}, with {confidence(document)} intervals",
                "heading": heading,
                "metrics": present,
                "rows": rows,
            }


def _metric_row(group: str, members: Iterable[Record]) -> View:
    records = {record["metric"]: record for record in members}
    first = next(iter(records.values()), None)
    together = first is not None and first["status"] in ("suppressed", "absent")
    return {
        "label": group,
        "all": group == "all images",
        "n": "hidden" if first is None or first["n"] is None else count(first["n"]),
        "standing": first if together else None,
        "records": records,
    }
