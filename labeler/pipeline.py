"""The flow from a store to its label table: walk, decode, crop, classify on all cores, write."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from labeler import __version__
from labeler.decode import Limits, Picture, Pixels, decode, quiet_decoders
from labeler.errors import DecodeError
from labeler.faces import MIN_FACE, Cropper, Face
from labeler.pack import BATCH, Manifest, Pack, Prediction
from labeler.phash import perceptual_hash
from labeler.store import Entry, check_store, encode_path, read, walk
from labeler.table import FACE_COLUMNS, TableInfo, check_output, schema, write
from labeler.taxonomy import ATTRIBUTES, COLUMNS

CHUNK = BATCH
"""Files that one worker takes at a time."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Options:
    """How a store is labelled.

    Parameters
    ----------
    workers : int
        Threads; 0 for one a core.
    face : str
        ``auto`` finds the face, ``whole`` takes each picture as the crop; see `labeler.faces.Cropper.of`.
    min_face : float
        Smallest face sought first, as a share of the picture's shorter side, above 0 and up to 1.
    limits : Limits
        What a file may ask for before it is refused.
    """

    workers: int = 0
    face: str = "auto"
    min_face: float = MIN_FACE
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Summary:
    """What became of a store.

    Parameters
    ----------
    files, labelled : int
        Image files found, and those of them that have labels.
    failed : mapping of str to int
        Files of each other status that occurs.
    examples : mapping of str to str
        For each of these, one file and its error.
    unlisted : sequence of str
        Folders that could not be listed.
    seconds : float
        Wall-clock time.
    table : str
        The label table.
    """

    files: int
    labelled: int
    failed: Mapping[str, int]
    examples: Mapping[str, str]
    unlisted: Sequence[str]
    seconds: float
    table: str

    @property
    def images_per_second(self) -> float:
        """Files over wall-clock seconds."""
        return self.files / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        return {
            "files": self.files,
            "labelled": self.labelled,
            "failed": dict(self.failed),
            "examples": dict(self.examples),
            "unlisted": list(self.unlisted),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
            "table": self.table,
        }


@dataclass
class _Row:
    """One file on its way through the pipeline."""

    entry: Entry
    status: str = "ok"
    error: str | None = None
    picture_size: tuple[int, int] | None = None
    phash: int | None = None
    faces: int | None = None
    face: Face | None = None
    crop: Pixels | None = None


def label_store(
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    pack: Pack,
    options: Options | None = None,
    progress: Callable[[int], object] = lambda _files: None,
) -> Summary:
    """Label every image file of a store and write the label table.

    Parameters
    ----------
    store : path
        The folder with the images.
    out : path
        The label table to write or replace.
    pack : Pack
        The classifiers.
    options : Options, optional
        Threads, limits, and how faces are looked for.
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
    """
    started = time.monotonic()
    options = options or Options()
    root = check_store(store)
    target = check_output(out)
    quiet_decoders()
    cropper = Cropper.of(pack.manifest, options.face, options.min_face)
    worker = _Worker(root, pack, cropper, options.limits)
    statuses: Counter[str] = Counter()
    examples: dict[str, str] = {}
    unlisted: list[str] = []

    def count(rows: Sequence[_Row]) -> None:
        for row in rows:
            statuses[row.status] += 1
            if row.status != "ok":
                examples.setdefault(row.status, f"{row.entry.path}: {row.error}")
        progress(len(rows))

    def batches() -> Iterator[pa.RecordBatch]:
        entries = walk(root, lambda path, error: unlisted.append(f"{path or '.'}: {error.strerror}"))
        for rows, batch in _in_order(options.workers or _cores(), worker.label, _chunks(entries)):
            count(rows)
            yield batch

    files = write(target, batches(), _table_info(root, pack.manifest, cropper, options))
    labelled = statuses.pop("ok", 0)
    return Summary(
        files,
        labelled,
        dict(sorted(statuses.items())),
        dict(sorted(examples.items())),
        unlisted,
        time.monotonic() - started,
        os.fspath(target),
    )


def _table_info(root: Path, manifest: Manifest, cropper: Cropper, options: Options) -> TableInfo:
    return TableInfo(
        pack_name=manifest.name,
        pack_version=manifest.version,
        pack_digest=manifest.digest,
        preprocessing_version=cropper.version,
        store=encode_path(root.resolve().name),
        tool_version=__version__,
        options={
            "face": options.face,
            "min_face": repr(options.min_face),
            "limit_pixels": str(options.limits.pixels),
            "limit_bytes": str(options.limits.file_bytes),
        },
        classes=manifest.classes,
    )


def count_images(store: str | os.PathLike[str]) -> int:
    """Return the number of image files in a store, for a progress bar."""
    return sum(1 for _ in walk(store))


def _cores() -> int:
    """Return the number of cores that this process may use; macOS tells only how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    iterator = iter(entries)
    while chunk := list(itertools.islice(iterator, CHUNK)):
        yield chunk


def _in_order(workers: int, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results of worker threads in the order of the items, with a bounded number of items under way."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(frozen=True)
class _Worker:
    """What every thread needs to label files; nothing in it changes."""

    root: Path
    pack: Pack
    cropper: Cropper
    limits: Limits

    def label(self, entries: Sequence[Entry]) -> tuple[list[_Row], pa.RecordBatch]:
        """Return the rows of some files, without their crops, and the same as a part of the table."""
        rows = [self.prepare(entry) for entry in entries]
        manifest = self.pack.manifest
        crops = [row.crop for row in rows if row.crop is not None]
        shape = (manifest.height, manifest.width, *((manifest.channels,) if manifest.channels > 1 else ()))
        stacked = np.stack(crops) if crops else np.zeros((0, *shape), np.uint8)
        batch = _record_batch(rows, self.pack.predict(stacked), manifest)
        for row in rows:
            row.crop = None
        return rows, batch

    def prepare(self, entry: Entry) -> _Row:
        """Read, decode and crop one file; whatever happens becomes the row's status."""
        row = _Row(entry)
        try:
            self.crop(row, decode(read(self.root, entry, self.limits.file_bytes), self.limits))
        except DecodeError as error:
            row.status, row.error = error.status, _one_line(error)
        except MemoryError:
            row.status, row.error = "too_large", "not enough memory to decode it"
        except Exception as error:
            row.status, row.error = "crashed", f"{type(error).__name__}: {_one_line(error)}"
        return row

    def crop(self, row: _Row, picture: Picture) -> None:
        """Find the face and put its crop into the row."""
        row.picture_size = (picture.width, picture.height)
        row.phash = perceptual_hash(picture.pixels)
        finding, row.crop = self.cropper.crop(picture.pixels)
        if finding is not None:
            row.faces, row.face = finding.count, finding.face
        if row.crop is None:
            row.status, row.error = "no_face", "no face was found"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _record_batch(rows: Sequence[_Row], prediction: Prediction, manifest: Manifest) -> pa.RecordBatch:
    """Return the rows in the table's schema; the n-th prediction belongs to the n-th row with a crop."""
    arrow_schema = schema(manifest.classes)
    labelled = np.array([row.crop is not None for row in rows], bool)
    source = np.cumsum(labelled) - 1
    columns: dict[str, Any] = {
        "path": [row.entry.path for row in rows],
        "size_bytes": [row.entry.size_bytes for row in rows],
        "mtime_ns": [row.entry.mtime_ns for row in rows],
        "status": [row.status for row in rows],
        "error": [row.error for row in rows],
        "width": [row.picture_size and row.picture_size[0] for row in rows],
        "height": [row.picture_size and row.picture_size[1] for row in rows],
        "faces": [row.faces for row in rows],
        "phash": [row.phash for row in rows],
        "age": [prediction.years[k] if found else None for k, found in zip(source, labelled, strict=True)],
    }
    for name, values in zip(FACE_COLUMNS, zip(*(_face_values(row.face) for row in rows), strict=True), strict=True):
        columns[f"face_{name}"] = values
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
