"""Reading a truth file: what people say of some images of a label table, checked value by value."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from audit.estimate import FloatArray, IntArray
from audit.text import shown
from labeler.errors import TruthError
from labeler.taxonomy import COLUMNS, group_of_age

TextColumn: TypeAlias = "pa.Array[Any]"

LABELS = ("age", *COLUMNS.values())
"""Columns that say what is true: age in years, and the class of each attribute."""

OPTIONAL = ("weight", "inclusion_probability", "annotator", "source")
SOURCES = ("self", "annotator", "model")
OLDEST = 130.0
"""Years; an age above it is a slip, not an age."""


@dataclass(frozen=True)
class Truth:
    """What is true of some rows of a label table.

    Parameters
    ----------
    name : str
        The file's own name, without the folders above it.
    columns : tuple of str
        The columns that were understood.
    rows : array of int, shape (n,)
        For each line of the file, its row in the label table.
    codes : mapping of str to array of int, shape (n,)
        For each attribute that the file speaks of, the true class's position; -1 where unknown.
    years : array of shape (n,) or None
        True age in years, NaN where unknown; None where the file has no such column.
    weights : array of shape (n,) or None
        How many images a line stands for: ``weight``, or 1 / ``inclusion_probability``.
    """

    name: str
    columns: tuple[str, ...]
    rows: IntArray
    codes: Mapping[str, IntArray]
    years: FloatArray | None
    weights: FloatArray | None


@dataclass(frozen=True)
class _Sheet:
    """The file as text, with the name and row numbers that its error messages use."""

    path: Path
    columns: Mapping[str, TextColumn]
    first_row: int

    def error(self, position: int, message: str) -> TruthError:
        return TruthError(f"{shown(str(self.path))}, row {position + self.first_row}: {message}")


def read(
    path: str | os.PathLike[str], table_paths: pa.ChunkedArray[pa.StringScalar], classes: Mapping[str, tuple[str, ...]]
) -> Truth:
    """Read a truth file and match it to a label table.

    Parameters
    ----------
    path : path
        CSV (UTF-8, with a header) or Parquet, told apart by the file's first bytes. Columns: ``path`` and any of
        ``age`` (years), ``age_group``, ``gender``, ``ethnicity``; optionally ``weight`` or
        ``inclusion_probability``, ``annotator``, ``source``; others are passed over. An empty cell means unknown.
    table_paths : pyarrow.ChunkedArray of string
        The label table's ``path`` column.
    classes : mapping of str to tuple of str
        The classes of each attribute. They are matched exactly, but for upper and lower case.

    Raises
    ------
    TruthError
        Naming the file and the row, where a value has no defined meaning. In a CSV file the header is row 1.
    """
    sheet = _open(Path(path))
    paths = sheet.columns["path"]
    rows = _match(sheet, paths, table_paths)
    years = _years(sheet) if "age" in sheet.columns else None
    codes = {
        attribute: _codes(sheet, column, classes[attribute])
        for attribute, column in COLUMNS.items()
        if column in sheet.columns
    }
    if years is not None:
        codes["age"] = _with_years(sheet, years, codes.get("age"), classes["age"])
    if not any((known >= 0).any() for known in codes.values()):
        raise TruthError(f"{shown(str(path))}: no label is filled in; fill one of {', '.join(LABELS)}")
    _check_sources(sheet)
    return Truth(Path(path).name, tuple(sheet.columns), rows, codes, years, _weights(sheet))


def _open(path: Path) -> _Sheet:
    name = shown(str(path))
    if not path.is_file():
        wrong = "is a folder, not a truth file" if path.is_dir() else "no such truth file"
        raise TruthError(f"{name}: {wrong}; give a CSV or Parquet file with the column path")
    try:
        with path.open("rb") as stream:
            parquet = stream.read(4) == b"PAR1"
        table = pq.read_table(path) if parquet else _read_csv(path)
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TruthError(f"{name}: cannot be read as CSV or Parquet ({shown(reason)}); save it as UTF-8 CSV") from error
    wanted = [column for column in ("path", *LABELS, *OPTIONAL) if column in table.column_names]
    for column in wanted:
        if table.column_names.count(column) > 1:
            raise TruthError(f"{name}: the column {column} stands there twice; keep one of them")
    if "path" not in wanted:
        raise TruthError(f"{name}: the column path is missing; add it, with the paths as the label table writes them")
    if not set(wanted) & set(LABELS):
        raise TruthError(f"{name}: no label column; add at least one of {', '.join(LABELS)}")
    if table.num_rows == 0:
        raise TruthError(f"{name}: holds no rows; add the images whose labels are known")
    return _Sheet(path, {column: _text(table.column(column)) for column in wanted}, 1 if parquet else 2)


def _read_csv(path: Path) -> pa.Table:
    # Types are never guessed from the text: 3-9 must stay 3-9. The first read only learns the columns' names.
    parse = pcsv.ParseOptions(newlines_in_values=True)
    with pcsv.open_csv(path, parse_options=parse) as reader:
        names = reader.schema.names
    convert = pcsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    return pcsv.read_csv(path, parse_options=parse, convert_options=convert)


def _text(column: pa.ChunkedArray[Any]) -> TextColumn:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    text = pa.array(column.cast(pa.string()).to_numpy(), pa.string(), from_pandas=True)
    return text.fill_null("")


def _match(sheet: _Sheet, paths: TextColumn, table_paths: pa.ChunkedArray[pa.StringScalar]) -> IntArray:
    found = pc.index_in(paths, value_set=table_paths)
    if found.null_count:
        position = int(np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))[0])
        raise sheet.error(
            position,
            f"the label table has no image {paths[position].as_py()!r}; "
            "write paths as the table does, relative to the store, or remove the row",
        )
    rows = found.to_numpy().astype(np.int64)
    _, first = np.unique(rows, return_index=True)
    if len(first) < len(rows):
        repeated = np.ones(len(rows), dtype=bool)
        repeated[first] = False
        position = int(np.flatnonzero(repeated)[0])
        earlier = int(np.flatnonzero(rows == rows[position])[0]) + sheet.first_row
        raise sheet.error(
            position,
            f"{paths[position].as_py()!r} already stands in row {earlier}; keep one row for each image",
        )
    return rows


def _distinct(column: TextColumn) -> tuple[list[str], IntArray]:
    encoded = column.dictionary_encode()
    return [str(value) for value in encoded.dictionary.to_pylist()], encoded.indices.to_numpy().astype(np.int64)


def _first(indices: IntArray, value: int) -> int:
    return int(np.flatnonzero(indices == value)[0])


def _codes(sheet: _Sheet, column: str, classes: tuple[str, ...]) -> IntArray:
    positions = {label.lower(): number for number, label in enumerate(classes)}
    values, indices = _distinct(sheet.columns[column])
    codes = np.empty(len(values), dtype=np.int64)
    for number, value in enumerate(values):
        code = -1 if value == "" else positions.get(value.lower())
        if code is None:
            raise sheet.error(
                _first(indices, number),
                f"{column} {value!r} is not a class of the label table{_spreadsheet(value)}; "
                f"write one of {', '.join(map(shown, classes))}, or nothing where it is unknown",
            )
        codes[number] = code
    return codes[indices]


def _spreadsheet(value: str) -> str:
    month = any(part.isalpha() and len(part) == 3 for part in value.split("-"))
    return " (a spreadsheet seems to have made a date of a range)" if month else ""


def _numbers(sheet: _Sheet, column: str, wanted: str, low: float, high: float) -> FloatArray:
    """Return a column as numbers of low to high, NaN where empty."""
    values, indices = _distinct(sheet.columns[column])
    numbers = np.empty(len(values))
    for number, value in enumerate(values):
        try:
            numbers[number] = float(value) if value != "" else np.nan
            usable = value == "" or low <= numbers[number] <= high
        except ValueError:
            usable = False
        if not usable:
            raise sheet.error(
                _first(indices, number), f"{column} {value!r} is not {wanted}{_spreadsheet(value)}; mend it"
            )
    return numbers[indices]


def _years(sheet: _Sheet) -> FloatArray:
    return _numbers(sheet, "age", f"an age in years, 0 to {OLDEST:.0f}", 0.0, OLDEST)


def _with_years(sheet: _Sheet, years: FloatArray, codes: IntArray | None, groups: tuple[str, ...]) -> IntArray:
    distinct, inverse = np.unique(years, return_inverse=True)
    of_distinct = np.array(
        [-1 if math.isnan(age) else groups.index(group_of_age(age, groups)) for age in distinct.tolist()],
        dtype=np.int64,
    )
    from_years = of_distinct[inverse]
    if codes is None:
        return from_years
    clash = (codes >= 0) & (from_years >= 0) & (codes != from_years)
    if clash.any():
        position = int(np.flatnonzero(clash)[0])
        raise sheet.error(
            position,
            f"age {years[position]:g} is not in age_group {groups[codes[position]]!r}; "
            "mend one of them or leave it empty",
        )
    return np.where(codes >= 0, codes, from_years)


def _weights(sheet: _Sheet) -> FloatArray | None:
    if "weight" in sheet.columns and "inclusion_probability" in sheet.columns:
        raise TruthError(f"{shown(str(sheet.path))}: has both weight and inclusion_probability; keep one of them")
    smallest, largest = np.nextafter(0.0, 1.0), np.finfo(np.float64).max
    if "weight" in sheet.columns:
        return _complete(sheet, "weight", _numbers(sheet, "weight", "a number above 0", smallest, largest))
    if "inclusion_probability" in sheet.columns:
        column = "inclusion_probability"
        return 1 / _complete(sheet, column, _numbers(sheet, column, "above 0 and at most 1", smallest, 1.0))
    return None


def _complete(sheet: _Sheet, column: str, numbers: FloatArray) -> FloatArray:
    if np.isnan(numbers).any():
        raise sheet.error(int(np.flatnonzero(np.isnan(numbers))[0]), f"{column} is empty; fill it in every row or none")
    return numbers


def _check_sources(sheet: _Sheet) -> None:
    if "source" not in sheet.columns:
        return
    values, indices = _distinct(sheet.columns["source"])
    for number, value in enumerate(values):
        if value != "" and value not in SOURCES:
            raise sheet.error(
                _first(indices, number), f"source {value!r} is unknown; write one of {', '.join(SOURCES)}"
            )
