"""What the page's section on performance shows: each attribute whose truth is known, overall and group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit import charts, findings, tables
from audit.text import percent, plural
from audit.wording import ATTRIBUTES, TIMES, confidence, label

Record = Mapping[str, Any]
View = dict[str, Any]

FAMILIES = (
    (
        "agreement of classes",
        (
            "accuracy",
            "within_one_group",
            "balanced_accuracy",
            "macro_f1",
            "roc_auc",
            "expected_calibration_error",
        ),
    ),
    ("error in years", ("mae", "rmse", "bias")),
)


def performance(document: Record) -> list[View]:
    """Return one view for each attribute whose truth is known: overall, and by each other attribute."""
    views = []
    for attribute, name in ATTRIBUTES.items():
        records = [record for record in document["performance"] if record["attribute"] == attribute]
        if not records:
            continue
        whole = [record for record in records if record["class"] is None]
        overall = [record for record in whole if not record["group"]]
        accuracy = next(record for record in overall if record["metric"] == "accuracy")
        families = list(dict.fromkeys(tuple(record["group"]) for record in whole if record["group"]))
        confusion = [record for record in document["confusion"] if record["attribute"] == attribute]
        views.append(
            {
                "id": f"performance-{attribute}",
                "name": name,
                "finding": _agreement(accuracy),
                "overall": list(
                    tables.metrics(f"{name}, all images", "Group", [("all images", overall)], document, FAMILIES)
                ),
                "by": [_by_group(attribute, family, whole, accuracy, document) for family in families],
                "reliability": _reliability(attribute, overall, document),
                "classes": tables.classes(
                    name, [record for record in records if record["class"] is not None], document
                ),
                "confusion": _confusion(attribute, name, confusion),
            }
        )
    return views


def _agreement(accuracy: Record) -> str:
    if accuracy["status"] != "ok":
        return f"How often the labels agree with truth is {accuracy['status']}: {accuracy['reason']}."
    return f"Right for {findings.with_interval(accuracy)} of {plural(accuracy['n'], 'image')} whose truth is known."


def _by_group(
    attribute: str, family: tuple[str, ...], records: Sequence[Record], accuracy: Record, document: Record
) -> View:
    members = [record for record in records if tuple(record["group"]) == family]
    names = list(dict.fromkeys(tuple(record["group"].values()) for record in members))
    groups = [
        (label(TIMES.join(name)), [record for record in members if tuple(record["group"].values()) == name])
        for name in names
    ]
    accuracies = [
        (group, next(record for record in found if record["metric"] == "accuracy")) for group, found in groups
    ]
    spread = next(
        (
            record
            for record in document["gaps"]
            if (record["attribute"], record["by"], record["statistic"]) == (attribute, TIMES.join(family), "spread")
        ),
        None,
    )
    name, by = ATTRIBUTES[attribute], tables.by_words(family)
    finding = findings.of_groups(accuracies, spread) if len(family) == 1 else ""
    found = [
        *tables.metrics(f"{name}, by {by}", by.capitalize(), groups, document, FAMILIES),
        tables.gaps(attribute, family, document),
        tables.comparisons(attribute, family, document),
    ]
    return {
        "name": by,
        "finding": finding,
        "chart": _forest(attribute, family, accuracies, accuracy, finding, document),
        "tables": [table for table in found if table],
    }


def _forest(
    attribute: str,
    family: tuple[str, ...],
    accuracies: Sequence[tuple[str, Record]],
    accuracy: Record,
    finding: str,
    document: Record,
) -> View | None:
    known = [record for _, record in accuracies if record["status"] == "ok"]
    if not known or accuracy["status"] != "ok" or len(family) > 1:
        return None
    scale = charts.axis(min(r["low"] for r in known), max(r["high"] for r in known), accuracy["value"])
    caption = f"Accuracy with {confidence(document)} intervals; the dashed line is that of all images."
    return {
        "id": f"accuracy-{attribute}-{family[0]}",
        "title": f"{ATTRIBUTES[attribute]}: accuracy by {tables.by_words(family)}",
        "finding": finding,
        "caption": f"{caption} The axis does not start at zero." if scale["low"] > 0 else caption,
        "scale": scale,
        "reference": charts.reference(scale, accuracy["value"], f"all: {percent(accuracy['value'])}"),
        "rows": [charts.mark(group, record, scale) for group, record in accuracies],
    }


def _reliability(attribute: str, overall: Sequence[Record], document: Record) -> View | None:
    """Return the curve of all images with its numbers, and those of each group in a table of their own."""
    name = ATTRIBUTES[attribute]
    records = [record for record in document["calibration"] if record["attribute"] == attribute]
    bins = [record for record in records if not record["group"]]
    if not bins:
        return None
    error = next((record for record in overall if record["metric"] == "expected_calibration_error"), None)
    curve = charts.reliability(bins)
    if curve:
        curve |= {
            "id": f"reliability-{attribute}",
            "title": f"{name}: how often the label was right, by how sure the classifier was",
            "finding": findings.of_reliability(bins, error),
            "caption": f"Dots on the diagonal keep their word. {confidence(document)} intervals.",
        }
    return {
        "chart": curve,
        "table": tables.calibration(name, bins, document),
        "groups": tables.calibration_of_groups(name, [record for record in records if record["group"]], document),
    }


def _confusion(attribute: str, name: str, records: Sequence[Record]) -> View | None:
    if not records:
        return None
    most = max((int(record["count"]) for record in records if record["count"] is not None), default=0)
    chart = None
    if most:
        rows = list(dict.fromkeys(record["true"] for record in records))
        columns = list(dict.fromkeys(record["predicted"] for record in records))
        cells = {(record["true"], record["predicted"]): record for record in records}
        chart = charts.count_heat([(row, label(row)) for row in rows], [(c, label(c)) for c in columns], cells, most)
        chart |= {
            "id": f"confusion-{attribute}",
            "title": f"{name}: true classes in rows, labels in columns",
            "finding": findings.of_confusion(records),
            "caption": "Images by true class (row) and label (column); dots stand for too few to show.",
        }
    return {"chart": chart, "table": tables.confusion(name, records)}
