"""The flow from a store to its label table: what is new, prepare and classify on all cores, write."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from labeler import __version__
from labeler.alone import prepare_alone
from labeler.crew import Budget, Clock, Crew
from labeler.decode import DECODE_VERSION, Limits, quiet_decoders
from labeler.errors import StoreError
from labeler.faces import MIN_FACE, Cropper, Face
from labeler.hands import Hand, can_fork
from labeler.looks import looks
from labeler.merge import Counts, Keep, Label, Merge, Step
from labeler.pack import BATCH, Manifest, Pack, Prediction
from labeler.prepare import Preparer, Row, Steps, last
from labeler.state import Journal, locked
from labeler.store import Block, Gap, check_store, encode_path, scan_blocks
from labeler.table import (
    FACE_COLUMNS,
    FAILURES,
    SCHEMA_VERSION,
    Rows,
    TableInfo,
    check_table_output,
    known_rows,
    schema,
    write,
)
from labeler.taxonomy import ATTRIBUTES, COLUMNS

CHUNK = BATCH
"""Most files that one worker takes at a time."""

_CHUNK_BYTES = 4_000_000
"""Bytes of files after which it takes no more, so that a few large ones keep all workers busy."""

_LONGEST_WALK = 4096
_EXAMPLES = 20


@dataclass(frozen=True)
class Options:
    """How a store is labelled.

    Parameters
    ----------
    workers : int
        Threads or processes; 0 for one a core.
    face : str
        ``auto`` finds the face, ``whole`` takes each picture as the crop; see `labeler.faces.Cropper.of`.
    min_face : float
        Smallest face sought first, as a share of the picture's shorter side, above 0 and up to 1.
    limits : Limits
        What a file may ask for before it is refused.
    most : int or None
        Most files to label in this run.
    verify : bool
        Whether unchanged files are read and compared with their content hash.
    relabel : bool
        Whether every file is labelled anew.
    bytes_in_flight : int
        Files and pictures that all workers together may hold in memory, but for one that is larger by itself, and for
        up to a megabyte of each file in their jobs.
    checkpoint_seconds : float
        Rows labelled since are lost if the process is killed.
    processes : bool
        Whether each worker has a process of its own, forked from this one, where the system can do that: faster, and a
        file that brings a decoder down brings down no more than that. For programs without threads of their own.
    """

    workers: int = 0
    face: str = "auto"
    min_face: float = MIN_FACE
    limits: Limits = field(default_factory=Limits)
    most: int | None = None
    verify: bool = False
    relabel: bool = False
    bytes_in_flight: int = 1 << 29
    checkpoint_seconds: float = 60.0
    processes: bool = False

    @property
    def crew(self) -> int:
        """How many workers there are."""
        return self.workers or _cores()

    @property
    def shared_out(self) -> int:
        """Bytes in flight that the worker processes share out among them; 0 where there are no such processes."""
        return max(self.bytes_in_flight // 2, self.crew) if self.processes and can_fork() else 0


@dataclass(frozen=True)
class Summary:
    """What became of a store.

    Parameters
    ----------
    files : int
        Rows of the table.
    labelled : int
        Files that got labels in this run.
    failed : mapping of str to int
        Files of each other status that this run gave, ``no_face`` among them.
    examples : mapping of str to str
        For each of these, one file and its error.
    known : int
        Files whose row holds or is new. All rows of the table, unless a limit leaves rows of another pack in it until
        a later run: those are not counted, but the new rows that wait for the others are.
    failures : int
        Those of them that failed, in this run or before; a picture without a face has not failed.
    counts : Counts
        How the store differed from the table.
    altered : sequence of str
        Files whose content changed under the same size and time, as a verifying run found; the first ones.
    altered_files : int
        How many there are.
    unlisted : sequence of str
        Folders that could not be looked into; the first ones.
    unlisted_folders : int
        How many there are.
    seconds : float
        Wall-clock time.
    table : str
        The label table.
    """

    files: int
    labelled: int
    failed: Mapping[str, int]
    examples: Mapping[str, str]
    known: int
    failures: int
    counts: Counts
    altered: Sequence[str]
    altered_files: int
    unlisted: Sequence[str]
    unlisted_folders: int
    seconds: float
    table: str

    @property
    def images_per_second(self) -> float:
        """Files looked at over wall-clock seconds."""
        tried = self.labelled + sum(self.failed.values())
        return tried / self.seconds if self.seconds > 0 else 0.0

    @property
    def failure_share(self) -> float:
        """Share of the store's known files that failed, 0 to 1, whichever run looked at them."""
        return self.failures / self.known if self.known else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        return {
            "files": self.files,
            "labelled": self.labelled,
            "failed": dict(self.failed),
            "examples": dict(self.examples),
            "failure_share": round(self.failure_share, 6),
            "new": self.counts.new,
            "changed": self.counts.changed,
            "gone": self.counts.gone,
            "unchanged": self.counts.unchanged,
            "relabelled": self.counts.relabelled,
            "retried": self.counts.retried,
            "resumed": self.counts.resumed,
            "remaining": self.counts.remaining,
            "altered": list(self.altered),
            "altered_files": self.altered_files,
            "unlisted": list(self.unlisted),
            "unlisted_folders": self.unlisted_folders,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
            "table": self.table,
        }


@dataclass
class _Tally:
    """What a run counts as it goes."""

    statuses: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    known: int = 0
    failures: int = 0
    altered: list[str] = field(default_factory=list)
    altered_files: int = 0
    unlisted: list[str] = field(default_factory=list)
    unlisted_folders: int = 0

    def row(self, row: Row) -> None:
        """Count a row that this run gave."""
        self.statuses[row.status] += 1
        self.known += 1
        self.failures += row.status in FAILURES
        if row.status != "ok":
            self.examples.setdefault(row.status, f"{row.entry.path}: {row.error}")

    def keep(self, kept: Keep) -> None:
        """Count rows that stay as they are."""
        self.known += kept.stop - kept.start
        self.failures += kept.failures

    def differs(self, row: Row) -> None:
        """Count a file whose content is not what it was."""
        self.altered_files += 1
        if len(self.altered) < _EXAMPLES:
            self.altered.append(row.entry.path)

    def gap(self, gap: Gap) -> None:
        """Count a folder that could not be looked into."""
        self.unlisted_folders += 1
        if len(self.unlisted) < _EXAMPLES:
            self.unlisted.append(f"{gap.path or '.'}: {gap.reason}")

    def summary(self, files: int, counts: Counts, seconds: float, table: Path) -> Summary:
        """Return what was counted."""
        failed = {status: count for status, count in sorted(self.statuses.items()) if status != "ok"}
        return Summary(
            files,
            self.statuses["ok"],
            failed,
            dict(sorted(self.examples.items())),
            self.known,
            self.failures,
            counts,
            self.altered,
            self.altered_files,
            self.unlisted,
            self.unlisted_folders,
            seconds,
            os.fspath(table),
        )


def label_store(
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    pack: Pack,
    options: Options | None = None,
    progress: Callable[[int], object] = lambda _files: None,
) -> Summary:
    """Bring a store's label table up to date: label what is new or changed, drop what is gone, keep the rest.

    The table is the same, byte for byte, as if it were made from nothing. A run that is ended in any way leaves the old
    table and what it has labelled so far; the next run goes on from there.

    Parameters
    ----------
    store : path
        The folder with the images.
    out : path
        The label table to write or replace.
    pack : Pack
        The classifiers.
    options : Options, optional
        Workers, limits, how faces are looked for, and what is labelled anew.
    progress : callable
        Called with the number of files done since the last call.

    Returns
    -------
    Summary

    Raises
    ------
    StoreError, TableError, PackError
        Before anything is read, if the store, the output or the face detector cannot be used. No single file raises:
        each becomes a row.
    OSError
        If the disk is full or fails; the old table is as it was.
    """
    started = time.monotonic()
    options = options or Options()
    root = check_store(store)
    target = check_table_output(out)
    quiet_decoders()
    with locked(target) as lock:
        run = _Run.of(root, target, pack, options, lock)
        suspects = run.journal.open()
        finished = False
        try:
            files = run.write(suspects, progress)
            finished = run.complete
        finally:
            run.journal.close(remove=finished)
    return run.tally.summary(files, run.merge.counts, time.monotonic() - started, target)


def compare_store(
    store: str | os.PathLike[str], out: str | os.PathLike[str], manifest: Manifest, options: Options | None = None
) -> Counts:
    """Return how a store differs from its label table, and change nothing.

    Raises
    ------
    StoreError, TableError, PackError
        As `label_store`.
    """
    options = options or Options()
    root = check_store(store)
    plan = _plan(root, check_table_output(out), manifest, options)
    for _ in plan.merge.steps():
        pass
    return plan.merge.counts


@dataclass
class _Plan:
    """What is known of a store before the first file is opened."""

    cropper: Cropper
    info: TableInfo
    journal: Journal
    merge: Merge
    tally: _Tally


def _plan(root: Path, target: Path, manifest: Manifest, options: Options) -> _Plan:
    cropper = Cropper.of(manifest, options.face, options.min_face)
    info = _table_info(root, manifest, cropper, options)
    journal = Journal(target, _key(info))
    table = known_rows(target, damaged_too=options.relabel)
    tally = _Tally()
    merge = Merge(
        scan_blocks(root),
        [table, *journal.sources()],
        compatible=not options.relabel and all(_key(old) == _key(info) for old in table.infos),
        limit=options.most,
        verify=options.verify,
        on_gap=tally.gap,
    )
    return _Plan(cropper, info, journal, merge, tally)


def _key(info: TableInfo) -> str:
    """Return a digest of all that decides a row besides its file."""
    parts = [SCHEMA_VERSION, info.pack_digest, info.preprocessing_version, dict(info.options)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _table_info(root: Path, manifest: Manifest, cropper: Cropper, options: Options) -> TableInfo:
    return TableInfo(
        pack_name=manifest.name,
        pack_version=manifest.version,
        pack_digest=manifest.digest,
        preprocessing_version=f"{DECODE_VERSION}.{cropper.version}",
        store=encode_path(root.resolve().name),
        tool_version=__version__,
        options={
            "face": options.face,
            "min_face": repr(options.min_face),
            "limit_pixels": str(options.limits.pixels),
            "limit_bytes": str(options.limits.file_bytes),
            "limit_seconds": repr(float(options.limits.seconds)),
        },
        classes=manifest.classes,
    )


def count_images(store: str | os.PathLike[str]) -> int:
    """Return the number of image files in a store, for a progress bar."""
    found = (item for item in scan_blocks(store) if not isinstance(item, Gap))
    return sum(len(item) if isinstance(item, Block) else 1 for item in found)


def _cores() -> int:
    """Return the number of cores that this process may use; macOS tells only how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _PostponedError(Exception):
    """A limit was reached before the rows of another pack could all be replaced."""


_Gathered = tuple[Sequence[Row], pa.RecordBatch]
_Hand = Hand[Label, Row, _Gathered]


@dataclass
class _Run:
    """One run that labels."""

    plan: _Plan
    target: Path
    pack: Pack
    options: Options
    preparer: Preparer
    lock: int
    complete: bool = False
    waiting: list[pa.RecordBatch] = field(default_factory=list)
    kept_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, root: Path, target: Path, pack: Pack, options: Options, lock: int) -> _Run:
        """Look at what there is."""
        plan = _plan(root, target, pack.manifest, options)
        preparer = Preparer(root, plan.cropper, options.limits, Budget(options.bytes_in_flight - options.shared_out))
        return cls(plan, target, pack, options, preparer, lock)

    @property
    def journal(self) -> Journal:
        """The rows of this run and of those before it that did not end."""
        return self.plan.journal

    @property
    def merge(self) -> Merge:
        """The steps to the new table."""
        return self.plan.merge

    @property
    def tally(self) -> _Tally:
        """What this run counts."""
        return self.plan.tally

    @property
    def table(self) -> Rows:
        """The rows of the table as it is."""
        return self.merge.sources[0]

    def write(self, suspects: set[str], progress: Callable[[int], object]) -> int:
        """Label, and replace the table if it changes; return its number of rows."""
        with closing(self._finished_steps(suspects, progress)) as steps:
            same = 0
            different: Iterable[Keep | pa.RecordBatch] = ()
            for step in steps:
                if not (isinstance(step, Keep) and (step.source, step.start) == (0, same)):
                    different = itertools.chain([step], steps)
                    break
                same = step.stop
            else:
                if self.table.infos == [self.plan.info] and same == self.table.count:
                    self.complete = True
                    return same
            return self._replace(same, different)

    def _replace(self, same: int, different: Iterable[Keep | pa.RecordBatch]) -> int:
        """Write the table anew: so many rows as they are, then what is different."""
        try:
            files = write(self.target, itertools.chain(self.table.take(0, same), self._rows(different)), self.plan.info)
        except _PostponedError:
            return self.table.count
        except BaseException:
            # What breaks the run off is to be told, not that the disk is full for this too.
            with suppress(OSError):
                self._keep()
            raise
        self.complete = True
        return files

    def _rows(self, steps: Iterable[Keep | pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        empty = True
        for step in steps:
            empty = False
            if isinstance(step, Keep):
                yield from self.merge.sources[step.source].take(step.start, step.stop)
            else:
                yield step
        counts = self.merge.counts
        if counts.remaining and not self.merge.compatible:
            self._keep()
            raise _PostponedError
        if empty and counts.gone and counts.gone == self.table.count:
            raise StoreError(
                f"{self.preparer.root}: holds no image, but {self.target} has {counts.gone} rows; "
                "mount the store, or remove the table if the store is meant to be empty"
            )

    def _keep(self) -> None:
        """Put the rows labelled since the last time where no crash can take them."""
        if self.waiting:
            self.journal.add(self.waiting, self.plan.info)
            self.waiting = []
        self.kept_at = time.monotonic()

    def _finished_steps(
        self, suspects: set[str], progress: Callable[[int], object]
    ) -> Generator[Keep | pa.RecordBatch, None, None]:
        """Yield the rows of the new table in order, as ranges of known rows and as batches of new ones."""
        crew = Crew(
            self.options.crew,
            lambda label, number, clock: last(self._prepare(label, number, clock, suspects)),
            self._gather,
            self._late,
            self.options.limits.seconds,
            help_of=functools.partial(self._hand, suspects) if self.options.shared_out else None,
            fallen=lambda label: suspects.add(label.entry.path),
        )
        for labelled, steps in crew.run(_groups(self.merge.steps())):
            rows, batch = labelled or ([], None)
            yield from self._in_order(steps, rows, batch)
            progress(sum(step.stop - step.start if isinstance(step, Keep) else 1 for step in steps))
            if time.monotonic() - self.kept_at >= self.options.checkpoint_seconds:
                self._keep()

    def _hand(self, suspects: set[str], number: int, others: Sequence[_Hand]) -> _Hand:
        """Fork the process of a worker, which has its share of the bytes and asks for more where it needs more."""

        def begin(budget: Budget) -> None:
            self.preparer = replace(self.preparer, budget=budget)

        return Hand(
            lambda label, clock: self._prepare(label, number, clock, suspects),
            lambda rows: self._gather(rows, number),
            begin,
            self.preparer.budget,
            self.options.shared_out // self.options.crew,
            [self.lock, *(other.descriptor for other in others)],
        )

    def _in_order(
        self, steps: Sequence[Step], rows: Sequence[Row], batch: pa.RecordBatch | None
    ) -> Iterator[Keep | pa.RecordBatch]:
        done = iter(rows)
        start = stop = 0
        if batch is not None and batch.num_rows:
            self.waiting.append(batch)
        for step in steps:
            if isinstance(step, Label):
                row = next(done)
                if not row.kept:
                    stop += 1
                    self.tally.row(row)
                    if step.known is not None:
                        self.merge.counts.unchanged -= 1
                        self.merge.counts.changed += 1
                        if row.status != "unreadable" and step.content_hash is not None:
                            self.tally.differs(row)
                    continue
            if batch is not None and start < stop:
                yield batch.slice(start, stop - start)
                start = stop
            kept = step.known if isinstance(step, Label) else step
            if kept is not None:
                self.tally.keep(kept)
                yield kept
        if batch is not None and start < stop:
            yield batch.slice(start, stop - start)

    def _prepare(self, label: Label, number: int, clock: Clock, suspects: set[str]) -> Steps[Row]:
        entry = label.entry
        if entry.path in suspects:
            clock.stop()
            row = prepare_alone(self.preparer, entry)
            row.kept = label.content_hash is not None and row.content_hash == label.content_hash
            return row
        steps = self.preparer.steps(entry, clock, label.content_hash)
        while True:
            self.journal.enter(number, entry.path)
            try:
                next(steps)
            except StopIteration as end:
                done: Row = end.value
                return done
            yield

    def _late(self, label: Label) -> Row:
        row = Row(label.entry)
        row.fail("too_large", f"took more than {self.options.limits.seconds:g} seconds")
        return row

    def _gather(self, rows: Sequence[Row], number: int) -> _Gathered:
        """Return the rows of some files, without crops and faces, and those not kept as a part of the table."""
        manifest = self.pack.manifest
        crops = [row.crop for row in rows if row.crop is not None]
        shape = (manifest.height, manifest.width, *((manifest.channels,) if manifest.channels > 1 else ()))
        stacked = np.stack(crops) if crops else np.zeros((0, *shape), np.uint8)
        labelled = [row for row in rows if row.crop is not None]
        self.journal.enter(number, *(row.entry.path for row in labelled))
        prediction = self.pack.predict(stacked)
        self.journal.enter(number)
        finite = _finite(prediction)
        for row, good, seen in zip(labelled, finite, looks(stacked).tolist(), strict=True):
            row.crop = None
            if good:
                row.sharpness, row.contrast = seen
            else:
                row.fail("crashed", "the network's output is not a finite number")
        batch = _record_batch([row for row in rows if not row.kept], _chosen(prediction, finite), manifest)
        for row in rows:
            row.face = None
        return rows, batch


def _groups(steps: Iterable[Step]) -> Iterator[tuple[list[Label], list[Step]]]:
    """Yield steps in groups with at most `CHUNK` files to label, and those files beside them."""
    labels: list[Label] = []
    group: list[Step] = []
    size = 0
    for step in steps:
        group.append(step)
        if isinstance(step, Label):
            labels.append(step)
            size += step.entry.size_bytes or 0
        if len(labels) == CHUNK or size >= _CHUNK_BYTES or len(group) == _LONGEST_WALK or not labels:
            yield labels, group
            labels, group, size = [], [], 0
    if group:
        yield labels, group


def _finite(prediction: Prediction) -> npt.NDArray[np.bool_]:
    """Tell of each crop whether all that the networks say of it is a finite number, shape (n,)."""
    finite = np.isfinite(prediction.years)
    for values in prediction.probabilities.values():
        finite &= np.isfinite(values).all(axis=1)
    return finite


def _chosen(prediction: Prediction, mask: npt.NDArray[np.bool_]) -> Prediction:
    probabilities = {name: values[mask] for name, values in prediction.probabilities.items()}
    return Prediction(probabilities, prediction.years[mask])


def _record_batch(rows: Sequence[Row], prediction: Prediction, manifest: Manifest) -> pa.RecordBatch:
    """Return the rows in the table's schema; the n-th prediction belongs to the n-th row that is ok."""
    arrow_schema = schema(manifest.classes)
    labelled = np.array([row.status == "ok" for row in rows], bool)
    source = np.cumsum(labelled) - 1
    columns: dict[str, Any] = {
        "path": [row.entry.path for row in rows],
        "size_bytes": [row.entry.size_bytes for row in rows],
        "mtime_ns": [row.entry.mtime_ns for row in rows],
        "content_hash": [row.content_hash for row in rows],
        "status": [row.status for row in rows],
        "error": [row.error for row in rows],
        "width": [row.picture_size and row.picture_size[0] for row in rows],
        "height": [row.picture_size and row.picture_size[1] for row in rows],
        "faces": [row.faces for row in rows],
        "sharpness": [row.sharpness for row in rows],
        "contrast": [row.contrast for row in rows],
        "phash": [row.phash for row in rows],
        "age": [prediction.years[k] if found else None for k, found in zip(source, labelled, strict=True)],
    }
    faces = [_face_values(row.face) for row in rows]
    for k, name in enumerate(FACE_COLUMNS):
        columns[f"face_{name}"] = [values[k] for values in faces]
    for attribute in ATTRIBUTES:
        probabilities = prediction.probabilities[attribute]
        classes = manifest.outputs[attribute].classes
        chosen = [probabilities[k] if found else None for k, found in zip(source, labelled, strict=True)]
        columns[COLUMNS[attribute]] = [None if p is None else classes[int(p.argmax())] for p in chosen]
        columns[f"{attribute}_confidence"] = [None if p is None else p.max() for p in chosen]
        columns[f"{attribute}_probabilities"] = chosen
    nulls = [None] * len(rows)
    arrays = [pa.array(columns.get(item.name, nulls), item.type) for item in arrow_schema]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema)


def _face_values(face: Face | None) -> Sequence[float | None]:
    """Return the values of `labeler.table.FACE_COLUMNS`."""
    return [None] * len(FACE_COLUMNS) if face is None else [*face.box, face.score, face.quality, face.roll]
