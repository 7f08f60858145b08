"""What changed between two audits: every share with an interval, what is new, what is gone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.estimate import Estimate
from audit.records import Document, fields
from audit.significance import newcombe
from audit.text import count, percent, plural, shown
from audit.turnover import Turnover
from labeler.errors import LabelerError

SCHEMA_VERSION = 1


class DriftError(LabelerError):
    """Two files that cannot be compared."""


def read(path: str | os.PathLike[str]) -> Document:
    """Read an audit.json.

    Raises
    ------
    DriftError
        If it is missing, not JSON, or no audit of a known version.
    """
    name = shown(os.fspath(path))
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DriftError(f"{name}: cannot be read as JSON; give what audit-labels report --json wrote") from error
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise DriftError(
            f"{name}: is no audit.json of version {SCHEMA_VERSION}; write it anew with audit-labels report"
        )
    if not all(isinstance(document.get(part), kind) for part, kind in (("shares", list), ("pack", dict))):
        raise DriftError(f"{name}: a part of the audit is missing; write it anew with audit-labels report")
    return document


def compare(old: Mapping[str, Any], new: Mapping[str, Any], *, turnover: Turnover | None = None) -> Document:
    """Return the change of every share that both audits have in the same grade.

    The interval is Newcombe's for the difference of two independent estimates. Two audits of one growing store share
    images, so for raw shares it is wider than need be. A change is suppressed where either share is, or where the two
    counts differ by fewer than the smallest cell: the difference would tell of single images.

    Parameters
    ----------
    old, new : mapping
        Contents of audit.json.
    turnover : Turnover, optional
        What became of the images, where both label tables are at hand.

    Returns
    -------
    dict
        ``same_pack``, ``files`` (old, new), ``labelled`` (old, new), ``changes``: flat records, and ``images``: new
        and gone ones and those labelled otherwise, None without label tables.
    """
    before = {_key(record): record for record in old["shares"]}
    least = max(int(audit["options"]["min_cell"]) for audit in (old, new))
    changes = [
        {
            "attribute": record["attribute"],
            "class": record["class"],
            "grade": record["grade"],
            "method": record["method"],
            "old": before[_key(record)]["value"],
            "new": record["value"],
            **fields(change(before[_key(record)], record, least)),
        }
        for record in new["shares"]
        if _key(record) in before
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "same_pack": old["pack"]["digest"] == new["pack"]["digest"],
        "files": {"old": old["store"]["files"], "new": new["store"]["files"]},
        "labelled": {"old": old["store"]["labelled"], "new": new["store"]["labelled"]},
        "changes": changes,
        "images": None if turnover is None else turnover.document(least),
    }


def _key(record: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return record["attribute"], record["class"], record["grade"], record["method"]


def change(old: Mapping[str, Any], new: Mapping[str, Any], min_cell: int) -> Estimate:
    """Return new minus old with Newcombe's interval.

    Parameters
    ----------
    old, new : mapping
        Records of ``shares``.
    min_cell : int
        Smallest difference of counts shown.

    Examples
    --------
    >>> old = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100, "count": 50, "status": "ok"}
    >>> change(old, {**old, "value": 0.6, "low": 0.5, "high": 0.7, "count": 60}, 10).status
    'ok'
    >>> change(old, {**old, "count": 53}, 10).reason
    'the counts differ by fewer than 10 images'
    """
    for record in (old, new):
        if record["status"] == "suppressed":
            return Estimate(None, None, None, None, None, "suppressed", "withheld in one of the two audits")
        if record["status"] != "ok":
            return Estimate.undefined(None, f"{record['status']} in one of the two audits")
    if old["count"] is not None and new["count"] is not None and 0 < abs(old["count"] - new["count"]) < min_cell:
        reason = f"the counts differ by fewer than {min_cell} images"
        return Estimate(None, None, None, None, None, "suppressed", reason)
    ends = [(record["value"], record["low"], record["high"]) for record in (new, old)]
    value, low, high = newcombe(ends[0], ends[1])
    return Estimate(value, low, high, int(new["n"]))


def describe(document: Mapping[str, Any]) -> list[str]:
    """Return a comparison in lines for a person: what is new or gone, then each change that is beyond chance."""
    files, labelled = document["files"], document["labelled"]
    grown = f"{plural(files['old'], 'file')} before, {plural(files['new'], 'file')} now"
    lines = [f"{grown}; labelled {labelled['old']:,} and {labelled['new']:,}."]
    if not document["same_pack"]:
        lines.append("Labelled by different packs: a change of raw shares may be the pack's, not the store's.")
    clear = [r for r in document["changes"] if r["status"] == "ok" and (r["low"] > 0 or r["high"] < 0)]
    lines += [
        f"{record['attribute']}, {shown(record['class'])} ({record['grade']}, {record['method']}): "
        f"{percent(record['old'])} to {percent(record['new'])}, change {percent(record['value'])} "
        f"({percent(record['low'])} to {percent(record['high'])})"
        for record in clear
    ]
    if not clear:
        lines.append("No share changed beyond what chance would do.")
    return lines + _describe_images(document["images"])


def _describe_images(images: Mapping[str, Any] | None) -> list[str]:
    if images is None:
        return ["Which images are new or gone is not known; give both label tables with --old-labels and --new-labels."]
    lines = [
        f"{plural(images['new'], 'new image')}, {plural(images['gone'], 'image')} gone, {count(images['kept'])} kept."
    ]
    for kind in ("new", "gone"):
        names = images[f"{kind}_names"]
        lines += [f"  {kind}: {shown(name)}" for name in names]
        if len(names) < images[kind]:
            lines.append(f"  {kind}: and {count(images[kind] - len(names))} more")
    moved = sorted(
        (record for record in images["relabelled"] if record["count"] is not None), key=lambda r: -int(r["count"])
    )
    lines += [
        f"  {record['attribute']}, {shown(record['old'])} before, {shown(record['new'])} now: {count(record['count'])}"
        for record in moved
    ]
    return lines
