"""Splits: near-duplicates are found, stay on one side, and tell how far labels disagree."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from labeler.errors import LabelerError
from training.cli import main
from training.datasets import add_splits, read_utkface
from training.splits import duplicate_groups, label_conflicts, near_duplicates, split_data_set, validation_mask


@given(st.lists(st.integers(0, 2**64 - 1), max_size=6), st.lists(st.integers(0, 63), max_size=6))
def test_banded_search_finds_what_comparing_every_pair_finds(values: list[int], flips: list[int]) -> None:
    values = [*values, *(value ^ (1 << bit) for value, bit in zip(values, flips, strict=False))]
    expected = [
        [one, other]
        for one, other in combinations(range(len(values)), 2)
        if (values[one] ^ values[other]).bit_count() <= 2
    ]
    assert near_duplicates(np.array(values, np.uint64)).tolist() == expected


def test_pictures_that_pairs_connect_are_one_group() -> None:
    groups = duplicate_groups(5, np.array([[0, 1], [1, 4]]))
    assert groups[0] == groups[1] == groups[4]
    assert len(np.unique(groups)) == 3


def test_groups_stay_on_one_side_and_each_stratum_gives_its_share() -> None:
    rng = np.random.default_rng(0)
    groups, strata = np.arange(4000) // 2, np.repeat(rng.integers(0, 7, 2000), 2)
    mask = validation_mask(groups, strata, 0.1, seed=3)
    assert (mask[::2] == mask[1::2]).all()
    for number in range(7):
        assert mask[strata == number].mean() == pytest.approx(0.1, abs=0.01)
    assert not np.array_equal(mask, validation_mask(groups, strata, 0.1, seed=4))


def test_conflicts_are_shares_of_pairs_and_years() -> None:
    frame = pd.DataFrame(
        {
            "gender": ["male", "male", "female", "female"],
            "ethnicity": ["White"] * 4,
            "age_group": ["20-29", "20-29", "30-39", "20-29"],
            "age": [20.0, 24.0, 30.0, 29.0],
        }
    )
    found = {one.label: one for one in label_conflicts(frame, np.array([[0, 1], [1, 2]]))}
    assert (found["gender"].value, found["ethnicity"].value) == (0.5, 0.0)
    assert found["age"].value == pytest.approx(5.0)
    assert found["gender"].low < 0.5 < found["gender"].high


def utkface_folder(root: Path) -> Path:
    folder = root / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(40):
        coarse = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        picture = np.asarray(cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC), np.uint8)
        cv2.imwrite(str(folder / f"{20 + number}_0_1_{number}.png"), picture)
        if number < 5:
            cv2.imwrite(str(folder / f"{22 + number}_1_1_{100 + number}.jpg"), picture)
    return folder


def test_copies_of_a_picture_land_in_one_split_and_their_labels_are_compared(tmp_path: Path) -> None:
    folder = utkface_folder(tmp_path)
    split = split_data_set("utkface", folder, share=0.25, seed=1)
    assert split.duplicates == 10
    assert not split.frame.drop_duplicates(["duplicate_group", "split"])["duplicate_group"].duplicated().any()
    found = {one.label: one for one in split.conflicts}
    assert (found["gender"].value, found["age"].value, found["gender"].pairs) == (1.0, 2.0, 5)


def test_the_verb_writes_a_file_that_training_reads(tmp_path: Path) -> None:
    folder, out = utkface_folder(tmp_path), tmp_path / "splits.csv"
    result = CliRunner().invoke(main, ["split", "utkface", str(folder), "--out", str(out), "--share", "0.2"])
    assert result.exit_code == 0, result.output
    assert "10 of 45 pictures have a near-duplicate" in result.output
    assert "gender" in result.output
    assert set(add_splits(read_utkface(folder), out)["split"]) == {"train", "val"}


def test_a_share_that_leaves_a_side_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelerError, match="--share 1"):
        split_data_set("utkface", tmp_path, share=1.0)
