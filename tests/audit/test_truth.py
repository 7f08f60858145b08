"""A truth file is matched value by value, and whatever has no defined meaning is named with its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit import truth
from audit.estimate import IntArray
from labeler.errors import TruthError
from labeler.taxonomy import FAIRFACE

PATHS = ["a.jpg", "b c.jpg", "d/e.jpg", 'x,"y.jpg']


def read(path: Path) -> truth.Truth:
    return truth.read(path, locate, FAIRFACE.classes)


def locate(paths: truth.TextColumn) -> IntArray:
    return np.array([PATHS.index(path) if path in PATHS else -1 for path in paths.to_pylist()])


def csv(folder: Path, text: str | bytes) -> Path:
    path = folder / "truth.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_rows_are_found_by_path_and_classes_by_name_whatever_their_case(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "gender,path,note\nFEMALE,d/e.jpg,x\nmale,a.jpg,\n"))
    assert found.rows.tolist() == [2, 0]
    assert found.codes["gender"].tolist() == [1, 0]
    assert set(found.codes) == {"gender"}
    assert found.columns == ("path", "gender")


def test_an_empty_cell_means_unknown(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "path,gender,ethnicity\na.jpg,,Black\nb c.jpg,male,\n"))
    assert found.codes["gender"].tolist() == [-1, 0]
    assert found.codes["ethnicity"].tolist() == [1, -1]


def test_an_age_in_years_gives_the_age_group(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "path,age,age_group\na.jpg,9.9,\nb c.jpg,,10-19\nd/e.jpg,70,more than 70\n"))
    assert [FAIRFACE.classes["age"][code] for code in found.codes["age"]] == ["3-9", "10-19", "more than 70"]
    assert found.years is not None
    assert np.isnan(found.years).tolist() == [False, True, False]


def test_a_file_from_a_spreadsheet_with_a_mark_and_quotes_is_read(tmp_path: Path) -> None:
    found = read(csv(tmp_path, b'\xef\xbb\xbfpath,gender\r\n"x,""y.jpg",male\r\n'))
    assert found.rows.tolist() == [3]


def test_parquet_with_categories_and_numbers_is_read(tmp_path: Path) -> None:
    path = tmp_path / "truth.parquet"
    gender = pa.array(["male", None]).dictionary_encode()
    pq.write_table(pa.table({"path": ["a.jpg", "d/e.jpg"], "age": [3, 80], "gender": gender}), path)
    found = read(path)
    assert found.codes["gender"].tolist() == [0, -1]
    assert found.codes["age"].tolist() == [1, 8]


def test_an_inclusion_probability_becomes_a_weight(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "path,gender,inclusion_probability\na.jpg,male,0.25\n"))
    assert found.weights is not None
    assert found.weights.tolist() == [4.0]


BAD = {
    "unknown class": ("path,gender\na.jpg,male\nd/e.jpg,woman\n", r"truth\.csv, row 3: gender 'woman'.*male, female"),
    "spreadsheet date": ("path,age_group\na.jpg,03-Sep\n", r"row 2: age_group '03-Sep'.*spreadsheet"),
    "no spreadsheet date": ("path,gender\na.jpg,Man\n", r"gender 'Man' is not a class of the label table; write"),
    "spreadsheet date in years": ("path,age\na.jpg,03-Sep\n", r"row 2: age '03-Sep' is not an age.*spreadsheet"),
    "spaces around a class": ("path,gender\na.jpg, male\n", "row 2: gender ' male'"),
    "negative age": ("path,age\na.jpg,-1\n", "row 2: age '-1' is not an age"),
    "age not a number": ("path,age\na.jpg,nan\n", "row 2: age 'nan' is not an age"),
    "age and group disagree": ("path,age,age_group\na.jpg,5,20-29\n", "row 2: age 5 is not in age_group '20-29'"),
    "unknown path": ("path,gender\na.jpg,male\nz.jpg,male\n", r"row 3: the label table has no image 'z\.jpg'"),
    "hidden characters": ("path,gender\nz\u202e.jpg,male\n", r"row 2: .*'z\\u202e\.jpg'"),
    "duplicate path": ("path,gender\na.jpg,male\na.jpg,male\n", "row 3: 'a.jpg' already stands in row 2"),
    "no path column": ("file,gender\na.jpg,male\n", "the column path is missing"),
    "no label column": ("path,note\na.jpg,male\n", "no label column; add at least one of age, age_group"),
    "column twice": ("path,gender,gender\na.jpg,male,male\n", "the column gender stands there twice"),
    "no rows": ("path,gender\n", "holds no rows"),
    "no label filled in": ("path,gender\na.jpg,\n", "no label is filled in"),
    "empty file": ("", "cannot be read as CSV"),
    "ragged row": ("path,gender\na.jpg\n", "cannot be read as CSV"),
    "unknown source": ("path,gender,source\na.jpg,male,guess\n", "row 2: source 'guess' is unknown"),
    "weight of zero": ("path,gender,weight\na.jpg,male,0\n", "row 2: weight '0' is not a number above 0"),
    "weight missing": ("path,gender,weight\na.jpg,male,\n", "row 2: weight is empty"),
    "probability above one": ("path,gender,inclusion_probability\na.jpg,male,2\n", "row 2: inclusion_probability '2'"),
    "two designs": ("path,gender,weight,inclusion_probability\na.jpg,male,1,1\n", "keep one of them"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_has_no_meaning_is_named_with_its_row(case: str, tmp_path: Path) -> None:
    text, message = BAD[case]
    with pytest.raises(TruthError, match=message) as caught:
        read(csv(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "truth.csv" in str(caught.value)


def test_rows_of_a_parquet_file_count_from_one(tmp_path: Path) -> None:
    path = tmp_path / "truth.parquet"
    pq.write_table(pa.table({"path": ["a.jpg"], "gender": ["x"]}), path)
    with pytest.raises(TruthError, match="row 1: gender 'x'"):
        read(path)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TruthError, match="UTF-8"):
        read(csv(tmp_path, "path,gender\nä.jpg,male\n".encode("latin-1")))


@pytest.mark.parametrize(("name", "message"), [("nowhere.csv", "no such truth file"), ("", "is a folder")])
def test_a_missing_file_and_a_folder_are_named(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TruthError, match=message):
        read(tmp_path / name)
