"""A label table as arrays, read in batches so that ten million rows fit: codes, confidences and sums."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.estimate import FloatArray, IntArray
from audit.text import shown
from labeler import table
from labeler.errors import TableError
from labeler.taxonomy import ATTRIBUTES, COLUMNS

Codes = npt.NDArray[np.int8]
Single = npt.NDArray[np.float32]

OK = table.STATUSES.index("ok")
NO_FACE = table.STATUSES.index("no_face")
EXAMPLES = 20
"""How many of the files without a label are named, the first by path."""
SUBSET = 20_000
"""Labelled rows, drawn at random, whose probabilities are kept for the model-based shares."""
UNSURE = 0.5
"""Confidence below which a label counts as unsure."""
BATCH = 65_536
FACE_SIDE = "face_side"
OPTIONAL_LOOKS = ("sharpness", "contrast")
"""Columns of a label table that an older one lacks."""


@dataclass(frozen=True)
class Population:
    """What an audit needs of a label table of N rows.

    Parameters
    ----------
    name : str
        The file's own name.
    info : TableInfo
        What the table says of itself.
    outcomes : array of int8, shape (N,)
        Each row's place in `labeler.table.STATUSES`.
    codes : mapping of str to array of int8, shape (N,)
        The predicted class of each attribute, -1 where there is none.
    confidence, uncertainty : mapping of str to array of float32, shape (N,)
        The largest probability, and ``Σ p (1 − p)`` over the classes; 0 where there is no label. Empty where `read` was
        told to leave them out.
    unsure : mapping of str to int
        Labelled rows whose confidence is below `UNSURE`.
    mean : array of shape (age classes, gender classes, ethnicity classes)
        Mean over the labelled rows of the product of the three probabilities.
    subset : mapping of str to array of shape (n, K)
        Probabilities of at most `SUBSET` labelled rows, drawn at random.
    looks : mapping of str to array of shape (n,)
        Of the same rows: ``face_side``, the side of the face's box in pixels by its area, and those of ``sharpness``
        and ``contrast`` that the table knows; NaN where unknown.
    hashes : array of uint64, shape (N,)
        The perceptual hash; 0 where there is none.
    hashed : array of bool, shape (N,)
        Where there is a hash.
    folders : tuple of str
        The folders right below the store, ``.`` for the store itself.
    folder_of : array of int, shape (N,)
        Each row's place in `folders`.
    examples : list of dict
        Path, status and error of the first rows without a label.
    """

    name: str
    info: table.TableInfo
    outcomes: Codes
    codes: Mapping[str, Codes]
    confidence: Mapping[str, Single]
    uncertainty: Mapping[str, Single]
    unsure: Mapping[str, int]
    mean: FloatArray
    subset: Mapping[str, FloatArray]
    looks: Mapping[str, FloatArray]
    hashes: npt.NDArray[np.uint64]
    hashed: npt.NDArray[np.bool_]
    folders: tuple[str, ...]
    folder_of: npt.NDArray[np.int32]
    examples: list[dict[str, Any]]

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The classes of each attribute, in order."""
        return self.info.classes

    def counts(self, attribute: str) -> IntArray:
        """Return the images predicted as each class of an attribute, shape (K,)."""
        return self.joint((attribute,))

    def joint(self, attributes: tuple[str, ...]) -> IntArray:
        """Return the images predicted as each combination of classes, one axis an attribute."""
        shape = tuple(len(self.classes[name]) for name in attributes)
        total = np.zeros(int(np.prod(shape)), dtype=np.int64)
        for start in range(0, len(self.outcomes), BATCH):
            part = slice(start, start + BATCH)
            cell = np.zeros(len(self.outcomes[part]), dtype=np.int64)
            for name, size in zip(attributes, shape, strict=True):
                cell = cell * size + self.codes[name][part]
            total += np.bincount(cell[self.outcomes[part] == OK], minlength=len(total))
        return total.reshape(shape)

    def expected(self, attributes: tuple[str, ...]) -> FloatArray:
        """Return the mean product of the probabilities of some attributes, one axis each, in `ATTRIBUTES`' order."""
        dropped = tuple(axis for axis, name in enumerate(ATTRIBUTES) if name not in attributes)
        return np.asarray(self.mean.sum(axis=dropped))


class _Reader:
    """Gathers a population batch by batch."""

    def __init__(self, path: str, info: table.TableInfo, rows: int, looks: tuple[str, ...], certainty: bool) -> None:
        self.path, self.info, self.at = path, info, 0
        self.outcomes = np.empty(rows, np.int8)
        self.codes = {name: np.empty(rows, np.int8) for name in ATTRIBUTES}
        self.confidence = {name: np.zeros(rows, np.float32) for name in ATTRIBUTES if certainty}
        self.uncertainty = {name: np.zeros(rows, np.float32) for name in ATTRIBUTES if certainty}
        self.unsure = dict.fromkeys(ATTRIBUTES, 0)
        self.sums = np.zeros(tuple(len(info.classes[name]) for name in ATTRIBUTES))
        self.hashes, self.hashed = np.zeros(rows, np.uint64), np.zeros(rows, bool)
        self.folder_of = np.empty(rows, np.int32)
        self.folders: dict[str, int] = {}
        self.examples: list[dict[str, Any]] = []
        self.keys = np.random.default_rng(0)
        self.kept_keys = np.empty(0)
        self.kept = {name: np.empty((0, len(info.classes[name])), np.float32) for name in ATTRIBUTES}
        self.kept_looks = {name: np.empty(0, np.float32) for name in (FACE_SIDE, *looks)}

    def add(self, batch: pa.RecordBatch) -> None:
        part = slice(self.at, self.at + batch.num_rows)
        self.at += batch.num_rows
        self.outcomes[part] = class_codes(batch.column("status"), table.STATUSES, self.path)
        for name in ATTRIBUTES:
            self.codes[name][part] = class_codes(batch.column(COLUMNS[name]), self.info.classes[name], self.path)
        self._probabilities(batch, part)
        hashes = batch.column("phash")
        self.hashed[part] = hashes.is_valid().to_numpy(zero_copy_only=False)
        self.hashes[part] = hashes.fill_null(0).to_numpy(zero_copy_only=False)
        self._folders(batch, part)
        if len(self.examples) < EXAMPLES:
            failed = np.flatnonzero(self.outcomes[part] != OK)[: EXAMPLES - len(self.examples)]
            self.examples += batch.select(["path", "status", "error"]).take(failed).to_pylist()

    def _probabilities(self, batch: pa.RecordBatch, part: slice) -> None:
        labelled = np.flatnonzero(self.outcomes[part] == OK)
        if len(labelled) == 0:
            return
        found = {}
        for name in ATTRIBUTES:
            values = matrix(batch.column(f"{name}_probabilities"), len(self.info.classes[name]))
            if len(values) != len(labelled) or (self.codes[name][part][labelled] < 0).any():
                raise TableError(
                    f"{shown(self.path)}: a row with status ok lacks its {name}; write the table anew with label-images"
                )
            found[name] = values
            top = values.max(axis=1)
            self.unsure[name] += int((top < UNSURE).sum())
            if self.confidence:
                self.confidence[name][part.start + labelled] = top
                self.uncertainty[name][part.start + labelled] = (values * (1 - values)).sum(axis=1)
        first, *others = (normalised(found[name]) for name in ATTRIBUTES)
        product = np.einsum("ij,ik->ijk", *others).reshape(len(first), -1)
        self.sums += (first.T @ product).reshape(self.sums.shape)
        self._keep(found, batch, labelled)

    def _keep(self, found: Mapping[str, Single], batch: pa.RecordBatch, labelled: IntArray) -> None:
        """Keep the rows with the smallest random keys: a simple random sample, whatever the batches are."""
        before = len(self.kept_keys)
        keys = np.concatenate([self.kept_keys, self.keys.random(len(labelled))])
        chosen = np.argsort(keys, kind="stable")[:SUBSET] if len(keys) > SUBSET else np.arange(len(keys))
        old, new = chosen[chosen < before], chosen[chosen >= before] - before
        self.kept = {name: np.concatenate([self.kept[name][old], found[name][new]]) for name in ATTRIBUTES}
        rows = labelled[new]
        width, height = (_numbers(batch.column(f"face_{side}"), rows) for side in ("width", "height"))
        seen = {name: _numbers(batch.column(name), rows) for name in self.kept_looks if name != FACE_SIDE}
        seen[FACE_SIDE] = np.sqrt(width * height)
        self.kept_looks = {name: np.concatenate([values[old], seen[name]]) for name, values in self.kept_looks.items()}
        self.kept_keys = np.concatenate([keys[old], keys[new + before]])

    def _folders(self, batch: pa.RecordBatch, part: slice) -> None:
        paths = batch.column("path")
        first = pc.list_element(pc.split_pattern(paths, "/", max_splits=1), 0)
        top = pc.if_else(pc.match_substring(paths, "/"), first, ".").dictionary_encode()
        places = [self.folders.setdefault(name, len(self.folders)) for name in top.dictionary.to_pylist()]
        self.folder_of[part] = np.array(places, np.int32)[top.indices.to_numpy()]

    def population(self) -> Population:
        labelled = int((self.outcomes == OK).sum())
        return Population(
            name=os.path.basename(self.path),
            info=self.info,
            outcomes=self.outcomes,
            codes=self.codes,
            confidence=self.confidence,
            uncertainty=self.uncertainty,
            unsure=self.unsure,
            mean=self.sums / max(labelled, 1),
            subset={name: values.astype(np.float64) for name, values in self.kept.items()},
            looks={name: values.astype(np.float64) for name, values in self.kept_looks.items()},
            hashes=self.hashes,
            hashed=self.hashed,
            folders=tuple(self.folders),
            folder_of=self.folder_of,
            examples=self.examples,
        )


def read(path: str | os.PathLike[str], *, certainty: bool = True) -> Population:
    """Read a label table, once, in batches.

    Parameters
    ----------
    path : path
        The label table.
    certainty : bool
        Whether to keep the confidence and the uncertainty of every row, 24 bytes each.

    Raises
    ------
    TableError
        If it is no label table, damaged, or holds a class that it does not declare.
    """
    name = os.fspath(path)
    info = table.read_info(name)
    columns = ["path", "status", "error", *COLUMNS.values(), *(f"{a}_probabilities" for a in ATTRIBUTES), "phash"]
    columns += ["face_width", "face_height"]
    with _parquet(name) as file:
        looks = tuple(column for column in OPTIONAL_LOOKS if column in file.schema_arrow.names)
        columns += looks
        reader = _Reader(name, info, file.metadata.num_rows, looks, certainty)
        for batch in _batches(file, columns, name):
            reader.add(batch)
    return reader.population()


def batches(path: str | os.PathLike[str], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of a label table's rows, in order, a batch at a time."""
    name = os.fspath(path)
    with _parquet(name) as file:
        yield from _batches(file, columns, name)


def find(path: str | os.PathLike[str], paths: pa.Array[Any]) -> IntArray:
    """Return the row of each path in a label table, -1 where it has none.

    Parameters
    ----------
    path : path
        The label table.
    paths : pyarrow array of string, shape (n,)
        Paths as the table writes them; each may stand there several times.
    """
    name = os.fspath(path)
    distinct = paths.unique()
    rows = np.full(len(distinct), -1, np.int64)
    start = 0
    with _parquet(name) as file:
        for batch in _batches(file, ["path"], name):
            found = pc.index_in(batch.column("path"), value_set=distinct)
            here = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
            rows[found.drop_null().to_numpy()] = start + here
            start += batch.num_rows
    places: IntArray = pc.index_in(paths, value_set=distinct).to_numpy().astype(np.int64)
    return rows[places]


def take(path: str | os.PathLike[str], rows: IntArray, columns: list[str]) -> pa.Table:
    """Return some columns of some rows of a label table, in the order of ``rows``.

    Parameters
    ----------
    path : path
        The label table.
    rows : array of int, shape (n,)
        Distinct row numbers.
    columns : list of str
        Names of columns.
    """
    name = os.fspath(path)
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    parts, start = [], 0
    with _parquet(name) as file:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            low, high = np.searchsorted(ascending, [start, start + size])
            if low < high:
                found = _row_group(file, group, columns, name)
                parts.append(found.take(ascending[low:high] - start))
            start += size
        empty = file.schema_arrow.empty_table().select(columns)
    return pa.concat_tables(parts or [empty], promote_options="permissive").take(np.argsort(order))


def class_codes(column: Any, labels: tuple[str, ...], name: str) -> Codes:
    """Return a dictionary column as positions in its attribute's classes, -1 where there is no label.

    Parameters
    ----------
    column : pyarrow dictionary array
        Its dictionary may have any order.
    labels : tuple of str
        The declared classes in order.
    name : str
        The file, for the error.

    Raises
    ------
    TableError
        If the column holds a class that the table does not declare.

    Examples
    --------
    >>> class_codes(pa.array(["b", None, "a"]).dictionary_encode(), ("a", "b"), "labels.parquet").tolist()
    [1, -1, 0]
    """
    # The last place of the map stands for null, which is code -1.
    positions = np.full(len(column.dictionary) + 1, -1, dtype=np.int8)
    for code, label in enumerate(column.dictionary.to_pylist()):
        if label not in labels:
            raise TableError(
                f"{shown(name)}: holds the class {label!r}, which it does not declare; write it anew with label-images"
            )
        positions[code] = labels.index(label)
    indices: IntArray = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return positions[indices]


def _numbers(column: Any, rows: IntArray) -> Single:
    """Return some rows of a column of numbers, NaN where it is null."""
    values: Single = column.take(pa.array(rows)).to_numpy(zero_copy_only=False).astype(np.float32)
    return values


def matrix(column: Any, classes: int) -> Single:
    """Return a column of lists as an array of shape (lists that are not null, classes).

    Examples
    --------
    >>> matrix(pa.array([[0.25, 0.75], None], pa.list_(pa.float32(), 2)), 2).tolist()
    [[0.25, 0.75]]
    """
    values: Single = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, classes)


def normalised(probabilities: Single) -> FloatArray:
    """Return rows of probabilities, shape (n, K), that add to 1 as exactly as float64 can say it."""
    exact = probabilities.astype(np.float64)
    return np.asarray(exact / np.maximum(exact.sum(axis=1, keepdims=True), 1e-300))


def _parquet(name: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(name)
    except table.PARQUET_ERRORS as error:
        raise _damaged(name, error) from error


def _batches(file: pq.ParquetFile, columns: list[str], name: str) -> Iterator[pa.RecordBatch]:
    # One row group after the other: an iterator over the whole file keeps more and more of it in memory.
    for group in range(file.num_row_groups):
        yield from _row_group(file, group, columns, name).to_batches(max_chunksize=BATCH)


def _row_group(file: pq.ParquetFile, group: int, columns: list[str], name: str) -> pa.Table:
    try:
        return file.read_row_group(group, columns=columns)
    except table.PARQUET_ERRORS as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> TableError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return TableError(f"{shown(name)}: damaged ({shown(reason)}); write it anew with label-images")
