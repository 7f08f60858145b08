"""Readers of the data sets: each becomes one frame of paths and labels in this project's spelling."""

from __future__ import annotations

import csv
import lzma
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from labeler.errors import TruthError
from labeler.taxonomy import FAIRFACE, GENDERS, UTKFACE, group_of_age

COLUMNS = ("path", "source", "split", "age", "age_group", "gender", "ethnicity")
"""The columns of every frame a reader returns."""

AGE_SIDE = 48
"""Side in pixels of a picture of the AGE data set."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

FAIRFACE_COLUMNS = ("file", "age", "gender", "race")
AGE_COLUMNS = ("age", "ethnicity", "gender", "img_name", "pixels")
OLDEST = 130
"""No label may claim more years than this."""

_FAIRFACE_GENDERS: Mapping[str, str] = MappingProxyType({"Male": "male", "Female": "female"})
_UTKFACE_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>\d+)_(?P<ethnicity>\d+)_(?P<date>\d+)")


def read_fairface(labels: str | os.PathLike[str], split: str | None = None) -> pd.DataFrame:
    """Read the label file of FairFace.

    Parameters
    ----------
    labels : path
        CSV with the columns ``file`` (``train/1.jpg``), ``age`` (one of nine groups), ``gender`` and ``race``.
    split : str, optional
        Keep only the rows whose file lies in this folder, ``train`` or ``val``.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`; ``age`` is NaN, for only the group is known; ``path`` is the ``file`` of the label file.

    Raises
    ------
    TruthError
        If a column is missing, a label is not one of FairFace's (a spreadsheet turns ``3-9`` into ``03-Sep``),
        a file is listed twice, or no row is left. The message names the file and its row; row 1 is the header.
    """
    name = os.fspath(labels)
    rows: list[tuple[str, str, str, float, str, str, str]] = []
    seen: dict[str, int] = {}
    for number, row in _csv_rows(name, FAIRFACE_COLUMNS):
        path = row["file"]
        part, slash, rest = path.partition("/")
        if not (slash and part and rest):
            raise TruthError(f"{name}, row {number}: file is {path!r}; expected split/name, such as train/1.jpg")
        if path in seen:
            raise TruthError(f"{name}, row {number}: {path!r} is listed in row {seen[path]} already; keep one of them")
        seen[path] = number
        age_group = _one_of(row["age"], FAIRFACE.classes["age"], name, number, "age")
        gender = _FAIRFACE_GENDERS[_one_of(row["gender"], tuple(_FAIRFACE_GENDERS), name, number, "gender")]
        ethnicity = _one_of(row["race"], FAIRFACE.classes["ethnicity"], name, number, "race")
        if split is None or part == split:
            rows.append((path, "fairface", part, math.nan, age_group, gender, ethnicity))
    if not rows:
        wanted = "rows" if split is None else f"rows whose file begins with {split}/"
        raise TruthError(f"{name}: holds no {wanted}; give FairFace's label file and one of its splits")
    return _frame(rows)


def read_age_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the labels of the AGE data set: UTKFace as one CSV file, ``.csv`` or ``.csv.xz``.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`; ``path`` is the column ``img_name``, ``split`` is empty, ``age`` is in years.

    Raises
    ------
    TruthError
        If a column is missing or a label has no meaning; the message names the row.
    """
    name = os.fspath(path)
    rows = [
        (row["img_name"], "utkface", "", *_utkface_labels(row["age"], row["gender"], row["ethnicity"], name, number))
        for number, row in _csv_rows(name, AGE_COLUMNS)
    ]
    if not rows:
        raise TruthError(f"{name}: holds no rows; give the CSV file of the AGE data set")
    return _frame(rows)


def read_age_pixels(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read the pictures of the AGE data set, in the order of `read_age_csv`.

    Returns
    -------
    numpy.ndarray
        Shape (n, 48, 48), uint8, gray.

    Raises
    ------
    TruthError
        If a row does not hold 2,304 whole numbers of 0 to 255.
    """
    name = os.fspath(path)
    return np.stack([_pixels(row["pixels"], name, number) for number, row in _csv_rows(name, ("pixels",))])


def read_utkface(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a folder of UTKFace images, whose names say ``age_gender_ethnicity_date``.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`, sorted by ``path``, which is the file's name; ``split`` is empty, ``age`` is in years.

    Raises
    ------
    TruthError
        If a name does not say all four, or says something undefined; the message names the file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise TruthError(f"{root}: no such folder; give a folder of UTKFace images or the CSV file of the AGE data set")
    rows: list[tuple[str, str, str, float, str, str, str]] = []
    for name in sorted(entry.name for entry in root.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES):
        match = _UTKFACE_NAME.match(name)
        if match is None:
            raise TruthError(
                f"{root / name}: the name does not say age_gender_ethnicity_date, as 26_0_1_20170112.jpg does; "
                "move the file out or name it so"
            )
        labels = _utkface_labels(match["age"], match["gender"], match["ethnicity"], str(root / name), None)
        rows.append((name, "utkface", "", *labels))
    if not rows:
        raise TruthError(f"{root}: holds no {', '.join(IMAGE_SUFFIXES)} files; give a folder of UTKFace images")
    return _frame(rows)


def add_splits(frame: pd.DataFrame, splits: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the frame with ``split`` taken from a file that gives one for each ``img_name``.

    Raises
    ------
    TruthError
        If an image of the frame has no row in the file.
    """
    name = os.fspath(splits)
    of_image = {row["img_name"]: row["split"] for _, row in _csv_rows(name, ("img_name", "split"))}
    missing = [path for path in frame["path"] if path not in of_image]
    if missing:
        raise TruthError(f"{name}: {missing[0]!r} has no split ({len(missing)} images have none); add a row for each")
    return frame.assign(split=[of_image[path] for path in frame["path"]])


def _csv_rows(name: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    if os.path.isdir(name):
        raise TruthError(f"{name}: is a folder; name the CSV file inside it")
    if not os.path.exists(name):
        raise TruthError(f"{name}: no such file; check the path")
    try:
        with _open_text(name) as stream:
            reader = csv.DictReader(stream)
            found = reader.fieldnames or ()
            absent = [column for column in columns if column not in found]
            if absent:
                raise TruthError(f"{name}: the column {absent[0]!r} is missing; expected {', '.join(columns)}")
            for row in reader:
                if any(row[column] is None for column in columns):
                    raise TruthError(f"{name}, row {reader.line_num}: has too few columns; mend the row")
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error, EOFError, OSError, lzma.LZMAError) as error:
        raise TruthError(f"{name}: not a readable CSV file ({error}); give the data set's own file") from error


def _open_text(name: str) -> TextIO:
    if name.endswith(".xz"):
        return lzma.open(name, "rt", encoding="utf-8", newline="")
    return open(name, encoding="utf-8-sig", newline="")


def _one_of(value: str, known: Sequence[str], name: str, number: int, column: str) -> str:
    if value in known:
        return value
    raise TruthError(f"{name}, row {number}: {column} is {value!r}; expected one of {', '.join(known)}")


def _utkface_labels(
    age: str, gender: str, ethnicity: str, name: str, number: int | None
) -> tuple[float, str, str, str]:
    where = name if number is None else f"{name}, row {number}"
    if not (age.isascii() and age.isdigit() and int(age) <= OLDEST):
        raise TruthError(f"{where}: age is {age!r}; expected whole years of 0 to {OLDEST}")
    years = int(age)
    return (
        float(years),
        group_of_age(years, UTKFACE.classes["age"]),
        _numbered(gender, GENDERS, where, "gender"),
        _numbered(ethnicity, UTKFACE.classes["ethnicity"], where, "ethnicity"),
    )


def _numbered(value: str, classes: Sequence[str], where: str, column: str) -> str:
    if value.isascii() and value.isdigit() and int(value) < len(classes):
        return classes[int(value)]
    meaning = ", ".join(f"{number} {label}" for number, label in enumerate(classes))
    raise TruthError(f"{where}: {column} is {value!r}; expected {meaning}")


def _pixels(text: str, name: str, number: int) -> npt.NDArray[np.uint8]:
    try:
        values = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        values = np.empty(0, dtype=np.int64)
    if values.size != AGE_SIDE * AGE_SIDE or values.min() < 0 or values.max() > 255:
        raise TruthError(f"{name}, row {number}: pixels must be {AGE_SIDE * AGE_SIDE} whole numbers of 0 to 255")
    return values.astype(np.uint8).reshape(AGE_SIDE, AGE_SIDE)


def _frame(rows: Sequence[tuple[str, str, str, float, str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"age": "float32"})
