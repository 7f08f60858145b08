"""What is withheld cannot be worked out: not from the margins, and not from two audits of the same store."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.disclosure import protect
from audit.drift import change
from audit.estimate import IntArray

Published = dict[tuple[int, ...], np.typing.NDArray[np.bool_]]


def attack(counts: IntArray, min_cell: int, *audits: Published) -> list[int]:
    """Return the small finest or coarser counts that follow, by least squares, from all that these audits publish.

    The attacker knows which images came between the audits, and so can write each audit's sums in the counts of the
    first.
    """
    cells = counts.size
    index = np.arange(cells).reshape(counts.shape)
    known: list[np.typing.NDArray[np.float64]] = [np.ones(cells)]
    secret: list[tuple[np.typing.NDArray[np.float64], int]] = []
    for size in range(1, counts.ndim + 1):
        for axes in combinations(range(counts.ndim), size):
            for place in np.ndindex(*(counts.shape[axis] for axis in axes)):
                chosen: list[int | slice] = [slice(None)] * counts.ndim
                for axis, code in zip(axes, place, strict=True):
                    chosen[axis] = code
                row = np.zeros(cells)
                row[index[tuple(chosen)].ravel()] = 1
                if all(hidden[axes][place] for hidden in audits):
                    secret.append((row, int(counts[tuple(chosen)].sum())))
                else:
                    known.append(row)
    basis = np.array(known)
    found = []
    for row, value in secret:
        weights = np.linalg.lstsq(basis.T, row, rcond=None)[0]
        if 0 < value < min_cell and np.abs(basis.T @ weights - row).max() < 1e-7:
            found.append(value)
    return found


@given(st.integers(0, 10_000), st.sampled_from([(4,), (3, 4), (2, 3, 3)]), st.floats(1.0, 60.0))
@settings(max_examples=30, deadline=None)
def test_no_small_count_follows_from_the_published_margins(seed: int, shape: tuple[int, ...], mean: float) -> None:
    counts = np.random.default_rng(seed).poisson(np.random.default_rng(seed).gamma(0.6, mean, shape))
    assert attack(counts.astype(np.int64), 10, protect(counts, 10)) == []


@given(st.integers(0, 10_000), st.sampled_from([(5,), (3, 4), (2, 3, 3), (3, 2, 5)]), st.floats(1.0, 60.0))
@settings(max_examples=30, deadline=None)
def test_no_small_count_follows_from_two_successive_audits(seed: int, shape: tuple[int, ...], mean: float) -> None:
    rng = np.random.default_rng(seed)
    first = rng.poisson(rng.gamma(0.6, mean, shape)).astype(np.int64)
    second = first + rng.poisson(3.0, shape) * (rng.random(shape) < 0.3)
    before = protect(first, 10)
    after = protect(second, 10, earlier=before)
    assert all((mask <= after[axes]).all() for axes, mask in before.items())
    assert attack(first, 10, before, after) == []


def test_two_audits_that_do_not_know_of_each_other_give_a_small_count_away() -> None:
    first, second = np.array([5, 40, 41, 90]), np.array([5, 43, 41, 90])
    before = protect(first, 10)
    assert attack(first, 10, before, protect(second, 10)) == [5]
    assert attack(first, 10, before, protect(second, 10, earlier=before)) == []


def test_every_small_count_is_withheld_and_a_store_without_any_withholds_nothing() -> None:
    counts = np.array([[3, 40, 50], [60, 70, 80]])
    hidden = protect(counts, 10)
    assert hidden[(0, 1)][0, 0]
    assert hidden[(0, 1)].sum() == 4
    assert not any(mask.any() for mask in protect(counts, 3).values())


def test_two_audits_of_one_store_withhold_the_same_cells() -> None:
    counts = np.random.default_rng(2).poisson(12, (3, 2, 4))
    first, again = protect(counts, 10), protect(counts.copy(), 10)
    assert all((first[axes] == again[axes]).all() for axes in first)


@pytest.mark.parametrize(("old", "new", "status"), [(50, 53, "suppressed"), (50, 50, "ok"), (50, 60, "ok")])
def test_a_difference_of_few_images_is_withheld(old: int, new: int, status: str) -> None:
    record = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100, "status": "ok"}
    assert change({**record, "count": old}, {**record, "count": new}, 10).status == status


def test_a_share_that_either_audit_withholds_has_no_change() -> None:
    record = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100, "status": "ok", "count": None}
    assert change({**record, "status": "suppressed"}, record, 10).status == "suppressed"
