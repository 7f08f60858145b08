"""The label table: its schema, how it is read, and the commit that a crash cannot tear."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from labeler.errors import TableError
from labeler.taxonomy import ATTRIBUTES, COLUMNS

SCHEMA_VERSION = 1
STATUSES = ("ok", "no_face", "unreadable", "corrupt", "too_large", "unsupported", "crashed")
"""What can become of an image file; only ``ok`` rows carry labels."""

FAILURES = tuple(status for status in STATUSES if status not in ("ok", "no_face"))
"""The statuses of files that failed; a good picture without a face has not."""

FACE_COLUMNS = ("x", "y", "width", "height", "score", "quality", "roll")
"""The parts of a face, each in a column ``face_...``: box in pixels of the upright image, the detector's score, how
well the landmarks fit a frontal face (both 0 to 1), and the turn in the picture's plane in degrees clockwise."""

ROW_GROUP_ROWS = 65_536
_PREFIX = "efrs."
PARQUET_ERRORS = (pa.ArrowException, OSError, ValueError)
"""What pyarrow raises where a file is damaged; ValueError for a name in its footer that is no text."""

_MAGIC = b"PAR1"
_OTHER_FORMATS = frozenset(
    ".csv .tsv .txt .json .jsonl .ndjson .html .xlsx .xls .ods .feather .arrow .db .sqlite .gz .zip".split()
)
"""Endings that promise something else than Parquet."""


class NewerTableError(TableError):
    """A label table of a newer schema, which this version must neither read nor replace."""


@dataclass(frozen=True)
class TableInfo:
    """What a label table says of itself, kept in the schema's metadata.

    Parameters
    ----------
    pack_name, pack_version, pack_digest : str
        The model pack; the digest is the SHA-256 of its manifest.
    preprocessing_version : str
        Version of decode and crop; with the digest it decides whether old labels still hold.
    store : str
        The store's own name, without the folders above it.
    tool_version : str
        Version of this package.
    options : mapping
        The options that change labels, and no others: same store and same pack give the same bytes.
    classes : mapping of str to tuple of str
        The pack's classes of each attribute, in order, the empty ones included.
    schema_version : int
        Version of the columns below.
    """

    pack_name: str
    pack_version: str
    pack_digest: str
    preprocessing_version: str
    store: str
    tool_version: str
    options: Mapping[str, str]
    classes: Mapping[str, tuple[str, ...]]
    schema_version: int = SCHEMA_VERSION

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return the metadata of a Parquet schema, keys prefixed ``efrs.``, structures as JSON."""
        values = {
            "schema_version": str(self.schema_version),
            "pack_name": self.pack_name,
            "pack_version": self.pack_version,
            "pack_digest": self.pack_digest,
            "preprocessing_version": self.preprocessing_version,
            "store": self.store,
            "tool_version": self.tool_version,
            "options": json.dumps(dict(self.options), sort_keys=True),
            "classes": json.dumps({name: list(self.classes[name]) for name in ATTRIBUTES}),
        }
        return {f"{_PREFIX}{key}".encode(): value.encode() for key, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes]) -> TableInfo:
        """Read back what `to_metadata` wrote; raise `KeyError` where a part is missing."""
        text = {
            key: metadata[f"{_PREFIX}{key}".encode()].decode()
            for key in (
                "pack_name",
                "pack_version",
                "pack_digest",
                "preprocessing_version",
                "store",
                "tool_version",
            )
        }
        version = _stated_version(metadata)
        options = json.loads(metadata[f"{_PREFIX}options".encode()])
        classes = json.loads(metadata[f"{_PREFIX}classes".encode()])
        return cls(
            **text,
            options=options,
            classes={name: tuple(classes[name]) for name in ATTRIBUTES},
            schema_version=version,
        )


def _stated_version(metadata: Mapping[bytes, bytes]) -> int:
    """Return the schema version that a Parquet schema's metadata states; raise `KeyError` where it states none."""
    return int(metadata[f"{_PREFIX}schema_version".encode()])


def schema(classes: Mapping[str, Sequence[str]], info: TableInfo | None = None) -> pa.Schema:
    """Return the Arrow schema of a label table.

    Parameters
    ----------
    classes : mapping of str to sequence of str
        The pack's classes; their number is the length of the probability lists.
    info : TableInfo, optional
        Written into the schema's metadata.
    """
    category = pa.dictionary(pa.int8(), pa.string())
    fields: list[pa.Field[Any]] = [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("content_hash", pa.uint64()),
        pa.field("status", category, nullable=False),
        pa.field("error", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("faces", pa.int16()),
        *(pa.field(f"face_{name}", pa.float32()) for name in FACE_COLUMNS),
        pa.field("age", pa.float32()),
    ]
    for attribute in ATTRIBUTES:
        fields += [
            pa.field(COLUMNS[attribute], category),
            pa.field(f"{attribute}_confidence", pa.float32()),
            pa.field(f"{attribute}_probabilities", pa.list_(pa.float32(), len(classes[attribute]))),
        ]
    fields += [pa.field("sharpness", pa.float32()), pa.field("contrast", pa.float32()), pa.field("phash", pa.uint64())]
    named = pa.schema(fields)
    return named.with_metadata(info.to_metadata()) if info else named


@dataclass(frozen=True)
class LabelTable:
    """A label table in memory: what it says of itself, and its rows."""

    info: TableInfo
    rows: pa.Table


def read_info(path: str | os.PathLike[str]) -> TableInfo:
    """Read what a label table says of itself, without its rows.

    Raises
    ------
    TableError
        If the file is missing, not Parquet, no label table, or of a newer schema.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise TableError(f"{name}: no such label table; make one with label-images STORE --out {name}")
    if not os.path.isfile(name):
        kind = "a folder" if os.path.isdir(name) else "no regular file"
        raise TableError(f"{name}: is {kind}, not a label table; name the Parquet file that label-images wrote")
    try:
        arrow_schema = pq.read_schema(name)
    except PARQUET_ERRORS as error:
        raise TableError(f"{name}: not a readable Parquet file ({_first_line(error)}); {_remedy(name)}") from error
    metadata = arrow_schema.metadata or {}
    try:
        version = _stated_version(metadata)
        info = TableInfo.from_metadata(metadata) if version <= SCHEMA_VERSION else None
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{name}: Parquet, but no label table; give the file that label-images wrote") from error
    if info is None:
        raise NewerTableError(
            f"{name}: schema version {version} is newer than this tool reads ({SCHEMA_VERSION}); update efrs-labeler"
        )
    missing = [field for field in schema(info.classes).names if field not in arrow_schema.names]
    if missing:
        raise TableError(f"{name}: the column {missing[0]} is missing; write the table anew with label-images")
    for field in schema(info.classes):
        kind = arrow_schema.field(field.name).type
        if not kind.equals(field.type):
            raise TableError(
                f"{name}: the column {field.name} is {kind}, not {field.type}; write the table anew with label-images"
            )
    return info


def _remedy(name: str) -> str:
    """Say what to do about a file that cannot be read as Parquet: other words where it never was Parquet."""
    try:
        with open(name, "rb") as file:
            start = file.read(4)
    except OSError:
        start = b""
    if not start:
        return "it is empty: remove it, and label anew"
    if start == _MAGIC:
        return "write it anew with label-images --relabel"
    return "name the Parquet file that label-images wrote"


def read(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> LabelTable:
    """Read a label table, all of it or some columns.

    Raises
    ------
    TableError
        As `read_info`, and if the rows cannot be read.
    """
    info = read_info(path)
    try:
        rows = pq.read_table(os.fspath(path), columns=list(columns) if columns is not None else None)
    except PARQUET_ERRORS as error:
        raise _damaged(path, error) from error
    return LabelTable(info, rows)


def check_output(path: str | os.PathLike[str], option: str = "--out") -> Path:
    """Return the path of a file about to be written, or say at once why it cannot be.

    Raises
    ------
    TableError
        If it is a folder, a device or a pipe, or its folder is missing or cannot be written.
    """
    # Of a link the file that it leads to is written, not the link.
    target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    folder = target.parent
    if target.is_dir():
        raise TableError(f"{option} {target}: is a folder; name a file inside it")
    if target.exists() and not target.is_file():
        raise TableError(f"{option} {target}: is not a regular file; name a file that may be replaced")
    if not folder.is_dir():
        raise TableError(f"{option} {target}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise TableError(f"{option} {target}: the folder {folder} cannot be written; choose another or mend its rights")
    return target


class Rows:
    """The rows of a label table, or of several that follow each other, read forward and one row group at a time.

    Parameters
    ----------
    files : sequence of path
        Label tables of one schema, sorted by ``path`` and in the order of their paths.

    Raises
    ------
    TableError
        As `read_info`, for each file, and while reading where a file is damaged.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)
        self.infos = [read_info(path) for path in self.files]
        self.count = sum(self._open(path).metadata.num_rows for path in self.files)
        self._parts: Iterator[pa.RecordBatch] | None = None
        self._part: pa.RecordBatch | None = None
        self._start = 0

    def keys(self) -> Iterator[pa.RecordBatch]:
        """Yield what tells whether a row still holds: path, size_bytes, mtime_ns, content_hash, status and error."""
        return self._batches(["path", "size_bytes", "mtime_ns", "content_hash", "status", "error"])

    def take(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows from `start` up to `stop`; neither this call nor a later one may go back."""
        if self._parts is None:
            self._parts = self._batches(None)
        while start < stop:
            if self._part is None or start >= self._start + self._part.num_rows:
                self._start += self._part.num_rows if self._part is not None else 0
                self._part = next(self._parts)
                continue
            piece = self._part.slice(start - self._start, stop - start)
            yield piece
            start += piece.num_rows

    def _batches(self, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        for path, info in zip(self.files, self.infos, strict=True):
            plain = schema(info.classes)
            names = columns or plain.names
            wanted = pa.schema([plain.field(name) for name in names])
            try:
                file = self._open(path)
                # Asked for all at once, pyarrow keeps the buffers of the row groups that it has read.
                for group in range(file.num_row_groups):
                    for batch in file.iter_batches(
                        ROW_GROUP_ROWS, row_groups=[group], columns=names, use_threads=False
                    ):
                        arrays = [_as(batch.column(item.name), item.type) for item in wanted]
                        yield pa.RecordBatch.from_arrays(arrays, schema=wanted)
            except PARQUET_ERRORS as error:
                raise _damaged(path, error) from error

    @staticmethod
    def _open(path: Path) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(path, memory_map=False, buffer_size=1 << 20)
        except PARQUET_ERRORS as error:
            raise _damaged(path, error) from error


def _as(column: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    return column if column.type.equals(kind) else column.cast(kind)


def _damaged(path: str | os.PathLike[str], error: BaseException) -> TableError:
    return TableError(f"{os.fspath(path)}: damaged ({_first_line(error)}); write it anew with label-images --relabel")


def known_rows(target: Path, *, damaged_too: bool = False) -> Rows:
    """Return the rows of a label table about to be replaced; none where there is no such file.

    Parameters
    ----------
    target : path
        As `check_table_output` gave it.
    damaged_too : bool
        Whether a table that cannot be read has no rows, instead of an error.

    Raises
    ------
    TableError
        As `read_info`.
    """
    if not target.exists():
        return Rows([])
    try:
        return Rows([target])
    except NewerTableError:
        raise
    except TableError:
        if damaged_too:
            return Rows([])
        raise


def check_table_output(path: str | os.PathLike[str]) -> Path:
    """Return the path of a label table about to be written, if nothing but a label table would be replaced.

    Raises
    ------
    TableError
        As `check_output`, if its name ends as that of another format does, and if there is a file that is no Parquet
        file, or one that is no label table.
    """
    target = check_output(path)
    if target.suffix.lower() in _OTHER_FORMATS:
        advice = f"name it {target.with_suffix('.parquet').name}"
        raise TableError(f"--out {target}: the label table is Parquet, not what {target.suffix} says; {advice}")
    try:
        with target.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError:
        return target
    except OSError as error:
        raise TableError(f"--out {target}: cannot be read ({error.strerror}); name another file") from error
    if start != _MAGIC:
        raise TableError(f"--out {target}: is no label table and would be lost; name another file, or move it away")
    try:
        metadata = pq.read_schema(os.fspath(target)).metadata or {}
    except PARQUET_ERRORS:
        return target
    if f"{_PREFIX}schema_version".encode() not in metadata:
        raise TableError(f"--out {target}: is Parquet, but no label table; name another file, or move it away")
    return target


def write(path: str | os.PathLike[str], batches: Iterable[pa.RecordBatch], info: TableInfo) -> int:
    """Write a label table so that a crash leaves either the old file or the new one, never a part.

    The rows go to a temporary file in the same folder, which is flushed to the disk and then renamed.

    Parameters
    ----------
    path : path
        The table to write or replace.
    batches : iterable of pyarrow.RecordBatch
        Rows sorted by ``path``, in the schema of `schema`; gathered into row groups of equal size, so
        that how they arrive does not change the bytes.
    info : TableInfo
        What the table says of itself.

    Returns
    -------
    int
        The number of rows written.
    """
    target = check_output(path)
    arrow_schema = schema(info.classes, info)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    rows = 0
    try:
        with os.fdopen(handle, "wb") as sink:
            repeated = [item.name for item in arrow_schema if pa.types.is_dictionary(item.type)] + ["error"]
            with pq.ParquetWriter(
                sink,
                arrow_schema,
                compression="zstd",
                use_dictionary=repeated,  # type: ignore[arg-type]
            ) as writer:
                for table in _row_groups(batches, arrow_schema):
                    writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
                    rows += table.num_rows
            sink.flush()
            os.fsync(sink.fileno())
        os.chmod(temporary, stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return rows


def _row_groups(batches: Iterable[pa.RecordBatch], arrow_schema: pa.Schema) -> Iterable[pa.Table]:
    pending: list[pa.RecordBatch] = []
    waiting = 0
    for batch in batches:
        pending.append(batch)
        waiting += batch.num_rows
        while waiting >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(pending, schema=arrow_schema)
            yield _uniform(table.slice(0, ROW_GROUP_ROWS))
            pending = table.slice(ROW_GROUP_ROWS).to_batches()
            waiting -= ROW_GROUP_ROWS
    if waiting:
        yield _uniform(pa.Table.from_batches(pending, schema=arrow_schema))


def _uniform(table: pa.Table) -> pa.Table:
    """Return a table in one piece, its dictionaries in the order in which their values first occur.

    Parquet's bytes would otherwise tell where one batch ended and the next began.
    """
    for k, item in enumerate(table.schema):
        if pa.types.is_dictionary(item.type):
            values = table.column(k).cast(pa.string()).combine_chunks().dictionary_encode()
            table = table.set_column(k, item, values.cast(item.type))
    return table.combine_chunks()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
