"""Where the marks of a chart lie: positions along its axes in per cent of the plot, from estimates alone."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from audit.text import count, percent
from audit.wording import STANDINGS

Record = Mapping[str, Any]
View = dict[str, Any]

STEPS = 6
"""Shades of a heat table."""
LETTERS = 11
"""Letters of a column's name that fit on one line above a heat table."""
OPEN_YEARS = 10
"""Years drawn for the last age group, which has no upper end."""
LEAST = 0.05
"""Difference of shares that at least fills the height of a slope chart."""
LINE = 7.0
"""Per cent of a slope chart's height that a line of text takes."""


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
    return _axis(low, high, step, lambda tick: percent(tick).replace(".0", ""))


def count_axis(high: int) -> View:
    """Return an axis of counts from 0, with at most six round ticks.

    Examples
    --------
    >>> [tick["text"] for tick in count_axis(1234)["ticks"]]
    ['0', '500', '1,000', '1,500']
    """
    sizes = (base * 10**power for power in range(10) for base in (1, 2, 5))
    step = next(size for size in sizes if high / size <= 5)
    return _axis(0, max(high, 1), step, lambda tick: count(round(tick)))


def _axis(low: float, high: float, step: float, written: Any) -> View:
    first, last = math.floor(round(low / step, 9)), math.ceil(round(high / step, 9))
    last = max(last, first + 1)
    return {
        "low": round(first * step, 9),
        "high": round(last * step, 9),
        "ticks": [
            {"x": round(100 * (i - first) / (last - first), 3), "text": written(i * step)}
            for i in range(first, last + 1)
        ],
    }


def position(scale: View, value: float) -> float:
    """Return where a value lies on an axis, in per cent of its length.

    Examples
    --------
    >>> position(axis(0.0, 0.5), 0.25)
    50.0
    """
    low, high = float(scale["low"]), float(scale["high"])
    return round(100 * (value - low) / (high - low), 3)


def reference(scale: View, value: float, text: str) -> View:
    """Return a line across the whole chart, with its name on the side where there is room."""
    x = position(scale, value)
    return {"x": x, "text": text, "anchor": "start" if x < 20 else "end" if x > 80 else "middle"}


def mark(name: str, record: Record, scale: View, target: float | None = None, sign: str = "") -> View:
    """Return a row of a bar or forest chart: a value with its whisker, or the words that stand for it.

    Parameters
    ----------
    name : str
        Of the row, for reading.
    record : mapping
        An estimate.
    scale : mapping
        As `axis` returns it.
    target : float, optional
        A target of this row alone.
    sign : str
        ``short``, ``over`` or nothing: how the estimate lies beside its target.
    """
    goal = None if target is None else position(scale, target)
    if record["status"] != "ok":
        return {"label": name, "value": None, "text": STANDINGS[record["status"]], "target": goal, "sign": ""}
    places = {key: position(scale, record[key]) for key in ("value", "low", "high")}
    return {"label": name, "text": percent(record["value"]), "target": goal, "sign": sign, **places}


def count_mark(name: str, record: Record, scale: View, sign: str = "") -> View:
    """Return a row of a bar chart of images needed, with the range that the share's interval leaves."""
    places = {key: position(scale, record[key]) for key in ("low", "high")}
    text = count(record["needed"])
    return {
        "label": name,
        "text": text,
        "target": None,
        "sign": sign,
        "value": position(scale, record["needed"]),
        **places,
    }


def years(names: Sequence[str]) -> list[tuple[int, int]] | None:
    """Return the years from and to which each age group reaches, or None where the names do not say.

    Groups are written ``low-high`` with both ends inside, ascending and without a gap; the last one is open and is
    drawn ten years wide.

    Examples
    --------
    >>> years(("0-2", "3-9", "more than 9"))
    [(0, 3), (3, 10), (10, 20)]
    >>> years(("young", "old")) is None
    True
    """
    spans = []
    for name in names[:-1]:
        found = re.fullmatch(r"(\d{1,3})-(\d{1,3})", name)
        if found is None:
            return None
        spans.append((int(found[1]), int(found[2]) + 1))
    if not spans or any(low >= high for low, high in spans):
        return None
    if any(left[1] != right[0] for left, right in itertools.pairwise(spans)):
        return None
    return [*spans, (spans[-1][1], spans[-1][1] + OPEN_YEARS)]


def distribution(records: Sequence[Record], groups: Sequence[str]) -> View | None:
    """Return columns over the years of age: the area of each is its group's share.

    Parameters
    ----------
    records : sequence of mapping
        One estimate for each age group, in order.
    groups : sequence of str
        The age groups as the pack writes them.
    """
    spans = years(groups)
    if spans is None or len(spans) != len(records):
        return None
    if not any(record["status"] == "ok" and record["value"] for record in records):
        return None
    start, end = spans[0][0], spans[-1][1]
    known = [
        record["high"] / (b - a) for record, (a, b) in zip(records, spans, strict=True) if record["status"] == "ok"
    ]
    top = max(known)
    columns = []
    for record, (a, b) in zip(records, spans, strict=True):
        column: View = {
            "x": round(100 * (a - start) / (end - start), 3),
            "width": round(100 * (b - a) / (end - start), 3),
            "height": None,
        }
        column["middle"] = round(column["x"] + column["width"] / 2, 3)
        if record["status"] == "ok":
            tall = {key: 100 * record[key] / (b - a) / top for key in ("value", "low", "high")}
            column["height"] = round(tall["value"], 3)
            column |= {"y": round(100 - tall["value"], 3)}
            column |= {"low": round(100 - tall["low"], 3), "high": round(100 - tall["high"], 3)}
        columns.append(column)
    ticks = [{"x": c["x"], "text": str(a)} for c, (a, b) in zip(columns, spans, strict=True) if b - a >= OPEN_YEARS]
    return {"columns": columns, "ticks": ticks}


def heat(
    rows: Sequence[tuple[str, str]], columns: Sequence[tuple[str, str]], cells: Mapping[tuple[str, str], Record]
) -> View | None:
    """Return a table of shades: the darker, the larger a cell's share is beside the largest one.

    Parameters
    ----------
    rows, columns : sequence of (str, str)
        Classes of two attributes, as the document and as a reader writes them.
    cells : mapping
        The estimate of each pair of classes.
    """
    known = [float(record["value"]) for record in cells.values() if record["status"] == "ok"]
    top = max(known, default=0.0)
    if top <= 0:
        return None
    return _shades(
        rows,
        columns,
        {
            place: _shade(percent(record["value"]).split()[0], record["value"] / top)
            for place, record in cells.items()
            if record["status"] == "ok"
        },
    )


def count_heat(
    rows: Sequence[tuple[str, str]],
    columns: Sequence[tuple[str, str]],
    cells: Mapping[tuple[str, str], Record],
    most: int,
) -> View:
    """Return a table of shades of counts: the darker, the nearer to the largest.

    Parameters
    ----------
    rows, columns : sequence of (str, str)
        As `heat` takes them.
    cells : mapping
        Records with a ``count``, None where it is withheld.
    most : int
        The largest count, 1 or more.
    """
    return _shades(
        rows,
        columns,
        {
            place: _shade(count(record["count"]), record["count"] / most)
            for place, record in cells.items()
            if record["count"] is not None
        },
    )


def _shades(
    rows: Sequence[tuple[str, str]], columns: Sequence[tuple[str, str]], shades: Mapping[tuple[str, str], View]
) -> View:
    width = round(100 / len(columns), 3)
    hidden = {"text": "··", "shade": "hidden"}
    return {
        "width": width,
        "columns": [
            {"x": round(place * width, 3), "middle": round((place + 0.5) * width, 3), "lines": _two_lines(name)}
            for place, (_, name) in enumerate(columns)
        ],
        "rows": [
            {"label": name, "cells": [shades.get((row, column), hidden) for column, _ in columns]} for row, name in rows
        ],
    }


def _shade(written: str, part: float) -> View:
    return {"text": written, "shade": f"heat{math.ceil(STEPS * part)}"}


def _two_lines(name: str) -> list[str]:
    """Return a name broken at the space nearest its middle, each part cut to what fits.

    Examples
    --------
    >>> _two_lines("Southeast Asian"), _two_lines("Black")
    (['Southeast', 'Asian'], ['', 'Black'])
    """
    spaces = [place for place, letter in enumerate(name) if letter == " "]
    parts = ["", name]
    if spaces and len(name) > LETTERS - 2:
        place = min(spaces, key=lambda place: abs(2 * place - len(name)))
        parts = [name[:place], name[place + 1 :]]
    return [part if len(part) <= LETTERS else part[: LETTERS - 1] + "…" for part in parts]


def reliability(records: Sequence[Record]) -> View | None:
    """Return the dots of a reliability curve: how sure across, how often right upwards.

    Parameters
    ----------
    records : sequence of mapping
        The bins of ``calibration`` of one attribute and group.
    """
    dots = [
        {
            "x": round(100 * record["confidence"], 3),
            "y": round(100 - 100 * record["value"], 3),
            "low": round(100 - 100 * record["low"], 3),
            "high": round(100 - 100 * record["high"], 3),
        }
        for record in records
        if record["status"] == "ok" and record["confidence"] is not None
    ]
    return {"dots": dots, "ticks": [0, 25, 50, 75, 100]} if dots else None


def slope(changes: Sequence[tuple[str, Record]]) -> View | None:
    """Return lines from each class's old share to its new one, with names that do not overlap.

    Parameters
    ----------
    changes : sequence of (str, mapping)
        Names for reading, and records of ``changes`` with ``old``, ``new`` and an interval of the difference.
    """
    known = [(name, record) for name, record in changes if record["old"] is not None and record["new"] is not None]
    if not known:
        return None
    values = [float(record[side]) for _, record in known for side in ("old", "new")]
    # Without a least height two nearly equal shares would look worlds apart.
    low, height = min(values), max(max(values) - min(values), LEAST)
    lines = []
    for name, record in known:
        lines.append(
            {
                "label": name,
                "old": round(100 - 100 * (record["old"] - low) / height, 3),
                "new": round(100 - 100 * (record["new"] - low) / height, 3),
                "old_text": percent(record["old"]),
                "new_text": percent(record["new"]),
                "moved": record["status"] == "ok" and (record["low"] > 0 or record["high"] < 0),
            }
        )
    for side in ("old", "new"):
        for line, place in zip(lines, spread_out([float(line[side]) for line in lines], LINE), strict=True):
            line[f"{side}_label"] = place
    return {"lines": lines}


def spread_out(places: Sequence[float], gap: float) -> list[float]:
    """Return places that keep their order and lie at least a gap apart, each moved as little as a sweep allows.

    Examples
    --------
    >>> spread_out([10.0, 11.0, 50.0], 5.0)
    [8.0, 13.0, 50.0]
    """
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    groups: list[list[int]] = []
    middles: list[float] = []
    for i in order:
        groups.append([i])
        middles.append(places[i])
        # A group that touches the one above it joins it, centred on what its members want.
        while len(groups) > 1 and middles[-1] - middles[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2:
            members = groups[-2] + groups[-1]
            groups[-2:] = [members]
            middles[-2:] = [sum(places[j] for j in members) / len(members)]
    found = [0.0] * len(places)
    for members, middle in zip(groups, middles, strict=True):
        for rank, i in enumerate(members):
            found[i] = round(middle + gap * (rank - (len(members) - 1) / 2), 3)
    return found
