"""Reading a truth file: what people say of some images of a label table, checked value by value."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from audit.estimate import FloatArray, IntArray
from audit.text import OF_CELL, shown
from labeler.errors import TruthError
from labeler.table import PARQUET_ERRORS
from labeler.taxonomy import COLUMNS, group_of_age

TextColumn: TypeAlias = "pa.Array[Any]"
Locate: TypeAlias = Callable[["pa.Array[Any]"], IntArray]
"""From paths to rows of the label table, -1 where it has none."""

LABELS = ("age", *COLUMNS.values())
"""Columns that say what is true: age in years, and the class of each attribute."""

OPTIONAL = ("weight", "inclusion_probability", "annotator", "source", "identity")
SOURCES = ("self", "annotator", "model")
MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
DATE = re.compile(rf"\d+-(?:{MONTHS})|(?:{MONTHS})-\d+", re.IGNORECASE)
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
    clusters : array of int, shape (n,), or None
        Lines with the same number show the same person (column ``identity``); an empty cell is a person of its own.
    """

    name: str
    columns: tuple[str, ...]
    rows: IntArray
    codes: Mapping[str, IntArray]
    years: FloatArray | None
    weights: FloatArray | None
    clusters: IntArray | None = None


@dataclass(frozen=True)
class TextTable:
    """A file as text, with the name and row numbers that its error messages use."""

    path: Path
    columns: Mapping[str, TextColumn]
    first_row: int

    def error(self, position: int, message: str) -> TruthError:
        """Return the error that names the file and the row at a position."""
        return TruthError(f"{shown(str(self.path))}, row {position + self.first_row}: {message}")


def read(path: str | os.PathLike[str], locate: Locate, classes: Mapping[str, tuple[str, ...]]) -> Truth:
    """Read a truth file and match it to a label table.

    Parameters
    ----------
    path : path
        CSV (UTF-8, with a header) or Parquet, told apart by the file's first bytes. Columns: ``path`` and any of
        ``age`` (years), ``age_group``, ``gender``, ``ethnicity``; optionally ``weight`` or
        ``inclusion_probability``, ``annotator``, ``source``; others are passed over. An empty cell means unknown.
    locate : callable
        From paths to rows of the label table, -1 where it has none: `audit.population.find` with the table's name.
    classes : mapping of str to tuple of str
        The classes of each attribute. They are matched exactly, but for upper and lower case.

    Raises
    ------
    TruthError
        Naming the file and the row, where a value has no defined meaning. In a CSV file the header is row 1.
    """
    sheet = open_table(Path(path))
    rows = match_rows(sheet, locate)
    _unrepeated(sheet, rows)
    years = _years(sheet) if "age" in sheet.columns else None
    codes = {
        attribute: class_column(sheet, column, classes[attribute])
        for attribute, column in COLUMNS.items()
        if column in sheet.columns
    }
    if years is not None:
        codes["age"] = _with_years(sheet, years, codes.get("age"), classes["age"])
    if not any((known >= 0).any() for known in codes.values()):
        raise TruthError(f"{shown(str(path))}: no label is filled in; fill one of {', '.join(LABELS)}")
    _check_sources(sheet)
    return Truth(Path(path).name, tuple(sheet.columns), rows, codes, years, _weights(sheet), _clusters(sheet))


def _clusters(sheet: TextTable) -> IntArray | None:
    if "identity" not in sheet.columns:
        return None
    names, indices = distinct(sheet.columns["identity"])
    if "" not in names:
        return indices
    unknown = indices == names.index("")
    return np.where(unknown, len(names) + np.arange(len(indices)), indices)


def open_table(path: Path, also: tuple[str, ...] = (), kind: str = "truth file") -> TextTable:
    """Read the columns of a CSV or Parquet file that a truth file may have, and those named in ``also``, as text.

    Errors call it by its ``kind``.

    Raises
    ------
    TruthError
        If it cannot be read, has no ``path``, no label column, a column twice, or no rows.
    """
    name = shown(str(path))
    if not path.is_file():
        wrong = f"is a folder, not a {kind}" if path.is_dir() else f"no such {kind}"
        raise TruthError(f"{name}: {wrong}; give a CSV or Parquet file with the column path")
    try:
        with path.open("rb") as stream:
            parquet = stream.read(4) == b"PAR1"
        table = pq.read_table(path) if parquet else _read_csv(path)
    except PARQUET_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TruthError(f"{name}: cannot be read as CSV or Parquet ({shown(reason)}); save it as UTF-8 CSV") from error
    wanted = [column for column in ("path", *LABELS, *OPTIONAL, *also) if column in table.column_names]
    for column in wanted:
        if table.column_names.count(column) > 1:
            raise TruthError(f"{name}: the column {column} stands there twice; keep one of them")
    if "path" not in wanted:
        raise TruthError(f"{name}: the column path is missing; add it, with the paths as the label table writes them")
    if not set(wanted) & set(LABELS):
        raise TruthError(f"{name}: no label column; add at least one of {', '.join(LABELS)}")
    if table.num_rows == 0:
        raise TruthError(f"{name}: holds no rows; add the images whose labels are known")
    columns = {column: _text(table.column(column)) for column in wanted}
    columns["path"] = pc.replace_substring_regex(columns["path"], *OF_CELL)
    return TextTable(path, columns, 1 if parquet else 2)


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


def match_rows(sheet: TextTable, locate: Locate) -> IntArray:
    """Return the row of the label table for each line.

    Raises
    ------
    TruthError
        If the label table has no such image.
    """
    paths = sheet.columns["path"]
    rows = locate(paths)
    if (rows < 0).any():
        position = int(np.flatnonzero(rows < 0)[0])
        raise sheet.error(
            position,
            f"the label table has no image {paths[position].as_py()!r}; "
            "write paths as the table does, relative to the store, or remove the row",
        )
    return rows


def _unrepeated(sheet: TextTable, rows: IntArray) -> None:
    _, first = np.unique(rows, return_index=True)
    if len(first) < len(rows):
        repeated = np.ones(len(rows), dtype=bool)
        repeated[first] = False
        position = int(np.flatnonzero(repeated)[0])
        earlier = int(np.flatnonzero(rows == rows[position])[0]) + sheet.first_row
        raise sheet.error(
            position,
            f"{sheet.columns['path'][position].as_py()!r} already stands in row {earlier}; keep one row for each image",
        )


def distinct(column: TextColumn) -> tuple[list[str], IntArray]:
    """Return the different values of a column, and each line's place among them."""
    encoded = column.dictionary_encode()
    return [str(value) for value in encoded.dictionary.to_pylist()], encoded.indices.to_numpy().astype(np.int64)


def _first(indices: IntArray, value: int) -> int:
    return int(np.flatnonzero(indices == value)[0])


def class_column(sheet: TextTable, column: str, classes: tuple[str, ...]) -> IntArray:
    """Return a column as positions in the classes, matched but for upper and lower case; -1 where empty."""
    positions = {label.lower(): number for number, label in enumerate(classes)}
    values, indices = distinct(sheet.columns[column])
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
    return " (a spreadsheet seems to have made a date of a range)" if DATE.fullmatch(value) else ""


def number_column(sheet: TextTable, column: str, wanted: str, low: float, high: float) -> FloatArray:
    """Return a column as numbers of low to high, NaN where empty."""
    values, indices = distinct(sheet.columns[column])
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


def _years(sheet: TextTable) -> FloatArray:
    return number_column(sheet, "age", f"an age in years, 0 to {OLDEST:.0f}", 0.0, OLDEST)


def _with_years(sheet: TextTable, years: FloatArray, codes: IntArray | None, groups: tuple[str, ...]) -> IntArray:
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


def _weights(sheet: TextTable) -> FloatArray | None:
    if "weight" in sheet.columns and "inclusion_probability" in sheet.columns:
        raise TruthError(f"{shown(str(sheet.path))}: has both weight and inclusion_probability; keep one of them")
    smallest, largest = np.nextafter(0.0, 1.0), np.finfo(np.float64).max
    if "weight" in sheet.columns:
        return _complete(sheet, "weight", number_column(sheet, "weight", "a number above 0", smallest, largest))
    if "inclusion_probability" in sheet.columns:
        column = "inclusion_probability"
        return 1 / _complete(sheet, column, number_column(sheet, column, "above 0 and at most 1", smallest, 1.0))
    return None


def _complete(sheet: TextTable, column: str, numbers: FloatArray) -> FloatArray:
    if np.isnan(numbers).any():
        raise sheet.error(int(np.flatnonzero(np.isnan(numbers))[0]), f"{column} is empty; fill it in every row or none")
    return numbers


def _check_sources(sheet: TextTable) -> None:
    if "source" not in sheet.columns:
        return
    values, indices = distinct(sheet.columns["source"])
    for number, value in enumerate(values):
        if value != "" and value not in SOURCES:
            raise sheet.error(
                _first(indices, number), f"source {value!r} is unknown; write one of {', '.join(SOURCES)}"
            )
