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

CLASS_METRICS = (
    "accuracy",
    "within_one_group",
    "balanced_accuracy",
    "macro_f1",
    "roc_auc",
    "expected_calibration_error",
)
YEAR_METRICS = ("mae", "rmse", "bias")
TIMES = " × "
THIN = 30
"""Effective images below which a share is shown in gray."""
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
    """Return one view for each attribute: its finding, chart and tables; the chart shows the best grade there is."""
    views = []
    for attribute, name in ATTRIBUTES.items():
        records = [record for record in document["shares"] if record["attribute"] == attribute]
        best = best_grade(records)
        known = [record for record in best if record["status"] == "ok"]
        targets = [record["target"] for record in best if record["target"] is not None]
        scale = axis(0.0, max([*(record["high"] for record in known), *targets], default=1.0))
        even = max(targets) - min(targets) < 1e-9
        views.append(
            {
                "id": f"share-{attribute}",
                "name": name,
                "title": f"{name}: share of each class",
                "finding": _share_finding(best, even),
                "caption": f"{METHODS[best[0]['method']]} shares, with {confidence(document)} intervals.",
                "n": records[0]["n"],
                "table": _share_table(name, records, document),
                "balance": _balance_table(
                    name, [record for record in document["balance"] if record["attribute"] == attribute], document
                ),
                "scale": scale,
                "reference": _reference(scale, targets[0], f"even: {percent(targets[0])}") if even else None,
                "rows": [
                    _mark(label(record["class"]), record, scale, None if even else record["target"]) for record in best
                ],
            }
        )
    return views


def best_grade(records: Sequence[Record]) -> list[Record]:
    """Return the records of the verified grade where there are any, else the raw ones."""
    verified = [record for record in records if record["grade"] == "verified"]
    return verified or [record for record in records if record["grade"] == "raw"]


def _share_table(name: str, records: Sequence[Record], document: Record) -> View:
    methods = list(dict.fromkeys(record["method"] for record in records))
    classes = list(dict.fromkeys(record["class"] for record in records))
    by_place = {(record["class"], record["method"]): record for record in records}
    rows = []
    for label_name in classes:
        first = next(record for record in records if record["class"] == label_name)
        cells: list[View] = [{"text": _count_text(first)}]
        for method in methods:
            record = by_place.get((label_name, method))
            cells.append(_cell(record, "share"))
        cells.append({"text": percent(first["target"])})
        rows.append({"label": label(label_name), "cells": cells})
    return {
        "caption": f"{name}: shares with {confidence(document)} intervals, images by uncorrected count",
        "head": ["Class", "Images", *(METHODS[method] for method in methods), "Target"],
        "rows": rows,
    }


def _count_text(record: Record) -> str:
    if record["grade"] != "raw":
        return "–"
    return "hidden" if record["count"] is None else count(record["count"])


def _cell(record: Record | None, form: str) -> View:
    if record is None:
        return {"text": "–"}
    # Below 30 effective images a share is shown in gray and carries no verdict.
    thin = record["status"] == "ok" and record.get("n_eff") is not None and record["n_eff"] < THIN
    return {"record": record, "form": form, "thin": thin}


def _balance_table(name: str, records: Sequence[Record], document: Record) -> View:
    rows = [
        {
            "label": f"{NAMES[record['statistic']]}, {GRADES[record['grade']]}",
            "cells": [
                _cell(record, FORMS[record["statistic"]]),
                {"text": number(record["chance"], FORMS[record["statistic"]])},
            ],
        }
        for record in records
    ]
    return {
        "caption": f"Balance of {name.lower()}, beside what chance alone shows at the target in a store of this size",
        "head": ["Statistic", f"Value, {confidence(document)} interval", "Chance"],
        "rows": rows,
    }


def intersections(document: Record) -> list[View]:
    """Return one view for each combination of attributes: how they go together, and a table of its cells."""
    views = []
    for name in dict.fromkeys(record["attribute"] for record in document["shares"]):
        if TIMES not in name:
            continue
        records = [record for record in document["shares"] if record["attribute"] == name]
        links = {record["class"]: record for record in document["association"] if record["attribute"] == name}
        bound = [record for record in document["balance"] if record["attribute"] == name]
        methods = list(dict.fromkeys(record["method"] for record in records))
        by_place = {(record["class"], record["method"]): record for record in records}
        rows = []
        for cell in dict.fromkeys(record["class"] for record in records):
            cells: list[View] = [_cell(by_place.get((cell, method)), "share") for method in methods]
            if links:
                cells.append(_cell(links.get(cell), "score"))
            rows.append({"label": label(cell), "cells": cells})
        title = TIMES.join(GROUPINGS[part] for part in name.split(TIMES)).capitalize()
        views.append(
            {
                "title": title,
                "balance": _balance_table(title, bound, document) if bound else None,
                "table": {
                    "caption": f"{title}: share of each cell, with {confidence(document)} intervals",
                    "head": ["Cell", *(METHODS[method] for method in methods)]
                    + (["Mutual information"] if links else []),
                    "rows": rows,
                },
            }
        )
    return views


def _share_finding(best: Sequence[Record], even: bool) -> str:
    known = [record for record in best if record["status"] == "ok"]
    if not known:
        if any(record["status"] == "suppressed" for record in best):
            return "Too few images to show."
        undefined = [record["reason"] for record in best if record["n"]]
        return f"Not known: {undefined[0]}." if undefined else "No image was labelled, so there are no shares."
    seen = [record for record in known if record["value"]]
    if not seen:
        return "Too few images to show."
    most = max(known, key=lambda record: float(record["value"]))
    least = min(seen, key=lambda record: float(record["value"]))
    if len(seen) == 1:
        return f"Every image was labelled {label(most['class'])}." if len(known) == len(best) else _with_name(most)
    text = f"Most often {_with_name(most)}. Least often {_with_name(least)}. "
    text += f"Even shares would be {percent(most['target'])} each." if even and most["target"] is not None else ""
    short = [record for record in known if record["target"] is not None and record["high"] < record["target"]]
    if short:
        text += f" Short of the target: {', '.join(label(record['class']) for record in short)}."
    empty = [label(record["class"]) for record in known if not record["value"]]
    return text.strip() + (f" No image is {_listed(empty)}." if empty else "")


def _with_name(record: Record) -> str:
    return f"{label(record['class'])}: {_with_interval(record)}"


def collection(document: Record) -> list[View]:
    """Return one table for each judged attribute: how many images of each class are missing."""
    views = []
    for attribute, name in ATTRIBUTES.items():
        records = [record for record in document["plan"] if record["attribute"] == attribute]
        if records:
            rows = [
                {
                    "label": label(record["class"]),
                    "cells": [
                        {"text": count(record["needed"])},
                        {"text": f"{count(record['low'])} to {count(record['high'])}"},
                    ],
                }
                for record in records
            ]
            views.append(
                {
                    "caption": f"{name}: images to add so that the target is met, from {GRADES[records[0]['grade']]}",
                    "head": ["Class", "To add", "As the share's interval leaves open"],
                    "rows": rows,
                }
            )
    return views


def missing(document: Record) -> View | None:
    """Return the table of files without a label or with an unsure one, by folder and by group."""
    records = [record for record in document["missingness"] if record["group"]]
    if not records:
        return None
    rows = [
        {
            "label": _missing_name(record),
            "cells": [
                {"text": "hidden" if record["n"] is None else count(record["n"])},
                {"text": "hidden" if record["count"] is None else count(record["count"])},
                _cell(record, "share"),
            ],
        }
        for record in records
    ]
    return {
        "caption": f"Without a label, by folder and by group where truth is known; and labels with a confidence below "
        f"one half. {confidence(document)} intervals",
        "head": ["Of", "Files", "Concerned", "Share"],
        "rows": rows,
    }


def _missing_name(record: Record) -> str:
    ((kind, value),) = record["group"].items()
    if record["outcome"] == "low_confidence":
        return f"Unsure of {GROUPINGS[value]}"
    return f"No label: {'folder' if kind == 'folder' else GROUPINGS[kind]} {label(value)}"


def repeats(document: Record) -> list[View]:
    """Return one table for each attribute: how many images of each class have a near-duplicate."""
    views = []
    for attribute, name in ATTRIBUTES.items():
        rows = [
            {
                "label": label(record["class"]),
                "cells": [_cell(record, "share"), {"text": percent(record["share_without"])}],
            }
            for record in document["duplicates"]
            if record["attribute"] == attribute
        ]
        if rows:
            views.append(
                {
                    "caption": f"{name}: images that have a near-duplicate, with {confidence(document)} intervals",
                    "head": ["Class", "Have a near-duplicate", "Uncorrected share without repeats"],
                    "rows": rows,
                }
            )
    return views


def likeness(document: Record) -> View | None:
    """Return the table that compares the store's confidences with the evaluation's."""
    rows = [
        {
            "label": ATTRIBUTES[record["attribute"]],
            "cells": [
                {"text": decimal(record[key])}
                for key in ("store_confidence", "evaluation_confidence", "distance", "chance", "disagreement")
            ]
            + [{"text": "unlike" if record["warning"] else "alike"}],
        }
        for record in document["domain"]
    ]
    head = ["Attribute", "Mean confidence here", "There", "Distance", "Chance", "Methods differ by", "Finding"]
    caption = "Whether this store looks like the pack’s evaluation data, by the classifier’s confidence"
    return {"caption": caption, "head": head, "rows": rows} if rows else None


def annotators(document: Record) -> View | None:
    """Return the table of how far the annotators agree."""
    rows = [
        {
            "label": ATTRIBUTES[record["attribute"]],
            "cells": [
                {"text": shown(" and ".join(name or "unnamed" for name in record["annotators"]))},
                {"text": count(record["n"])},
                {"text": decimal(record["kappa"])},
                {"text": count(len(record["disagreements"]))},
                {"text": ", ".join(shown(path) for path in record["disagreements"]) or "–"},
            ],
        }
        for record in document["agreement"]
    ]
    head = ["Attribute", "Annotators", "Images", "Cohen’s κ", "Undecided", "Which"]
    return {"caption": "How far two annotators agree", "head": head, "rows": rows} if rows else None


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


def _mark(name: str, record: Record, scale: View, target: float | None = None) -> View:
    goal = None if target is None else _position(scale, target)
    if record["status"] != "ok":
        return {"label": name, "value": None, "text": record["status"], "target": goal}
    places = {key: _position(scale, record[key]) for key in ("value", "low", "high")}
    return {"label": name, "text": percent(record["value"]), "target": goal, **places}


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
        views.append(
            {
                "name": name,
                "finding": _agreement(accuracy),
                "overall": list(_metric_tables(f"{name}, all images", "Group", [("all images", overall)], document)),
                "by": [_by_group(attribute, family, whole, accuracy, document) for family in families],
                "classes": _class_table(name, [record for record in records if record["class"] is not None], document),
                "confusion": _confusion_table(
                    name, [record for record in document["confusion"] if record["attribute"] == attribute]
                ),
                "calibration": _calibration_table(
                    name, [record for record in document["calibration"] if record["attribute"] == attribute], document
                ),
            }
        )
    return views


def _class_table(name: str, records: Sequence[Record], document: Record) -> View | None:
    rows = []
    for cls in dict.fromkeys(record["class"] for record in records):
        found = {record["metric"]: record for record in records if record["class"] == cls}
        rows.append(
            {"label": label(cls), "cells": [_cell(found[metric], "share") for metric in ("recall", "precision")]}
        )
    caption = f"{name}, class by class, with {confidence(document)} intervals"
    return {"caption": caption, "head": ["Class", "Recall", "Precision"], "rows": rows} if rows else None


def _confusion_table(name: str, records: Sequence[Record]) -> View | None:
    if not records:
        return None
    columns = list(dict.fromkeys(record["predicted"] for record in records))
    rows = [
        {
            "label": label(true),
            "cells": [
                {"text": "hidden" if record["count"] is None else count(record["count"])}
                for record in records
                if record["true"] == true
            ],
        }
        for true in dict.fromkeys(record["true"] for record in records)
    ]
    caption = f"{name}: images by true class (row) and label (column)"
    return {"caption": caption, "head": ["True class", *(label(column) for column in columns)], "rows": rows}


def _calibration_table(name: str, records: Sequence[Record], document: Record) -> View | None:
    rows = [
        {
            "label": f"{decimal(record['bin_low'], 2)} to {decimal(record['bin_high'], 2)}",
            "cells": [
                {"text": "hidden" if record["n"] is None else count(record["n"])},
                {"text": percent(record["confidence"])},
                _cell(record, "share"),
            ],
        }
        for record in records
    ]
    caption = f"{name}: how sure the classifier was, and how often it was right, with {confidence(document)} intervals"
    head = ["Confidence", "Images", "Mean confidence", "Right"]
    return {"caption": caption, "head": head, "rows": rows} if rows else None


def _agreement(accuracy: Record) -> str:
    if accuracy["status"] != "ok":
        return f"How often the labels agree with truth is {accuracy['status']}: {accuracy['reason']}."
    return f"Right for {_with_interval(accuracy)} of {plural(accuracy['n'], 'image')} whose truth is known."


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
    name, by = ATTRIBUTES[attribute], TIMES.join(GROUPINGS[part] for part in family)
    finding = _group_finding(accuracies)
    known = [record for _, record in accuracies if record["status"] == "ok"]
    chart = None
    if known and accuracy["status"] == "ok" and len(family) == 1:
        scale = axis(min(r["low"] for r in known), max(r["high"] for r in known), accuracy["value"])
        chart = {
            "id": f"accuracy-{attribute}-{family[0]}",
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
        "gaps": _gap_table(attribute, family, document),
        "comparisons": _comparison_table(attribute, family, document),
    }


def _gap_table(attribute: str, family: tuple[str, ...], document: Record) -> View | None:
    rows = [
        {
            "label": NAMES[record["statistic"]],
            "cells": [
                _cell(record, FORMS[record["statistic"]]),
                {"text": number(record["chance"], FORMS[record["statistic"]])},
            ],
        }
        for record in document["gaps"]
        if record["attribute"] == attribute and record["by"] == TIMES.join(family)
    ]
    caption = (
        f"{ATTRIBUTES[attribute]}: how far the groups by {TIMES.join(GROUPINGS[part] for part in family)} lie apart, "
        "beside what chance alone would show if they were alike"
    )
    head = ["Across groups", f"Value, {confidence(document)} interval", "Chance"]
    return {"caption": caption, "head": head, "rows": rows} if rows else None


def _comparison_table(attribute: str, family: tuple[str, ...], document: Record) -> View | None:
    rows = [
        {
            "label": label(TIMES.join(record["group"].values())),
            "cells": [
                {"text": "hidden" if record["n"] is None else count(record["n"])},
                _cell(record, "share"),
                {"text": decimal(record["p_value"])},
                {"text": f"{decimal(record['p_adjusted'])} ({ADJUSTMENTS[record['adjustment']]})"},
            ],
        }
        for record in document["comparisons"]
        if record["attribute"] == attribute and tuple(record["group"]) == family
    ]
    by = TIMES.join(GROUPINGS[part] for part in family)
    caption = f"{ATTRIBUTES[attribute]}, by {by}: accuracy minus that of all other images"
    head = ["Group", "Images", f"Difference, {confidence(document)} interval", "p", "p, adjusted"]
    return {"caption": caption, "head": head, "rows": rows} if rows else None


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
