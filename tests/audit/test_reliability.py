"""Bins of confidence by group: each counts the images it says, and none gives a small one away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.agreement import Group, Images, Records, Settings
from audit.performance import BINS, bin_of
from labeler.taxonomy import ATTRIBUTES, UTKFACE
from tests.audit.test_disclosure import attack


def images(n: int, seed: int, concentration: float = 0.6) -> Images:
    """Return made-up images with truth of every attribute."""
    rng = np.random.default_rng(seed)
    f = {name: rng.dirichlet(np.full(len(UTKFACE.classes[name]), concentration), n) for name in ATTRIBUTES}
    mix = rng.dirichlet(np.full(len(UTKFACE.classes["ethnicity"]), 0.5))
    true = {name: rng.integers(0, len(UTKFACE.classes[name]), n) for name in ATTRIBUTES}
    true["ethnicity"] = rng.choice(len(mix), n, p=mix)
    predicted = {name: values.argmax(axis=1).astype(np.int64) for name, values in f.items()}
    return Images("made up", dict(UTKFACE.classes), true, predicted, f)


def test_a_bin_of_a_group_is_that_of_counting_its_images() -> None:
    made = images(4000, 1, 2.0)
    records = Records(made, Settings(min_cell=1, replicates=2)).calibration
    assert {tuple(record["group"]) for record in records} == {(), ("age",), ("gender",), ("ethnicity",)}
    compared = 0
    for record in records:
        if record["attribute"] != "gender" or not record["group"]:
            continue
        ((by, label),) = record["group"].items()
        here = made.true[by] == UTKFACE.classes[by].index(label)
        place = bin_of(made.probabilities["gender"]) == round(record["bin_low"] * BINS)
        right = (made.predicted["gender"] == made.true["gender"])[here & place]
        assert (record["n"], record["value"]) == (len(right), pytest.approx(right.mean()))
        compared += 1
    assert compared > 20


@given(st.integers(0, 1000), st.integers(40, 600))
@settings(max_examples=12)
def test_no_small_bin_follows_from_the_others_the_sums_and_the_sizes_of_the_groups(seed: int, n: int) -> None:
    made = images(n, seed)
    records = Records.__new__(Records)
    records.images, records.settings = made, Settings(min_cell=10)
    records.withheld = records._withheld()
    for family in records.groups("gender", 1):
        counts = np.array([records._bins("gender", group.members) for group in family])
        cells, together = records._hidden_bins("gender", family)
        sizes = np.array([group.withheld for group in family])
        assert attack(counts, 10, {(0,): sizes, (1,): together, (0, 1): cells}) == []


def test_where_only_the_size_of_a_group_could_hide_a_bin_all_bins_go() -> None:
    n = 52
    f = np.column_stack([np.full(n, 0.95), np.full(n, 0.05)])
    f[:3] = (0.55, 0.45)
    gender = np.repeat([0, 1], [26, 26])
    made = Images(
        "made up",
        {"gender": ("male", "female"), "ethnicity": ("a", "b")},
        {"gender": gender, "ethnicity": np.zeros(n, np.int64)},
        {"gender": np.zeros(n, np.int64), "ethnicity": np.zeros(n, np.int64)},
        {"gender": f, "ethnicity": f},
    )
    records = Records.__new__(Records)
    records.images, records.settings = made, Settings(min_cell=10)
    family = [Group({"gender": "male"}, gender == 0, False), Group({"gender": "female"}, gender == 1, False)]
    cells, _ = records._hidden_bins("ethnicity", family)
    assert cells[0, [5, 9]].all()
