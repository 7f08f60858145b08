"""Many audits of one store, read from a folder and put in the order of their own times."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit import drift
from audit.records import Document
from audit.text import plural, shown
from audit.wording import ATTRIBUTES, METHODS, TIMES, VERDICTS
from labeler.errors import LabelerError

LARGEST = 64_000_000
"""Bytes of a file above which it is taken for no audit."""
NAMED = 10
"""Files passed over that are named in a summary."""
DAY = re.compile(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)(?:[T_ -](\d\d)[-:]?(\d\d))?(?!\d)")
"""A day, and perhaps a time, in a file's name."""

Key = tuple[str, str, str]


class HistoryError(LabelerError):
    """A folder of audits that cannot be read."""


@dataclass(frozen=True, slots=True)
class Share:
    """One share of one audit.

    Parameters
    ----------
    status : str
        As in audit.json; only ``ok`` has numbers.
    value, low, high : float
        The share and its interval, 0 to 1.
    target : float or None
        The share wanted.
    """

    status: str
    value: float
    low: float
    high: float
    target: float | None


@dataclass(frozen=True)
class Audit:
    """What a history keeps of one audit.

    Parameters
    ----------
    file : str
        The file's own name.
    when : datetime
        Its time, without a zone, to the minute.
    source : str
        Where that comes from: ``audit``, ``name`` (the file's) or ``file`` (when it was last written, in UTC).
    store : str
        The store's name.
    files, labelled : int
        Of the store.
    pack : tuple of str
        Name, version and digest.
    verdict, basis : str
        As in audit.json.
    margin : float or None
        Asked for.
    confidence : float
        Of its intervals.
    shares : mapping
        By attribute, class and method.
    """

    file: str
    when: datetime
    source: str
    store: str
    files: int
    labelled: int
    pack: tuple[str, str, str]
    verdict: str
    basis: str
    margin: float | None
    confidence: float
    shares: Mapping[Key, Share]


@dataclass(frozen=True)
class History:
    """The audits of a folder.

    Parameters
    ----------
    folder : str
        The folder's own name.
    audits : tuple of Audit
        In the order of their times.
    passed_over : tuple of (str, str)
        Everything else that lies there, by name, and why it is no part of the history.
    change : dict or None
        What `audit.drift.compare` says of the last two audits.
    """

    folder: str
    audits: tuple[Audit, ...]
    passed_over: tuple[tuple[str, str], ...]
    change: Document | None

    def classes(self, attribute: str) -> list[str]:
        """Return the classes of an attribute, or the cells of several, in the order of the newest audits."""
        found: dict[str, None] = {}
        for audit in reversed(self.audits):
            found |= dict.fromkeys(key[1] for key in audit.shares if key[0] == attribute)
        return list(found)

    def methods(self, attribute: str) -> list[str]:
        """Return the methods by which any audit gives shares of an attribute, the least certain first."""
        present = {key[2] for audit in self.audits for key in audit.shares if key[0] == attribute}
        return [method for method in METHODS if method in present]

    def combinations(self) -> list[str]:
        """Return the combinations of attributes that any audit has cells of."""
        names = dict.fromkeys(key[0] for audit in self.audits for key in audit.shares)
        return [name for name in names if TIMES in name]


def read(folder: str | os.PathLike[str]) -> History:
    """Read every audit.json in a folder; other files are named, and none of them ends the reading.

    Raises
    ------
    HistoryError
        If the folder is missing, is none, or cannot be listed.
    """
    place = Path(folder)
    name = shown(os.fspath(place))
    if not place.is_dir():
        wrong = "is a file, not a folder" if place.exists() else "no such folder"
        raise HistoryError(f"{name}: {wrong}; give the folder that holds what audit-labels report --json wrote")
    try:
        files = sorted(place.iterdir(), key=lambda path: os.fsencode(path.name))
    except OSError as error:
        raise HistoryError(f"{name}: cannot be listed ({error.strerror}); ask for the right to read it") from error
    audits, passed_over = [], []
    for path in files:
        try:
            audits.append(_audit(path))
        except (LabelerError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            passed_over.append((path.name, reason or "cannot be read"))
    audits.sort(key=lambda audit: (audit.when, os.fsencode(audit.file)))
    change = None
    if len(audits) > 1:
        old, new = (drift.read(place / audit.file) for audit in audits[-2:])
        change = drift.compare(old, new)
    return History(place.resolve().name, tuple(audits), tuple(passed_over), change)


def _audit(path: Path) -> Audit:
    if not path.is_file():
        raise HistoryError("a folder; only the audits right in this one are read" if path.is_dir() else "no file")
    if path.suffix.lower() != ".json":
        raise HistoryError("no JSON file by its name")
    found = path.stat()
    if found.st_size > LARGEST:
        raise HistoryError("too large for an audit.json")
    try:
        document = drift.read(path)
    except drift.DriftError as error:
        # The page names the file beside the reason, and its reader wants no path of this machine.
        raise HistoryError(str(error).removeprefix(f"{shown(os.fspath(path))}: ").partition(";")[0]) from error
    try:
        # What cannot be compared with itself cannot be compared with the audit after it.
        drift.compare(document, document)
        when, source = _time(document, path.name, found.st_mtime)
        return _extracted(document, path.name, when, source)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise HistoryError("a part of the audit is missing or damaged") from error


def _time(document: Mapping[str, Any], name: str, modified: float) -> tuple[datetime, str]:
    """Return an audit's time: its own, else that in the file's name, else that of the file."""
    date = document["options"].get("date")
    if date is not None:
        return datetime.fromisoformat(date).replace(tzinfo=None), "audit"
    for year, month, day, hour, minute in DAY.findall(name):
        try:
            return datetime.fromisoformat(f"{year}-{month}-{day}T{hour or '00'}:{minute or '00'}"), "name"
        except ValueError:
            continue
    return datetime.fromtimestamp(modified, UTC).replace(tzinfo=None, second=0, microsecond=0), "file"


def _extracted(document: Mapping[str, Any], name: str, when: datetime, source: str) -> Audit:
    store, pack, verdict = document["store"], document["pack"], document["verdict"]
    if verdict["result"] not in VERDICTS:
        raise ValueError(verdict["result"])
    margin = verdict["margin"]
    shares: dict[Key, Share] = {}
    for record in document["shares"]:
        parts = record["attribute"].split(TIMES)
        if not set(parts) <= set(ATTRIBUTES) or record["method"] not in METHODS:
            raise ValueError(record["attribute"])
        shares[record["attribute"], str(record["class"]), record["method"]] = _share(record)
    return Audit(
        file=name,
        when=when,
        source=source,
        store=str(store["name"]),
        files=int(store["files"]),
        labelled=int(store["labelled"]),
        pack=(str(pack["name"]), str(pack["version"]), str(pack["digest"])),
        verdict=verdict["result"],
        basis=str(verdict["basis"]),
        margin=None if margin is None else _number(margin),
        confidence=_number(document["options"]["confidence"]),
        shares=shares,
    )


def _share(record: Mapping[str, Any]) -> Share:
    target = None if record["target"] is None else _number(record["target"])
    if record["status"] != "ok":
        return Share(str(record["status"]), math.nan, math.nan, math.nan, target)
    return Share("ok", _number(record["value"]), _number(record["low"]), _number(record["high"]), target)


def _number(value: object) -> float:
    """Return a share as a number; raise `ValueError` where it is none of 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(value)
    return float(value)


def runs(audits: Sequence[Audit]) -> int:
    """Return how many of the last audits have the same verdict as the last one."""
    return next((n for n, audit in enumerate(reversed(audits)) if audit.verdict != audits[-1].verdict), len(audits))


def describe(history: History) -> list[str]:
    """Return a history in lines: how many audits there are, and what was passed over."""
    lines = [f"{plural(len(history.audits), 'audit')} in {shown(history.folder)}."]
    lines += [f"passed over: {shown(name)} ({shown(reason)})" for name, reason in history.passed_over[:NAMED]]
    more = len(history.passed_over) - NAMED
    return lines + ([f"and {plural(more, 'more file')}"] if more > 0 else [])
