"""From a history of audits to one HTML page: a pure function of it, with no script and nothing loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from audit import pages
from audit.history import Audit, History, Share, runs
from audit.text import count, decimal, percent, plural, shown
from audit.wording import ATTRIBUTES, GRADES, GROUPINGS, METHODS, TIMES, VERDICTS, label

View = dict[str, Any]

SIDE = 1000
"""Units of a plot's width and height; it is stretched to its place, its strokes are not."""
VERIFIED = "difference_estimator"
RAW = "counts"
NIGHTS = 31
"""Audits whose shares a table holds, the newest."""
CELL_NIGHTS = 12
"""Audits whose cells a table of a combination holds, the newest."""
LISTED = 100
"""Audits, or other files, that a table lists."""
CROWD = 40
"""Audits above which dots are drawn small."""
CEILINGS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
LEVELS = ("none", "fail", "inconclusive", "pass")
"""Verdicts from the bottom of their chart to its top."""
SOURCES: Mapping[str, str] = MappingProxyType({"audit": "the audit", "name": "the file’s name", "file": "the file"})
"""How the page says where an audit's time comes from."""


def render(history: History) -> str:
    """Return the page: the same history gives the same bytes.

    Parameters
    ----------
    history : History
        As `audit.history.read` gives it. Every name in it is taken as hostile.
    """
    audits = history.audits
    return (
        pages.environment()
        .get_template("history.html.j2")
        .render(
            **pages.style("report.css", "history.css"),
            title=_title(history),
            opening=_opening(history),
            latest=_latest(audits),
            change=_changes(history.change) if history.change else [],
            timeline=_timeline(audits),
            audits=_audit_table(audits),
            packs=_pack_changes(audits),
            shares=[_attribute(history, attribute) for attribute in ATTRIBUTES] if audits else [],
            combinations=[_combination(history, attribute) for attribute in history.combinations()],
            passed_over=[(shown(name), shown(reason)) for name, reason in history.passed_over[:LISTED]],
            all_passed_over=len(history.passed_over),
            confidence=percent(audits[-1].confidence) if audits else "",
        )
    )


def _title(history: History) -> str:
    stores = list(dict.fromkeys(audit.store for audit in history.audits))
    return shown(stores[-1] if stores else history.folder)


def when(moment: datetime) -> str:
    """Return a time as a day, and with its hour where it has one.

    Examples
    --------
    >>> when(datetime(2026, 11, 22)), when(datetime(2026, 11, 22, 6, 50))
    ('2026-11-22', '2026-11-22 06:50')
    """
    return f"{moment:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def _opening(history: History) -> str:
    audits = history.audits
    if not audits:
        return "No audit lies in this folder, so there is nothing to show. Write one with audit-labels report --json."
    others = sorted({shown(audit.store) for audit in audits} - {_title(history)})
    mixed = f" Some are of other stores: {', '.join(others)}." if others else ""
    if len(audits) == 1:
        return f"One audit, of {when(audits[0].when)}. A change over time needs two.{mixed}"
    return f"{plural(len(audits), 'audit')}, from {when(audits[0].when)} to {when(audits[-1].when)}.{mixed}"


def _latest(audits: Sequence[Audit]) -> View | None:
    if not audits:
        return None
    last, same = audits[-1], runs(audits)
    since = f"The last {count(same)} audits say so, since {when(audits[-same].when)}." if same > 1 else ""
    if same < len(audits):
        before = audits[-same - 1]
        since = f"{since} Before that, on {when(before.when)}: {VERDICTS[before.verdict].lower()}.".strip()
    return {
        "title": VERDICTS[last.verdict],
        "since": since,
        "facts": [
            ("Audit of", when(last.when)),
            ("Rests on", GRADES.get(last.basis, shown(last.basis))),
            ("Margin", "none set" if last.margin is None else f"± {percent(last.margin)}"),
            ("Labelled", f"{count(last.labelled)} of {count(last.files)}"),
            ("Pack", _pack(last)),
        ],
    }


def _changes(change: Mapping[str, Any]) -> list[str]:
    """Return what is new between the last two audits: files, and the classes that moved beyond chance."""
    files, labelled = change["files"], change["labelled"]
    grown = f"{count(files['old'])} files became {count(files['new'])}"
    lines = [f"{grown}; labelled were {count(labelled['old'])}, now {count(labelled['new'])}."]
    if not change["same_pack"]:
        lines.append("The model pack is another: a change of uncorrected shares may be the pack’s, not the store’s.")
    moved = [
        f"{ATTRIBUTES[record['attribute']]}, {label(record['class'])}: {percent(record['old'])} to "
        f"{percent(record['new'])}, a change of {signed(record['value'])} points "
        f"({signed(record['low'])} to {signed(record['high'])}), {GRADES[record['grade']]}."
        for record in change["changes"]
        if record["attribute"] in ATTRIBUTES
        and record["method"] in (RAW, VERIFIED)
        and record["status"] == "ok"
        and (record["low"] > 0 or record["high"] < 0)
    ]
    return lines + (moved or ["No class changed its share beyond what chance would do."])


def signed(value: float) -> str:
    """Return a difference of shares in percentage points, with its sign.

    Examples
    --------
    >>> signed(0.012), signed(-0.004)
    ('+1.2', '−0.4')
    """
    written = decimal(100 * value, 1)
    return written if value <= 0 or written == "0.0" else f"+{written}"


def _pack(audit: Audit) -> str:
    name, version, digest = audit.pack
    return shown(f"{name} {version} ({digest[:12]})")


def _places(audits: Sequence[Audit]) -> list[int]:
    """Return where each audit lies on the axis of time, 0 to `SIDE`: by its time, or evenly where all have the same."""
    first, span = audits[0].when, (audits[-1].when - audits[0].when).total_seconds()
    if span == 0:
        return [round(SIDE * (place + 1) / (len(audits) + 1)) for place in range(len(audits))]
    return [round(SIDE * (audit.when - first).total_seconds() / span) for audit in audits]


def _renewed(audits: Sequence[Audit]) -> list[int]:
    """Return the places of the audits whose pack is not the one before."""
    return [place for place in range(1, len(audits)) if audits[place].pack != audits[place - 1].pack]


def _crowd(audits: Sequence[Audit]) -> str:
    """Return the further class of a plot whose dots would run into each other."""
    return " crowd" if len(audits) > CROWD else ""


def _ends(audits: Sequence[Audit]) -> list[str]:
    return list(dict.fromkeys(when(audit.when) for audit in (audits[0], audits[-1])))


def _timeline(audits: Sequence[Audit]) -> View | None:
    """Return the chart of the verdicts: each audit is a dot on the line of its verdict."""
    if not audits:
        return None
    levels = {name: SIDE - round(SIDE * (place + 0.25) / len(LEVELS)) for place, name in enumerate(LEVELS)}
    counted = [
        f"{VERDICTS[name].lower()} {count(sum(audit.verdict == name for audit in audits))}"
        for name in reversed(LEVELS)
        if any(audit.verdict == name for audit in audits)
    ]
    return {
        "finding": f"Of {plural(len(audits), 'audit')}: {', '.join(counted)}.",
        "rows": [{"text": VERDICTS[name], "y": 100 * level // SIDE} for name, level in levels.items()],
        "grid": "".join(f"M0 {level}H{SIDE}" for level in levels.values()),
        "dots": "".join(f"M{x} {levels[audit.verdict]}h0" for x, audit in zip(_places(audits), audits, strict=True)),
        "renewed": _strokes(audits),
        "ends": _ends(audits),
        "crowd": _crowd(audits),
    }


def _strokes(audits: Sequence[Audit]) -> str:
    places = _places(audits)
    return "".join(f"M{places[at]} 0V{SIDE}" for at in _renewed(audits))


def _audit_table(audits: Sequence[Audit]) -> View | None:
    if not audits:
        return None
    renewed = {audits[place].file for place in _renewed(audits)}
    rows = [
        {
            "label": when(audit.when),
            "cells": [
                VERDICTS[audit.verdict],
                "none" if audit.margin is None else f"± {percent(audit.margin)}",
                GRADES.get(audit.basis, shown(audit.basis)),
                count(audit.labelled),
                count(audit.files),
                _pack(audit) + (", new" if audit.file in renewed else ""),
                f"{shown(audit.file)}; time from {SOURCES[audit.source]}",
            ],
        }
        for audit in reversed(audits[-LISTED:])
    ]
    head = ["Audit of", "Verdict", "Margin", "Rests on", "Labelled", "Files", "Pack", "File"]
    return {"caption": f"Audits, the newest first{_part(len(audits), LISTED)}", "head": head, "rows": rows}


def _part(all_of_them: int, most: int) -> str:
    return f"; the last {count(most)} of {count(all_of_them)}" if all_of_them > most else ""


def _pack_changes(audits: Sequence[Audit]) -> list[str]:
    return [f"{when(audits[at].when)}: from {_pack(audits[at - 1])} to {_pack(audits[at])}." for at in _renewed(audits)]


def _attribute(history: History, attribute: str) -> View:
    audits, methods = history.audits, history.methods(attribute)
    classes = history.classes(attribute)
    ceiling = _ceiling(audits, attribute)
    return {
        "id": f"shares-{attribute}",
        "name": ATTRIBUTES[attribute],
        "charts": [
            _chart(history, attribute, name, f"{attribute}-{place}", ceiling) for place, name in enumerate(classes)
        ],
        "tables": [_share_table(history, attribute, method, classes) for method in methods],
    }


def _ceiling(audits: Sequence[Audit], attribute: str) -> float:
    """Return the top of an attribute's charts, which all have the same."""
    tops = [
        max(share.high, share.target or 0.0)
        for audit in audits
        for (name, _, method), share in audit.shares.items()
        if name == attribute and method in (RAW, VERIFIED) and share.status == "ok"
    ]
    return next(ceiling for ceiling in CEILINGS if ceiling >= max(tops, default=0.0) or ceiling == CEILINGS[-1])


@dataclass(frozen=True)
class _Line:
    """A share over time, in the units of a plot; None where an audit has no such number."""

    places: list[int]
    shares: list[Share | None]
    breaks: set[int]
    ceiling: float

    @property
    def known(self) -> list[Share]:
        return [share for share in self.shares if share is not None]

    def y(self, value: float) -> int:
        return SIDE - round(SIDE * value / self.ceiling)

    def stretches(self) -> Iterator[list[tuple[int, Share]]]:
        """Yield the points that follow each other without a gap and without a change of the pack."""
        run: list[tuple[int, Share]] = []
        for at, (x, share) in enumerate(zip(self.places, self.shares, strict=True)):
            if run and (share is None or at in self.breaks):
                yield run
                run = []
            if share is not None:
                run.append((x, share))
        if run:
            yield run

    def line(self) -> str:
        return "".join(
            _path([(x, self.y(share.value)) for x, share in run]) for run in self.stretches() if len(run) > 1
        )

    def band(self) -> str:
        return "".join(
            _path(
                [(x, self.y(share.high)) for x, share in run] + [(x, self.y(share.low)) for x, share in reversed(run)]
            )
            + "z"
            for run in self.stretches()
            if len(run) > 1
        )

    def dots(self, *, alone: bool) -> str:
        """Return a dot for each point, or only for those that no line shows."""
        runs = [run for run in self.stretches() if len(run) == 1 or not alone]
        return "".join(f"M{x} {self.y(share.value)}h0" for run in runs for x, share in run)

    def whiskers(self, *, alone: bool) -> str:
        runs = [run for run in self.stretches() if len(run) == 1 or not alone]
        return "".join(f"M{x} {self.y(share.low)}V{self.y(share.high)}" for run in runs for x, share in run)

    def target(self) -> str:
        points = [(x, self.y(s.target)) for x, s in zip(self.places, self.shares, strict=True) if s and s.target]
        if len(points) == 1:
            points = [(0, points[0][1]), (SIDE, points[0][1])]
        # Equal targets in a row are one stroke.
        bends = [at for at in range(1, len(points) - 1) if points[at][1] != points[at - 1][1]]
        kept = sorted({0, len(points) - 1, *bends, *(at - 1 for at in bends)}) if points else []
        return _path([points[at] for at in kept])


def _path(points: Sequence[tuple[int, int]]) -> str:
    """Return the shortest path through points.

    Examples
    --------
    >>> _path([(0, 500), (10, 480), (20, 490)])
    'M0 500l10-20 10 10'
    """
    if not points:
        return ""
    steps = [(x - a, y - b) for (a, b), (x, y) in pairwise(points)]
    moves = " ".join(f"{x}{y}" if y < 0 else f"{x} {y}" for x, y in steps).replace(" -", "-")
    return f"M{points[0][0]} {points[0][1]}" + (f"l{moves}" if moves else "")


def _chart(history: History, attribute: str, name: str, identity: str, ceiling: float) -> View:
    audits = history.audits
    lines = {
        method: _Line(
            _places(audits),
            [_known(audit.shares.get((attribute, name, method))) for audit in audits],
            set(_renewed(audits)),
            ceiling,
        )
        for method in (RAW, VERIFIED)
    }
    raw, checked = lines[RAW], lines[VERIFIED]
    best = checked if checked.known else raw
    return {
        "id": identity,
        "name": label(name),
        "title": f"{ATTRIBUTES[attribute]}, {label(name)}: share over time",
        "finding": _finding(best, checked.known != [], audits),
        "now": _now(best),
        "band": raw.band(),
        "line": raw.line(),
        "raw_dots": raw.dots(alone=True),
        "raw_whiskers": raw.whiskers(alone=True),
        "dots": checked.dots(alone=False),
        "whiskers": checked.whiskers(alone=False),
        "target": (raw if raw.known else checked).target(),
        "renewed": _strokes(audits),
        "top": _whole(ceiling),
        "ends": _ends(audits),
        "crowd": _crowd(audits),
    }


def _known(share: Share | None) -> Share | None:
    return share if share is not None and share.status == "ok" else None


def _whole(value: float) -> str:
    return f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


def _written(share: Share) -> str:
    return f"{percent(share.value)} ({percent(share.low).split()[0]} to {percent(share.high)})"


def _now(line: _Line) -> str:
    if not line.known:
        return "no number"
    last = line.shares[-1]
    return _written(last) if last else f"{_written(line.known[-1])}, not in the last audit"


def _finding(line: _Line, verified: bool, audits: Sequence[Audit]) -> str:
    """Say where a share began, where it is, and how that lies beside its target."""
    known = [(audit, share) for audit, share in zip(audits, line.shares, strict=True) if share is not None]
    if not known:
        return "No audit gives a number."
    (first, start), (last, end) = known[0], known[-1]
    grade = "verified" if verified else "uncorrected"
    text = f"{_written(end)} on {when(last.when)}, {grade}"
    if len(known) > 1:
        text = f"From {percent(start.value)} on {when(first.when)} to {text}"
    if end.target is None:
        return f"{text}."
    side = "below" if end.high < end.target else "above" if end.low > end.target else "about"
    return f"{text}; {side} its target of {percent(end.target)}."


def _share_table(history: History, attribute: str, method: str, classes: Sequence[str]) -> View:
    audits = history.audits
    rows = [
        {
            "label": when(audit.when),
            "cells": [_cell(audit.shares.get((attribute, name, method))) for name in classes],
        }
        for audit in reversed(audits[-NIGHTS:])
        if any((attribute, name, method) in audit.shares for name in classes)
    ]
    caption = f"{ATTRIBUTES[attribute]}, {METHODS[method][0].lower()}{METHODS[method][1:]}: shares with their intervals"
    return {
        "caption": f"{caption}{_part(len(audits), NIGHTS)}",
        "head": ["Audit of", *(label(name) for name in classes)],
        "rows": rows,
    }


def _cell(share: Share | None) -> Any:
    """Return a share as value and interval, in per cent without the sign; or in words why there is none."""
    if share is None:
        return "–"
    if share.status != "ok":
        return shown(share.status)
    value, low, high = (percent(number).split()[0] for number in (share.value, share.low, share.high))
    return (value, f"{low}–{high}")


def _combination(history: History, attribute: str) -> View:
    """Return the table of a combination's cells: a row a cell, a column an audit, in the best grade of the newest."""
    audits = history.audits[-CELL_NIGHTS:]
    method = VERIFIED if any(key[0] == attribute and key[2] == VERIFIED for key in audits[-1].shares) else RAW
    rows = [
        {
            "label": label(name),
            "cells": [_cell(audit.shares.get((attribute, name, method))) for audit in reversed(audits)],
        }
        for name in history.classes(attribute)
    ]
    title = TIMES.join(GROUPINGS[part] for part in attribute.split(TIMES)).capitalize()
    caption = f"{title}, {METHODS[method].lower()}: share of each cell in per cent, with its interval, the newest first"
    return {
        "title": title,
        "table": {
            "caption": f"{caption}{_part(len(history.audits), CELL_NIGHTS)}",
            "head": ["Cell", *(when(audit.when) for audit in reversed(audits))],
            "rows": rows,
        },
    }
