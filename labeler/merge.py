"""What is new: the walk of a store laid beside the rows that are known already, both sorted by path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from labeler.header import HEIC_MISSING, heic_supported
from labeler.store import Block, Entry, Gap
from labeler.table import FAILURES, Rows

_UNKNOWN = -1
_WIDEST = 4096
_NARROWEST = 16
NOT_LISTED = "its folder could not be listed"
"""The error of a row that is kept in the table because its folder could not be looked into."""


@dataclass(frozen=True)
class Keep:
    """Rows of a source, from `start` up to `stop`, that stay as they are; `failures` of them say that a file failed."""

    source: int
    start: int
    stop: int
    failures: int = 0


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
        Files without a row, files that are not as their row says, rows without a file, and files whose row holds.
    relabelled : int
        Files as they were, labelled anew since the pack, the preprocessing or an option is another, or on demand.
    retried : int
        Files as they were, which could not be read; they are tried in every run, whatever its limit.
    resumed : int
        Files that an interrupted run has labelled already.
    remaining : int
        Files left for another night by a limit.
    """

    new: int = 0
    changed: int = 0
    gone: int = 0
    unchanged: int = 0
    relabelled: int = 0
    retried: int = 0
    resumed: int = 0
    remaining: int = 0

    @property
    def to_label(self) -> int:
        """Files to label in this run."""
        return self.new + self.changed + self.relabelled + self.retried


class Cursor:
    """A forward look at the keys of a source.

    Attributes
    ----------
    row : int
        The number of the row it stands on.
    """

    def __init__(self, rows: Rows, settled: Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]) -> None:
        self._settled_of = settled
        self._batches = rows.keys()
        self._at = self._length = 0
        self.row = 0
        self._load()

    def _load(self) -> None:
        self._at, self._length = 0, 0
        for batch in self._batches:
            if batch.num_rows:
                self._batch = batch
                self._texts: list[str] | None = None
                self._sizes = _integers(batch.column("size_bytes"))
                self._times = _integers(batch.column("mtime_ns"))
                self._settled = self._settled_of(batch)
                self._failed = failed(batch)
                self._length = batch.num_rows
                break

    @property
    def path(self) -> str | None:
        """The path of the row it stands on; None behind the last row."""
        if self._at == self._length:
            return None
        if self._texts is None:
            self._texts = cast("list[str]", self._batch.column("path").to_numpy(zero_copy_only=False).tolist())
        return self._texts[self._at]

    def step(self, rows: int = 1) -> None:
        """Go so many rows on, at most to the first one of the next batch."""
        self._at += rows
        self.row += rows
        if self._at == self._length:
            self._load()

    def holds(self, entry: Entry) -> bool:
        """Tell whether this row, of the same path, is that of a file as it is now."""
        at = self._at
        same = self._sizes[at] == entry.size_bytes and self._times[at] == entry.mtime_ns
        return bool(same and self._settled[at])

    def unread(self, entry: Entry) -> bool:
        """Tell whether this row, of the same path, says that a file could not be read and the file is as it was."""
        at = self._at
        size, time = (_UNKNOWN if value is None else value for value in (entry.size_bytes, entry.mtime_ns))
        same = self._sizes[at] == size and self._times[at] == time
        return bool(same and self._batch.column("status")[at].as_py() == "unreadable")

    def holding(self, files: _Files, start: int, most: int) -> int:
        """Return how many files from one on are, in this order, those of this row and the next, and as they were."""
        count = min(most, len(files.sizes) - start, self._length - self._at)
        # Most files that differ do so here, without the effort of a comparison of many.
        if not count or self._sizes[self._at] != files.sizes[start] or self._times[self._at] != files.times[start]:
            return 0
        rows, those = slice(self._at, self._at + count), slice(start, start + count)
        same = self._sizes[rows] == files.sizes[those]
        same &= self._times[rows] == files.times[those]
        same &= self._settled[rows]
        paths = pc.equal(self._batch.column("path").slice(self._at, count), files.paths.slice(start, count))
        same &= paths.to_numpy(zero_copy_only=False)
        return count if same.all() else int(same.argmin())

    def keep(self, source: int = 0, rows: int = 1) -> Keep:
        """Return the step that keeps this row and those behind it, at most to the end of the batch."""
        failures = int(np.count_nonzero(self._failed[self._at : self._at + rows]))
        return Keep(source, self.row, self.row + rows, failures)

    @property
    def content_hash(self) -> int | None:
        """The hash of the content as it was when this row was written."""
        value: int | None = self._batch.column("content_hash")[self._at].as_py()
        return value

    @property
    def entry(self) -> Entry:
        """The row's file as it was, marked as not to be looked at."""
        size, time = int(self._sizes[self._at]), int(self._times[self._at])
        known = size != _UNKNOWN
        return Entry(str(self.path), size if known else None, time if known else None, NOT_LISTED)


class _Files:
    """A block in the form in which it can be compared with many rows at once."""

    def __init__(self, block: Block) -> None:
        self.paths = pa.array(block.paths, pa.string())
        self.sizes = np.array(block.sizes, np.int64)
        self.times = np.array(block.times, np.int64)


def _integers(column: pa.Array[Any]) -> npt.NDArray[np.int64]:
    return np.asarray(column.fill_null(_UNKNOWN).to_numpy(zero_copy_only=False), np.int64)


def settled(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Tell of each row whether it need not be tried again.

    What could not be read may be readable now, and HEIC is, once its extra is installed.
    """
    status = batch.column("status").cast(pa.string()).to_numpy(zero_copy_only=False)
    values = status != "unreadable"
    if (status == "unsupported").any() and heic_supported():
        values &= batch.column("error").to_numpy(zero_copy_only=False) != HEIC_MISSING
    return np.asarray(values, bool)


def failed(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Tell of each row whether its file failed."""
    found = pc.is_in(batch.column("status"), value_set=pa.array(FAILURES))
    return np.asarray(found.to_numpy(zero_copy_only=False), bool)


@dataclass
class Merge:
    """The steps from a store and its known rows to its new table.

    Parameters
    ----------
    found : iterable of Block, Entry or Gap
        The walk, sorted by path.
    sources : sequence of Rows
        The known rows: first those of the table, then what interrupted runs have left.
    compatible : bool
        Whether the table's rows are those of the same pack and options; if not, every file is labelled.
    limit : int or None
        Most files to label, besides those that could not be read and are tried again.
    verify : bool
        Whether unchanged files are read and compared with their content hash.
    on_gap : callable
        Called with each part of the store that could not be looked into.
    """

    found: Iterable[Block | Entry | Gap]
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
                    run = Keep(run.source, run.start, step.stop, run.failures + step.failures)
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
        gaps: list[Gap] = []
        table, *parts = [Cursor(rows, settled) for rows in self.sources]
        for found in self.found:
            if isinstance(found, Gap):
                self.on_gap(found)
                if not found.known:
                    gaps.append(found)
            elif isinstance(found, Block):
                yield from self._block(found, table, parts, gaps)
            else:
                yield from self._one(found, table, parts, gaps)
        yield from self._passed(table, None, gaps)

    def _block(self, block: Block, table: Cursor, parts: Sequence[Cursor], gaps: list[Gap]) -> Iterator[Step]:
        """Yield what to do with a block: as many files at once as their rows hold, the others one by one."""
        simple = self.compatible and not self.verify
        files = _Files(block) if simple else None
        at, width = 0, _WIDEST
        while at < len(block):
            if files is not None and (same := table.holding(files, at, width)):
                self.counts.unchanged += same
                yield table.keep(rows=same)
                table.step(same)
                at += same
                width = min(2 * width, _WIDEST)
            else:
                yield from self._one(block.entry(at), table, parts, gaps)
                at += 1
                width = _NARROWEST

    def _one(self, entry: Entry, table: Cursor, parts: Sequence[Cursor], gaps: list[Gap]) -> Iterator[Step]:
        yield from self._passed(table, entry.path, gaps)
        yield from self._other(entry, table, parts)
        if table.path == entry.path:
            table.step()

    def _passed(self, table: Cursor, path: str | None, gaps: list[Gap]) -> Iterator[Step]:
        """Go on to a path; what lies before it is gone, unless it could not be looked for."""
        while (row := table.path) is not None and (path is None or row < path):
            while gaps and not row.startswith(gaps[0].path) and gaps[0].path < row:
                gaps.pop(0)
            if gaps and row.startswith(gaps[0].path):
                self.counts.unchanged += 1
                yield table.keep() if self.compatible else Label(table.entry)
            else:
                self.counts.gone += 1
            table.step()

    def _other(self, entry: Entry, table: Cursor, parts: Sequence[Cursor]) -> Iterator[Step]:
        """Yield what to do with one file."""
        counts = self.counts
        known = table.path == entry.path
        holds = known and table.holds(entry)
        if holds and self.compatible:
            counts.unchanged += 1
            yield Label(entry, table.keep(), table.content_hash) if self.verify else table.keep()
            return
        for number, part in enumerate(parts, 1):
            while (row := part.path) is not None and row < entry.path:
                part.step()
            if row == entry.path and part.holds(entry):
                counts.resumed += 1
                yield part.keep(number)
                return
        if known and self.compatible and table.unread(entry):
            counts.retried += 1
            yield Label(entry)
            return
        if self.limit is not None and counts.to_label - counts.retried >= self.limit:
            counts.remaining += 1
            if known and self.compatible:
                yield table.keep()
            return
        if holds:
            counts.relabelled += 1
        elif known:
            counts.changed += 1
        else:
            counts.new += 1
        yield Label(entry)
