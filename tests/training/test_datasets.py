"""Readers of the data sets: what they give, and that damaged labels are refused by name and row."""

from __future__ import annotations

import lzma
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.errors import TruthError
from labeler.taxonomy import FAIRFACE, UTKFACE
from training.datasets import COLUMNS, add_splits, read_age_csv, read_age_pixels, read_fairface, read_utkface

HEADER = "file,age,gender,race,service_test\n"
AGE_HEADER = "age,ethnicity,gender,img_name,pixels\n"


def fairface_file(folder: Path, *rows: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def age_file(folder: Path, *rows: str) -> Path:
    path = folder / "age.csv"
    path.write_text(AGE_HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_fairface_labels_come_in_our_spelling(tmp_path: Path) -> None:
    path = fairface_file(tmp_path, "train/1.jpg,50-59,Male,East Asian,True", "val/2.jpg,3-9,Female,Black,False")
    frame = read_fairface(path)
    assert tuple(frame.columns) == COLUMNS
    assert frame["path"].tolist() == ["train/1.jpg", "val/2.jpg"]
    assert frame["split"].tolist() == ["train", "val"]
    assert frame["age_group"].tolist() == ["50-59", "3-9"]
    assert frame["gender"].tolist() == ["male", "female"]
    assert frame["ethnicity"].tolist() == ["East Asian", "Black"]
    assert frame["age"].isna().all()
    assert read_fairface(path, "val")["path"].tolist() == ["val/2.jpg"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("train/2.jpg,03-Sep,Male,White,True", "age is '03-Sep'"),
        ("train/2.jpg,Sep-03,Male,White,True", "age is 'Sep-03'"),
        ("train/2.jpg,10-19 ,Male,White,True", "age is '10-19 '"),
        ("train/2.jpg,,Male,White,True", "age is ''"),
        ("train/2.jpg,20-29,male,White,True", "gender is 'male'"),
        ("train/2.jpg,20-29,Male,Martian,True", "race is 'Martian'"),
        ("2.jpg,20-29,Male,White,True", "file is '2.jpg'"),
        ("train/1.jpg,20-29,Male,White,True", "is listed in row 2 already"),
        ("train/2.jpg,20-29", "too few columns"),
    ],
)
def test_a_damaged_fairface_label_is_refused_with_file_and_row(tmp_path: Path, row: str, said: str) -> None:
    path = fairface_file(tmp_path, "train/1.jpg,20-29,Male,White,True", row)
    with pytest.raises(TruthError) as caught:
        read_fairface(path)
    assert f"{path}, row 3: " in str(caught.value)
    assert said in str(caught.value)


@given(st.text(max_size=12).filter(lambda text: text not in FAIRFACE.classes["age"]))
def test_no_other_text_is_ever_taken_for_an_age_group(tmp_path_factory: pytest.TempPathFactory, age: str) -> None:
    quoted = age.replace('"', '""')
    path = tmp_path_factory.mktemp("age") / "labels.csv"
    path.write_bytes(f'{HEADER}train/1.jpg,"{quoted}",Male,White,True\n'.encode("utf-8", "surrogatepass"))
    with pytest.raises(TruthError):
        read_fairface(path)


def test_a_missing_file_column_or_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TruthError, match="no such file"):
        read_fairface(tmp_path / "none.csv")
    with pytest.raises(TruthError, match="is a folder"):
        read_fairface(tmp_path)
    with pytest.raises(TruthError, match="begins with test/"):
        read_fairface(fairface_file(tmp_path, "train/1.jpg,20-29,Male,White,True"), "test")
    (tmp_path / "other.csv").write_text("file,age\n", encoding="utf-8")
    with pytest.raises(TruthError, match="the column 'gender' is missing"):
        read_fairface(tmp_path / "other.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80" * 9)
    with pytest.raises(TruthError, match=r"binary\.csv"):
        read_fairface(tmp_path / "binary.csv")


def test_utkface_names_give_years_decades_and_five_ethnicities(tmp_path: Path) -> None:
    names = ["9_0_4_20170112.jpg.chip.jpg", "26_1_1_2017 0112.jpg", "105_1_0_20170112213001988.jpg.chip.jpg"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    frame = read_utkface(tmp_path).set_index("path")
    assert sorted(frame.index) == sorted(names)
    assert frame.loc[names[0], "age"] == 9
    assert frame.loc[names, "age_group"].tolist() == ["0-9", "20-29", "80 and over"]
    assert frame.loc[names, "gender"].tolist() == ["male", "female", "female"]
    assert frame.loc[names, "ethnicity"].tolist() == ["Others", "Black", "White"]


@pytest.mark.parametrize(
    "name", ["61_3_20170109142408075.jpg", "x_0_0_2017.jpg", "20_2_0_2017.jpg", "20_0_5_2017.jpg", "200_0_0_2017.jpg"]
)
def test_a_malformed_utkface_name_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(TruthError, match=name):
        read_utkface(tmp_path)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TruthError, match="holds no"):
        read_utkface(tmp_path)
    with pytest.raises(TruthError, match="no such folder"):
        read_utkface(tmp_path / "none")


def test_the_age_csv_gives_labels_and_pixels_plain_or_compressed(tmp_path: Path) -> None:
    pixels = np.arange(48 * 48) % 256
    path = age_file(tmp_path, f'30,2,1,a b.jpg,"{" ".join(map(str, pixels))}"')
    packed = tmp_path / "age.csv.xz"
    packed.write_bytes(lzma.compress(path.read_bytes()))
    for source in (path, packed):
        row = read_age_csv(source).to_dict("records")[0]
        labels = [row[name] for name in ("path", "age", "age_group", "gender", "ethnicity")]
        assert labels == ["a b.jpg", 30.0, "30-39", "female", "Asian"]
        assert np.array_equal(read_age_pixels(source)[0].ravel(), pixels)


@pytest.mark.parametrize("pixels", ["1 2 3", "x " * 2304, "256 " * 2304, "-1 " * 2304, "99999999999999999999 " * 2304])
def test_pixels_that_are_no_picture_are_refused_with_their_row(tmp_path: Path, pixels: str) -> None:
    with pytest.raises(TruthError, match="row 2: pixels"):
        read_age_pixels(age_file(tmp_path, f"30,2,1,a.jpg,{pixels}"))


@pytest.mark.parametrize("labels", ["thirty,2,1", "-3,2,1", "30,7,1", "30,2,2", "3e1,2,1", "30,²,1"])
def test_age_csv_labels_without_meaning_are_refused_with_their_row(tmp_path: Path, labels: str) -> None:
    with pytest.raises(TruthError, match="row 2"):
        read_age_csv(age_file(tmp_path, f"{labels},a.jpg,0"))


def test_a_truncated_archive_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "age.csv.xz"
    path.write_bytes(lzma.compress((AGE_HEADER + "30,2,1,a.jpg,0\n" * 500).encode())[:90])
    with pytest.raises(TruthError, match="not a readable CSV"):
        read_age_csv(path)


def test_splits_are_added_by_name_and_a_missing_one_is_named(tmp_path: Path) -> None:
    frame = read_age_csv(age_file(tmp_path, "30,2,1,a b.jpg,0", "31,2,1,c.jpg,0"))
    splits = tmp_path / "splits.csv"
    splits.write_text("img_name,split\nc.jpg,val\na b.jpg,train\n", encoding="utf-8")
    assert add_splits(frame, splits)["split"].tolist() == ["train", "val"]
    splits.write_text("img_name,split\nc.jpg,val\n", encoding="utf-8")
    with pytest.raises(TruthError, match=r"'a b\.jpg' has no split"):
        add_splits(frame, splits)


def test_the_shared_data_sets_are_read_whole(shared_data: Path) -> None:
    fairface = read_fairface(shared_data / "fairface/fairface_labels.csv")
    assert Counter(fairface["split"]) == {"train": 39_915, "val": 2_500}
    utkface = read_utkface(shared_data / "utkface/test")
    assert len(utkface) == 2_363
    assert set(utkface["ethnicity"]) == set(UTKFACE.classes["ethnicity"])
    assert not np.isnan(utkface["age"].to_numpy(np.float32)).any()
