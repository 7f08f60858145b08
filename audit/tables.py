"""The tables of the page: rows of cells, each a text or an estimate of audit.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from audit.text import count, decimal, percent, shown
from audit.wording import (
    ADJUSTMENTS,
    ATTRIBUTES,
    FORMS,
    GRADES,
    GROUPINGS,
    METHODS,
    NAMES,
    TIMES,
    confidence,
    label,
    number,
)

Record = Mapping[str, Any]
View = dict[str, Any]

THIN = 30
"""Effective images below which a share is shown in gray."""
ESTIMATES = (
    "missingness",
    "shares",
    "balance",
    "association",
    "performance",
    "gaps",
    "comparisons",
    "calibration",
    "duplicates",
)
"""The lists of audit.json that hold estimates."""


def grid(caption: str, head: Sequence[str], rows: Iterable[View]) -> View | None:
    """Return a table, or None where it has no row.

    Parameters
    ----------
    caption : str
        What it shows.
    head : sequence of str
        Titles of the columns; a ``#`` in front marks a column of plain numbers.
    rows : iterable of dict
        ``label`` and ``cells``, as `text` and `estimate` return them.
    """
    found = list(rows)
    titles = [{"text": title.removeprefix("#"), "number": title.startswith("#")} for title in head]
    return {"caption": caption, "head": titles, "rows": found} if found else None


def text(written: str) -> View:
    """Return a cell of words."""
    return {"text": written}


def figure(value: int | None) -> View:
    """Return a cell of a count, or say that it is withheld."""
    return {"text": "withheld" if value is None else count(value), "number": True}


def plain(written: str) -> View:
    """Return a cell of a number without an interval."""
    return {"text": written, "number": True}


def estimate(record: Record | None, form: str) -> View:
    """Return a cell of an estimate in one of the forms of `FORMS`."""
    if record is None:
        return {"text": "–"}
    # Below 30 effective images a share is shown in gray and carries no verdict.
    thin = record["status"] == "ok" and record.get("n_eff") is not None and record["n_eff"] < THIN
    return {"record": record, "form": form, "thin": thin}


def marks(document: Record) -> dict[tuple[str, str], str]:
    """Return a letter for each reason why a value is missing or has a note, in the order of the document.

    Examples
    --------
    >>> found = {"shares": [{"status": "absent", "reason": "no image in this group"}]}
    >>> marks(found)
    {('absent', 'no image in this group'): 'a'}
    """
    reasons = ((record["status"], record["reason"]) for _, record in estimates(document) if record["reason"])
    return {reason: _letters(place) for place, reason in enumerate(dict.fromkeys(reasons))}


def _letters(place: int) -> str:
    letter = chr(ord("a") + place % 26)
    return letter if place < 26 else _letters(place // 26 - 1) + letter


def estimates(document: Record) -> Iterator[tuple[str, Record]]:
    """Yield every estimate of a document with its place in it, such as ``shares/0``."""
    change = document.get("change") or {}
    lists = {part: document.get(part, ()) for part in ESTIMATES} | {"change/changes": change.get("changes", ())}
    for part, records in lists.items():
        for place, record in enumerate(records):
            yield f"{part}/{place}", record


def places(document: Record) -> dict[int, str]:
    """Return where in the document each of its estimates is, by the identity of the record."""
    return {id(record): place for place, record in estimates(document)}


def main_shares(attribute: str, best: Sequence[Record], document: Record) -> View | None:
    """Return the table beside an attribute's chart: its best shares, their targets, and what to add."""
    raw = {r["class"]: r for r in document["shares"] if r["attribute"] == attribute and r["grade"] == "raw"}
    planned = {r["class"]: r for r in document["plan"] if r["attribute"] == attribute}
    rows = [
        {
            "label": label(record["class"]),
            "cells": [
                figure(raw[record["class"]]["count"]) if record["class"] in raw else plain("–"),
                estimate(record, "share"),
                plain(percent(record["target"])),
                *([_to_add(planned.get(record["class"]))] if planned else []),
            ],
        }
        for record in best
    ]
    method = METHODS[best[0]["method"]].lower()
    caption = (
        f"{ATTRIBUTES[attribute]}: {method} shares with {confidence(document)} intervals; images as the classifier "
        "counts them"
    )
    head = ["Class", "#Images", "Share", "#Target", *(["To add"] if planned else [])]
    return grid(caption, head, rows)


def _to_add(record: Record | None) -> View:
    if record is None:
        return text("–")
    return {"value": count(record["needed"]), "range": f"{count(record['low'])} to {count(record['high'])}"}


def other_shares(attribute: str, records: Sequence[Record], best: Sequence[Record], document: Record) -> View | None:
    """Return the table of the shares in every other grade, None where there is no other."""
    others = [record for record in records if record["method"] != best[0]["method"]]
    return _by_method(
        f"{ATTRIBUTES[attribute]}: other estimates of the shares, with {confidence(document)} intervals",
        "Class",
        others,
    )


def _by_method(
    caption: str, first: str, records: Sequence[Record], links: Mapping[str, Record] | None = None
) -> View | None:
    methods = list(dict.fromkeys(record["method"] for record in records))
    by_place = {(record["class"], record["method"]): record for record in records}
    rows = []
    for name in dict.fromkeys(record["class"] for record in records):
        cells = [estimate(by_place.get((name, method)), "share") for method in methods]
        if links:
            cells.append(estimate(links.get(name), "score"))
        rows.append({"label": label(name), "cells": cells})
    head = [first, *(METHODS[method] for method in methods), *(["Mutual information"] if links else [])]
    return grid(caption, head, rows)


def cells(name: str, title: str, document: Record) -> View | None:
    """Return the table of all combinations of some attributes' classes."""
    records = [record for record in document["shares"] if record["attribute"] == name]
    links = {record["class"]: record for record in document["association"] if record["attribute"] == name}
    return _by_method(
        f"{title}: share of each combination, with {confidence(document)} intervals", "Combination", records, links
    )


def balance(title: str, attribute: str, document: Record) -> View | None:
    """Return the table of the statistics of balance."""
    rows = [
        {
            "label": f"{NAMES[record['statistic']]}, {GRADES[record['grade']]}",
            "cells": [
                estimate(record, FORMS[record["statistic"]]),
                plain(number(record["chance"], FORMS[record["statistic"]])),
            ],
        }
        for record in document["balance"]
        if record["attribute"] == attribute
    ]
    caption = f"Balance of {title.lower()}, beside what chance alone shows at the target in a store of this size"
    return grid(caption, ["Statistic", f"Value, {confidence(document)} interval", "#Chance"], rows)


def outcomes(document: Record, words: Mapping[str, str]) -> View | None:
    """Return the table of what became of the files."""
    rows = [
        {
            "label": words[record["outcome"]],
            "cells": [figure(record["count"]), estimate(record, "share")],
        }
        for record in document["missingness"]
        if not record["group"]
    ]
    return grid(
        f"Files by outcome, of {count(document['store']['files'])}",
        ["Outcome", "#Files", f"Share, {confidence(document)} interval"],
        rows,
    )


def missing(document: Record) -> View | None:
    """Return the table of files without a label or with an unsure one, by folder and by group."""
    rows = [
        {
            "label": _missing_name(record),
            "cells": [figure(record["n"]), figure(record["count"]), estimate(record, "share")],
        }
        for record in document["missingness"]
        if record["group"]
    ]
    caption = (
        "Without a label, by folder and by group where truth is known; and labels with a confidence below one half. "
        f"{confidence(document)} intervals"
    )
    return grid(caption, ["Of", "#Files", "#Concerned", "Share"], rows)


def _missing_name(record: Record) -> str:
    ((kind, value),) = record["group"].items()
    if record["outcome"] == "low_confidence":
        return f"Unsure of {GROUPINGS[value]}"
    return f"No label: {'folder' if kind == 'folder' else GROUPINGS[kind]} {label(value)}"


def repeats(attribute: str, document: Record) -> View | None:
    """Return the table of how many images of each class have a near-duplicate."""
    rows = [
        {
            "label": label(record["class"]),
            "cells": [estimate(record, "share"), plain(percent(record["share_without"]))],
        }
        for record in document["duplicates"]
        if record["attribute"] == attribute
    ]
    caption = f"{ATTRIBUTES[attribute]}: images that have a near-duplicate, with {confidence(document)} intervals"
    return grid(caption, ["Class", "Have a near-duplicate", "#Share without repeats"], rows)


def collection(attribute: str, records: Sequence[Record]) -> View | None:
    """Return the table of how many images of each class are missing."""
    rows = [
        {
            "label": label(record["class"]),
            "cells": [figure(record["needed"]), plain(f"{count(record['low'])} to {count(record['high'])}")],
        }
        for record in records
    ]
    caption = f"{ATTRIBUTES[attribute]}: images to add so that the target is met, from {GRADES[records[0]['grade']]}"
    return grid(caption, ["Class", "#To add", "#As the share’s interval leaves open"], rows)


def metrics(
    caption: str,
    heading: str,
    groups: Sequence[tuple[str, Sequence[Record]]],
    document: Record,
    families: Sequence[tuple[str, Sequence[str]]],
) -> Iterator[View]:
    """Yield a table for each family of metrics that the groups have: a row for each group."""
    for what, names in families:
        found = [(group, {r["metric"]: r for r in members if r["metric"] in names}) for group, members in groups]
        present = [name for name in names if any(name in records for _, records in found)]
        if present:
            rows = [
                {
                    "label": group,
                    "cells": [
                        figure(next((r["n"] for r in records.values()), None)),
                        *(estimate(records.get(name), FORMS[name]) for name in present),
                    ],
                }
                for group, records in found
            ]
            head = [heading, "#Images", *(NAMES[name] for name in present)]
            made = grid(f"{caption}: {what}, with {confidence(document)} intervals", head, rows)
            if made:
                yield made


def changes(attribute: str, records: Sequence[Record], document: Record, *, every: bool = False) -> View | None:
    """Return the table of an attribute's shares before and now, with the change between them.

    `every` says in its caption that it holds the shares of every grade, for no two tables of a page may be named alike.
    """
    methods = {record["method"] for record in records}
    rows = [
        {
            "label": label(record["class"]) + (f", {METHODS[record['method']].lower()}" if len(methods) > 1 else ""),
            "cells": [plain(percent(record["old"])), plain(percent(record["new"])), estimate(record, "share")],
        }
        for record in records
    ]
    name = by_words(attribute.split(TIMES)).capitalize()
    head = ["Class", "#Before", "#Now", f"Change, {confidence(document)} interval"]
    what = "every change, in every grade" if every else "shares before and now, and the change between"
    return grid(f"{name}: {what}", head, rows)


def turnover(images: Record) -> Iterator[View]:
    """Yield the tables of how many images are new or gone, of their names, and of those that changed class."""
    rows = [
        {"label": title, "cells": [figure(images[kind]), text(", ".join(map(shown, names)) or "–")]}
        for title, kind, names in (
            ("New", "new", images["new_names"]),
            ("Gone", "gone", images["gone_names"]),
            ("In both", "kept", ()),
        )
    ]
    yield from filter(None, [grid("Images between the two audits", ["Images", "#Number", "The first by name"], rows)])
    moved = [
        {
            "label": f"{ATTRIBUTES[record['attribute']]}: {label(record['old'])}",
            "cells": [text(label(record["new"])), figure(record["count"])],
        }
        for record in images["relabelled"]
    ]
    yield from filter(None, [grid("Images in both that are labelled otherwise", ["Before", "Now", "#Images"], moved)])


def classes(name: str, records: Sequence[Record], document: Record) -> View | None:
    """Return the table of recall and precision, class by class."""
    rows = []
    for cls in dict.fromkeys(record["class"] for record in records):
        found = {record["metric"]: record for record in records if record["class"] == cls}
        rows.append(
            {"label": label(cls), "cells": [estimate(found.get(metric), "share") for metric in ("recall", "precision")]}
        )
    caption = f"{name}, class by class, with {confidence(document)} intervals"
    return grid(caption, ["Class", "Recall", "Precision"], rows)


def confusion(name: str, records: Sequence[Record]) -> View | None:
    """Return the table of true classes and labels, shaded by how many images are in each cell."""
    columns = list(dict.fromkeys(record["predicted"] for record in records))
    rows = []
    for true in dict.fromkeys(record["true"] for record in records):
        found = {record["predicted"]: record["count"] for record in records if record["true"] == true}
        rows.append(
            {
                "label": label(true),
                "cells": [figure(found[column]) if column in found else plain("–") for column in columns],
            }
        )
    caption = f"{name}: images by true class (row) and label (column)"
    return grid(caption, ["True class", *(f"#{label(column)}" for column in columns)], rows)


def calibration(name: str, records: Sequence[Record], document: Record) -> View | None:
    """Return the table of how sure the classifier was and how often it was right."""
    rows = [{"label": _bin(record), "cells": _reliability(record)} for record in records]
    caption = f"{name}: how sure the classifier was, and how often it was right, with {confidence(document)} intervals"
    return grid(caption, ["Confidence", "#Images", "#Mean confidence", "Right"], rows)


def calibration_of_groups(name: str, records: Sequence[Record], document: Record) -> View | None:
    """Return the table of how sure the classifier was and how often it was right, group by group."""
    rows = [
        {"label": label(TIMES.join(record["group"].values())), "cells": [plain(_bin(record)), *_reliability(record)]}
        for record in records
    ]
    caption = f"{name}, group by group: how sure and how often right, with {confidence(document)} intervals"
    return grid(caption, ["Group", "#Confidence", "#Images", "#Mean confidence", "Right"], rows)


def _bin(record: Record) -> str:
    return f"{decimal(record['bin_low'], 2)} to {decimal(record['bin_high'], 2)}"


def _reliability(record: Record) -> list[View]:
    return [figure(record["n"]), plain(percent(record["confidence"])), estimate(record, "share")]


def gaps(attribute: str, family: tuple[str, ...], document: Record) -> View | None:
    """Return the table of how far groups lie apart."""
    rows = [
        {
            "label": NAMES[record["statistic"]],
            "cells": [
                estimate(record, FORMS[record["statistic"]]),
                plain(number(record["chance"], FORMS[record["statistic"]])),
            ],
        }
        for record in document["gaps"]
        if record["attribute"] == attribute and record["by"] == TIMES.join(family)
    ]
    caption = (
        f"{ATTRIBUTES[attribute]}: how far the groups by {by_words(family)} lie apart, "
        "beside what chance alone would show if they were alike"
    )
    return grid(caption, ["Across groups", f"Value, {confidence(document)} interval", "#Chance"], rows)


def comparisons(attribute: str, family: tuple[str, ...], document: Record) -> View | None:
    """Return the table of each group's accuracy beside that of all other images."""
    records = [
        record
        for record in document["comparisons"]
        if record["attribute"] == attribute and tuple(record["group"]) == family
    ]
    rows = [
        {
            "label": label(TIMES.join(record["group"].values())),
            "cells": [
                figure(record["n"]),
                estimate(record, "share"),
                plain(decimal(record["p_value"])),
                plain(decimal(record["p_adjusted"])),
            ],
        }
        for record in records
    ]
    adjusted = " and ".join(dict.fromkeys(ADJUSTMENTS[record["adjustment"]] for record in records))
    caption = (
        f"{ATTRIBUTES[attribute]}, by {by_words(family)}: accuracy minus that of all other images; p adjusted by "
        f"{adjusted}"
    )
    head = ["Group", "#Images", f"Difference, {confidence(document)} interval", "#p", "#p, adjusted"]
    return grid(caption, head, rows)


def by_words(family: Sequence[str]) -> str:
    """Return what groups are made by.

    Examples
    --------
    >>> by_words(("age", "gender"))
    'age group × gender'
    """
    return TIMES.join(GROUPINGS[part] for part in family)
