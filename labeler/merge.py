"""What is new: the walk of a store laid beside the rows that are known already, both sorted by path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa

from labeler.header import HEIC_MISSING, heic_supported
from labeler.store import Entry, Gap
from labeler.table import Rows

_UNKNOWN = -1
NOT_LISTED = "its folder could not be listed"
"""The error of a row that is kept in the table because its folder could not be looked into."""


@dataclass(frozen=True)
class Keep:
    """Rows of a source, from `start` up to `stop`, that stay as they are."""

    source: int
    start: int
    stop: int


@dataclass(frozen=True)
class Label:
    """A file to label; `known` is the row that holds if the file's content still has this hash."""

    entry: Entry
    known: Keep | None = None
    content_hash: int | None = None


Step = Keep | Label


@dataclass
class Counts:
    """How a store differs from its table.

    Parameters
    ----------
    new, changed, gone, unchanged : int
        Files without a row, files whose row no longer holds, rows without a file, and files whose row holds.
    resumed : int
        Files that an interrupted run has labelled already.
    remaining : int
        New or changed files left for another night by a limit.
    """

    new: int = 0
    changed: int = 0
    gone: int = 0
    unchanged: int = 0
    resumed: int = 0
    remaining: int = 0


class Cursor:
    """A forward look at the keys of a source, one row at a time.

    Attributes
    ----------
    path : str or None
        The path of the row it stands on; None behind the last row.
    row : int
        The number of that row.
    """

    def __init__(self, rows: Rows, settled: Callable[[pa.RecordBatch], Sequence[bool]]) -> None:
        self._settled_of = settled
        self._batches = rows.keys()
        self._start = self._at = self._length = 0
        self.path: str | None = None
        self.row = -1
        self._load()

    def _load(self) -> None:
        self._at, self._length = 0, 0
        self._start = self.row + 1
        for batch in self._batches:
            if batch.num_rows:
                self._paths = cast("list[str]", batch.column("path").to_pylist())
                self._sizes = _integers(batch.column("size_bytes"))
                self._times = _integers(batch.column("mtime_ns"))
                self._hashes = batch.column("content_hash")
                self._settled = self._settled_of(batch)
                self._length = batch.num_rows
                break
        self.path = self._paths[0] if self._length else None
        self.row = self._start

    def step(self) -> None:
        """Go to the next row."""
        at = self._at + 1
        if at < self._length:
            self._at = at
            self.row += 1
            self.path = self._paths[at]
        else:
            self._load()

    def holds(self, entry: Entry) -> bool:
        """Tell whether this row, of the same path, is that of a file as it is now."""
        at = self._at
        return self._sizes[at] == entry.size_bytes and self._times[at] == entry.mtime_ns and self._settled[at]

    @property
    def keep(self) -> Keep:
        """The step that keeps the row, as one of source 0."""
        return Keep(0, self.row, self.row + 1)

    @property
    def content_hash(self) -> int | None:
        """The hash of the content as it was when this row was written."""
        value: int | None = self._hashes[self._at].as_py()
        return value

    @property
    def entry(self) -> Entry:
        """The row's file as it was, marked as not to be looked at."""
        size, time = self._sizes[self._at], self._times[self._at]
        known = size != _UNKNOWN
        return Entry(str(self.path), size if known else None, time if known else None, NOT_LISTED)


def _integers(column: pa.Array[Any]) -> list[int]:
    values: list[int] = column.fill_null(_UNKNOWN).to_numpy(zero_copy_only=False).tolist()
    return values


def settled(batch: pa.RecordBatch) -> list[bool]:
    """Tell of each row whether it need not be tried again.

    What could not be read may be readable now, and HEIC is, once its extra is installed.
    """
    status = batch.column("status").cast(pa.string()).to_numpy(zero_copy_only=False)
    values = status != "unreadable"
    if (status == "unsupported").any() and heic_supported():
        values &= batch.column("error").to_numpy(zero_copy_only=False) != HEIC_MISSING
    result: list[bool] = values.tolist()
    return result


@dataclass
class Merge:
    """The steps from a store and its known rows to its new table.

    Parameters
    ----------
    found : iterable of Entry or Gap
        The walk, sorted by path.
    sources : sequence of Rows
        The known rows: first those of the table, then what interrupted runs have left.
    compatible : bool
        Whether the table's rows are those of the same pack and options; if not, every file is labelled.
    limit : int or None
        Most files to label.
    verify : bool
        Whether unchanged files are read and compared with their content hash.
    on_gap : callable
        Called with each part of the store that could not be looked into.
    """

    found: Iterable[Entry | Gap]
    sources: Sequence[Rows]
    compatible: bool = True
    limit: int | None = None
    verify: bool = False
    on_gap: Callable[[Gap], None] = lambda _gap: None
    counts: Counts = field(default_factory=Counts)

    def steps(self) -> Iterator[Step]:
        """Yield what to do, sorted by path; runs of kept rows of one source come as one step."""
        run: Keep | None = None
        for step in self._single():
            if isinstance(step, Keep):
                if run is not None and run.source == step.source and run.stop == step.start:
                    run = Keep(run.source, run.start, step.stop)
                    continue
                if run is not None:
                    yield run
                run = step
                continue
            if run is not None:
                yield run
                run = None
            yield step
        if run is not None:
            yield run

    def _single(self) -> Iterator[Step]:
        counts = self.counts
        gaps: list[Gap] = []
        table, *parts = [Cursor(rows, settled) for rows in self.sources]
        simple = self.compatible and not self.verify
        start = stop = 0
        for entry in self.found:
            path = entry.path
            if simple and table.path == path and isinstance(entry, Entry) and table.holds(entry):
                start = table.row if start == stop else start
                stop = table.row + 1
                table.step()
                continue
            if start < stop:
                counts.unchanged += stop - start
                yield Keep(0, start, stop)
                start = stop
            if isinstance(entry, Gap):
                self.on_gap(entry)
                if not entry.known:
                    gaps.append(entry)
                continue
            yield from self._passed(table, path, gaps)
            yield from self._other(entry, table, parts)
            if table.path == path:
                table.step()
        if start < stop:
            counts.unchanged += stop - start
            yield Keep(0, start, stop)
        yield from self._passed(table, None, gaps)

    def _passed(self, table: Cursor, path: str | None, gaps: list[Gap]) -> Iterator[Step]:
        """Go on to a path; what lies before it is gone, unless it could not be looked for."""
        while table.path is not None and (path is None or table.path < path):
            while gaps and not table.path.startswith(gaps[0].path) and gaps[0].path < table.path:
                gaps.pop(0)
            if gaps and table.path.startswith(gaps[0].path):
                self.counts.unchanged += 1
                yield table.keep if self.compatible else Label(table.entry)
            else:
                self.counts.gone += 1
            table.step()

    def _other(self, entry: Entry, table: Cursor, parts: Sequence[Cursor]) -> Iterator[Step]:
        """Yield what to do with a file whose row in the table does not simply hold."""
        counts = self.counts
        same = table.path == entry.path
        if same and self.compatible and table.holds(entry):
            counts.unchanged += 1
            yield Label(entry, table.keep, table.content_hash) if self.verify else table.keep
            return
        for number, part in enumerate(parts, 1):
            while part.path is not None and part.path < entry.path:
                part.step()
            if part.path == entry.path and part.holds(entry):
                counts.resumed += 1
                yield Keep(number, part.row, part.row + 1)
                return
        if self.limit is not None and counts.new + counts.changed >= self.limit:
            counts.remaining += 1
            if same and self.compatible:
                yield table.keep
            return
        if same:
            counts.changed += 1
        else:
            counts.new += 1
        yield Label(entry)
