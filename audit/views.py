"""What the page's sections show: records of audit.json as findings in words, chart positions and table rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from audit import charts, findings, tables
from audit.findings import best_grade
from audit.text import count, decimal, percent, plural, shown
from audit.wording import ATTRIBUTES, GRADES, LOOKS, METHODS, OUTCOMES, TIMES, confidence, label

Record = Mapping[str, Any]
View = dict[str, Any]


def verdict(document: Record) -> View:
    """Return the card on top: the verdict, which groups are short, how sure that is, what to do next."""
    words, command = findings.next_step(document)
    return {
        "title": findings.title(document),
        "headline": findings.headline(document),
        "meaning": findings.verdict_sentence(document),
        "short_title": "Which groups look short" if findings.unchecked(document) else "Which groups are short",
        "groups": [_short_groups(document, attribute, name) for attribute, name in ATTRIBUTES.items()],
        "sure": findings.how_sure(document),
        "next": words,
        "command": command,
    }


def _short_groups(document: Record, attribute: str, name: str) -> View:
    best = best_grade([record for record in document["shares"] if record["attribute"] == attribute])
    short = findings.shortfalls(document, attribute)
    rows = [
        {
            "label": label(record["class"]),
            "needed": None if planned is None else count(planned["needed"]),
            "share": percent(record["value"]),
            "low": percent(record["low"]) if planned is None else count(planned["low"]),
            "high": percent(record["high"]) if planned is None else plural(planned["high"], "image"),
            "target": percent(record["target"]),
        }
        for record, planned in short[: findings.NAMED]
    ]
    rest = [label(record["class"]) for record, _ in short[findings.NAMED :]]
    if any(record["status"] == "ok" for record in best):
        empty = "No class shown is clearly below its target."
    else:
        empty = findings.of_shares(document, attribute)
    if all(record["target"] is None for record in best):
        empty = "No target was set."
    return {"name": name, "rows": rows, "rest": findings.listed(rest) if rest else "", "empty": empty}


def outcome_strip(document: Record) -> View | None:
    """Return the strip that shows what became of the files, as shares of its length."""
    records = [
        record
        for record in document["missingness"]
        if not record["group"] and record["status"] == "ok" and record["count"]
    ]
    if not records:
        return None
    parts, start = [], 0.0
    for record in records:
        width = 100 * float(record["value"])
        parts.append(
            {
                "x": round(start, 3),
                "width": round(width, 3),
                "name": OUTCOMES[record["outcome"]],
                "count": count(record["count"]),
                "kind": record["outcome"],
            }
        )
        start += width
    return {"id": "outcomes", "title": "What became of the files", "finding": coverage(document), "parts": parts}


def coverage(document: Record) -> str:
    """Say how many files were labelled, and what most often kept the others from it."""
    store = document["store"]
    if store["files"] == 0:
        return "The label table holds no file, so there is nothing to say of this store."
    if store["not_labelled"] == 0:
        return (
            "The only file was labelled."
            if store["files"] == 1
            else f"All {count(store['files'])} files were labelled."
        )
    missed = max(
        (r for r in document["missingness"] if not r["group"] and r["outcome"] != "ok"),
        key=lambda record: int(record["count"]),
    )
    return (
        f"{count(store['labelled'])} of {plural(store['files'], 'file')} were labelled; {count(store['not_labelled'])} "
        f"were not, most often because: {OUTCOMES[missed['outcome']]} ({count(missed['count'])}). "
        "The shares below speak of the labelled images only."
    )


def shares(document: Record) -> list[View]:
    """Return one view for each attribute: its finding, chart and tables; the chart shows the best grade there is."""
    views = []
    for attribute, name in ATTRIBUTES.items():
        records = [record for record in document["shares"] if record["attribute"] == attribute]
        best = best_grade(records)
        finding = findings.of_shares(document, attribute)
        known = any(record["status"] == "ok" for record in best)
        views.append(
            {
                "id": f"share-{attribute}",
                "name": name,
                "finding": finding,
                "chart": _share_chart(attribute, best, finding, document) if known else None,
                "ages": _ages(best, document) if attribute == "age" else None,
                "table": tables.main_shares(attribute, best, document),
                "others": tables.other_shares(attribute, records, best, document),
                "balance": tables.balance(name, attribute, document),
            }
        )
    return views


def _share_chart(attribute: str, best: Sequence[Record], finding: str, document: Record) -> View:
    known = [record for record in best if record["status"] == "ok"]
    targets = [record["target"] for record in best if record["target"] is not None]
    scale = charts.axis(0.0, max([*(record["high"] for record in known), *targets], default=1.0))
    even = bool(targets) and max(targets) - min(targets) < 1e-9
    signs = {findings.standing(record) for record in best}
    caption = (
        f"{METHODS[best[0]['method']]} shares with {confidence(document)} intervals. The dashed line is the target."
    )
    if "short" in signs:
        caption += " ▼ short: the whole interval lies below the target."
    if "over" in signs:
        caption += " ▲ over: the whole interval lies above it."
    return {
        "id": f"share-{attribute}",
        "title": f"{ATTRIBUTES[attribute]}: share of each class",
        "finding": finding,
        "caption": caption,
        "scale": scale,
        "reference": charts.reference(scale, targets[0], f"even: {percent(targets[0])}") if even else None,
        "rows": [
            charts.mark(
                label(record["class"]), record, scale, None if even else record["target"], findings.standing(record)
            )
            for record in best
        ],
    }


def _ages(best: Sequence[Record], document: Record) -> View | None:
    groups = document["pack"]["classes"]["age"]
    by_class = {record["class"]: record for record in best}
    records = [by_class[group] for group in groups if group in by_class]
    view = charts.distribution(records, groups)
    if view is None:
        return None
    caption = (
        f"{METHODS[best[0]['method']]} shares over the years of perceived age: the area of a column is its group’s "
        "share, so groups of different width can be compared. The last group is open."
    )
    return view | {
        "id": "ages",
        "title": "Distribution of perceived age",
        "finding": findings.of_distribution(records),
        "caption": caption,
    }


def intersections(document: Record) -> list[View]:
    """Return one view for each combination of attributes: how they go together, its heat tables and all its cells."""
    views = []
    for name in dict.fromkeys(record["attribute"] for record in document["shares"]):
        if TIMES not in name:
            continue
        records = best_grade([record for record in document["shares"] if record["attribute"] == name])
        title = tables.by_words(name.split(TIMES)).capitalize()
        finding = findings.of_cells(records)
        views.append(
            {
                "title": title,
                "finding": finding,
                "heats": list(_heats(name, title, finding, records, document)),
                "balance": tables.balance(title, name, document),
                "table": tables.cells(name, title, document),
            }
        )
    return views


def _heats(name: str, title: str, finding: str, records: Sequence[Record], document: Record) -> Iterator[View]:
    """Yield a heat table of a pair; of three attributes one for each class of the second that is the shortest."""
    parts = name.split(TIMES)
    classes = document["pack"]["classes"]
    by_class = {record["class"]: record for record in records}
    split = parts.index("gender") if len(parts) > 2 else None
    rows, columns = (part for part in parts if split is None or part != parts[split])
    for panel in [None] if split is None else classes[parts[split]]:
        cells = {}
        for row in classes[rows]:
            for column in classes[columns]:
                place = [row, column]
                if split is not None:
                    place.insert(split, panel)
                if TIMES.join(place) in by_class:
                    cells[row, column] = by_class[TIMES.join(place)]
        view = charts.heat(
            [(row, label(row)) for row in classes[rows]],
            [(column, label(column)) for column in classes[columns]],
            cells,
        )
        if view is None:
            continue
        said = findings.of_cells(list(cells.values())) if panel is not None else finding
        yield view | {
            "id": f"heat-{'-'.join(parts)}{'' if panel is None else f'-{classes[parts[split or 0]].index(panel)}'}",
            "title": title if panel is None else f"{title}: {label(panel)}",
            "finding": said,
            "caption": f"{METHODS[records[0]['method']]} shares in per cent"
            + ("." if panel is None else f", {label(panel)}. {said}"),
        }


def repeats(document: Record) -> list[View]:
    """Return one table for each attribute: how many images of each class have a near-duplicate."""
    found = (tables.repeats(attribute, document) for attribute in ATTRIBUTES)
    return [table for table in found if table]


def likeness(document: Record) -> View | None:
    """Return the table that compares the store's confidences with the evaluation's."""
    rows = [
        {
            "label": ATTRIBUTES[record["attribute"]],
            "cells": [
                tables.plain(decimal(record[key]))
                for key in ("store_confidence", "evaluation_confidence", "distance", "chance", "disagreement")
            ]
            + [tables.text("unlike" if record["warning"] else "alike")],
        }
        for record in document["domain"]
    ]
    rows += [
        {
            "label": LOOKS[record["measure"]],
            "cells": [tables.plain(decimal(record[key])) for key in ("store", "evaluation", "distance", "chance")]
            + [tables.text("–"), tables.text("unlike" if record["warning"] else "alike")],
        }
        for record in document["looks"]
    ]
    head = ["By confidence in, or by", "#Mean here", "#There", "#Distance", "#Chance", "#Methods differ by", "Finding"]
    caption = "Whether this store looks like the pack’s evaluation data"
    return tables.grid(caption, head, rows)


def collection(document: Record) -> list[View]:
    """Return for each judged attribute how many images of each class are missing: a chart and its table."""
    views = []
    for attribute, name in ATTRIBUTES.items():
        records = [record for record in document["plan"] if record["attribute"] == attribute]
        if not records:
            continue
        scale = charts.count_axis(max(int(record["high"]) for record in records))
        short = {record["class"] for record, _ in findings.shortfalls(document, attribute)}
        finding = findings.of_plan(records)
        views.append(
            {
                "name": name,
                "finding": finding,
                "table": tables.collection(attribute, records),
                "chart": {
                    "id": f"plan-{attribute}",
                    "title": f"{name}: images to add",
                    "finding": finding,
                    "caption": f"Images to add so that the target is met and nothing is thrown away, from "
                    f"{GRADES[records[0]['grade']]}; the whisker is what the share’s interval leaves open."
                    + (" ▼ share short of its target." if short else ""),
                    "scale": scale,
                    "reference": None,
                    "rows": [
                        charts.count_mark(
                            label(record["class"]), record, scale, "short" if record["class"] in short else ""
                        )
                        for record in records
                    ],
                },
            }
        )
    return views


def change(document: Record) -> View | None:
    """Return what changed since an earlier audit: a slope for each attribute, and every change with its interval."""
    found = document.get("change")
    if found is None:
        return None
    parts = []
    for attribute, name in ATTRIBUTES.items():
        records = [record for record in found["changes"] if record["attribute"] == attribute]
        best = best_grade(records)
        view = charts.slope([(label(record["class"]), record) for record in best])
        finding = findings.of_changes(best)
        if view:
            view |= {
                "id": f"change-{attribute}",
                "title": f"{name}: shares before and now",
                "finding": finding,
                "caption": f"{METHODS[best[0]['method']]} shares. Dark lines changed beyond chance.",
            }
        if records:
            parts.append(
                {"name": name, "finding": finding, "chart": view, "table": tables.changes(attribute, best, document)}
            )
    return {
        "sentence": _grown(found),
        "parts": parts,
        "tables": [
            table
            for attribute in dict.fromkeys(record["attribute"] for record in found["changes"])
            if (
                table := tables.changes(
                    attribute, [r for r in found["changes"] if r["attribute"] == attribute], document, every=True
                )
            )
        ],
        "images": list(tables.turnover(found["images"])) if found["images"] else [],
    }


def _grown(found: Record) -> str:
    files, labelled = found["files"], found["labelled"]
    text = (
        f"{plural(files['old'], 'file')} before, {count(files['new'])} now; "
        f"{count(labelled['old'])} of them were labelled before, {count(labelled['new'])} now."
    )
    if not found["same_pack"]:
        text += " Different packs labelled them, so a change of uncorrected shares may be the pack’s, not the store’s."
    return text


def annotators(document: Record) -> View | None:
    """Return the table of how far the annotators agree."""
    rows = [
        {
            "label": ATTRIBUTES[record["attribute"]],
            "cells": [
                tables.text(shown(" and ".join(name or "unnamed" for name in record["annotators"]))),
                tables.figure(record["n"]),
                tables.plain(decimal(record["kappa"])),
                tables.figure(len(record["disagreements"])),
                tables.text(", ".join(shown(path) for path in record["disagreements"]) or "–"),
            ],
        }
        for record in document["agreement"]
    ]
    head = ["Attribute", "Annotators", "#Images", "#Cohen’s κ", "#Undecided", "Which"]
    return tables.grid("How far two annotators agree", head, rows)
