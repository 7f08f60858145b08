"""Which images are new, gone, or labelled otherwise: two label tables compared row by row, a piece at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audit import population as populations
from audit.disclosure import protect
from audit.estimate import IntArray
from audit.records import Document
from labeler import table
from labeler.taxonomy import ATTRIBUTES, COLUMNS

NAMED = 20
"""New and gone images that are named, the first by path; the others are counted."""


@dataclass
class Turnover:
    """What became of the images between two label tables.

    Parameters
    ----------
    new, gone, kept : int
        Images only in the newer table, only in the older one, and in both.
    new_names, gone_names : list of str
        The first `NAMED` of them by path.
    classes : mapping of str to tuple of str
        Of each attribute whose classes are the same in both.
    moves : mapping of str to array of int, shape (K, K)
        Of those attributes: images kept and labelled both times, by the older class
        (row) and the newer one (column).
    """

    new: int = 0
    gone: int = 0
    kept: int = 0
    new_names: list[str] = field(default_factory=list)
    gone_names: list[str] = field(default_factory=list)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    moves: dict[str, IntArray] = field(default_factory=dict)

    def document(self, min_cell: int) -> Document:
        """Return it as audit.json has it; numbers of images that changed class are withheld as all small cells are."""
        changed = []
        for name, moves in self.moves.items():
            hidden = protect(moves, min_cell)[(0, 1)]
            for old, new in np.argwhere((moves > 0) & ~np.eye(len(moves), dtype=bool)).tolist():
                withheld = bool(hidden[old, new])
                changed.append(
                    {
                        "attribute": name,
                        "old": self.classes[name][old],
                        "new": self.classes[name][new],
                        "count": None if withheld else int(moves[old, new]),
                        "status": "suppressed" if withheld else "ok",
                    }
                )
        return {
            "new": self.new,
            "gone": self.gone,
            "kept": self.kept,
            "new_names": self.new_names,
            "gone_names": self.gone_names,
            "relabelled": changed,
        }


def compare(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> Turnover:
    """Compare two label tables by path.

    Both are sorted by path, so that only a piece of each is held at a time.

    Parameters
    ----------
    old, new : path
        Label tables.

    Raises
    ------
    TableError
        If one of them cannot be read.
    """
    classes = [table.read_info(path).classes for path in (old, new)]
    same = {name: classes[1][name] for name in ATTRIBUTES if classes[0][name] == classes[1][name]}
    moves = {name: np.zeros((len(labels),) * 2, np.int64) for name, labels in same.items()}
    found = Turnover(classes=same, moves=moves)
    for before, after in _aligned(_pieces(old), _pieces(new)):
        _add(found, before, after, os.fspath(new))
    return found


def _pieces(path: str | os.PathLike[str]) -> Iterator[pa.RecordBatch]:
    yield from populations.batches(path, ["path", *COLUMNS.values()])


def _aligned(
    old: Iterator[pa.RecordBatch], new: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch | None, pa.RecordBatch | None]]:
    """Yield the rows of both in pieces between the same two paths."""
    before, after = _next(old), _next(new)
    while before is not None and after is not None:
        last = min((piece.column("path")[-1] for piece in (before, after)), key=_bytes)
        parts = []
        for piece in (before, after):
            paths = piece.column("path")
            parts.append(int(pc.less_equal(paths, last).to_numpy(zero_copy_only=False).sum()))
        yield before.slice(0, parts[0]), after.slice(0, parts[1])
        before = before.slice(parts[0]) if parts[0] < before.num_rows else _next(old)
        after = after.slice(parts[1]) if parts[1] < after.num_rows else _next(new)
    while before is not None:
        yield before, None
        before = _next(old)
    while after is not None:
        yield None, after
        after = _next(new)


def _next(pieces: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    return next((piece for piece in pieces if piece.num_rows), None)


def _bytes(path: Any) -> bytes:
    return bytes(path.as_buffer())


def _add(found: Turnover, before: pa.RecordBatch | None, after: pa.RecordBatch | None, name: str) -> None:
    empty = pa.array([], pa.string())
    old_paths = empty if before is None else before.column("path")
    new_paths = empty if after is None else after.column("path")
    place = pc.index_in(old_paths, value_set=new_paths) if len(new_paths) else pa.nulls(len(old_paths), pa.int32())
    both = place.is_valid().to_numpy(zero_copy_only=False)
    arrived = np.ones(len(new_paths), dtype=bool)
    there = place.drop_null().to_numpy()
    arrived[there] = False
    found.kept += len(there)
    found.gone += int((~both).sum())
    found.new += int(arrived.sum())
    for names, paths, mask in ((found.gone_names, old_paths, ~both), (found.new_names, new_paths, arrived)):
        rows = np.flatnonzero(mask)[: NAMED - len(names)]
        names += [str(path) for path in paths.take(rows).to_pylist()]
    if before is None or after is None or len(there) == 0:
        return
    for attribute, labels in found.classes.items():
        old = populations.class_codes(before.column(COLUMNS[attribute]), labels, name)[both].astype(np.int64)
        new = populations.class_codes(after.column(COLUMNS[attribute]), labels, name)[there].astype(np.int64)
        known = (old >= 0) & (new >= 0)
        cells = np.bincount(old[known] * len(labels) + new[known], minlength=len(labels) ** 2)
        found.moves[attribute] += cells.reshape(len(labels), -1)
