"""Shares and balance of the classes, from counts alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.balance import STATISTICS, measure, of_shares
from audit.estimate import FloatArray
from audit.prevalence import raw_shares, uniform


def test_shares_add_to_one_and_keep_the_empty_class() -> None:
    shares = raw_shares(np.array([6, 0, 4]), ("a", "b", "c"), uniform(3))
    assert [share.label for share in shares] == ["a", "b", "c"]
    assert sum(share.estimate.value or 0 for share in shares) == pytest.approx(1)
    empty = shares[1].estimate
    assert (empty.value, empty.low) == (0.0, 0.0)
    assert empty.high is not None
    assert empty.high > 0


@pytest.mark.parametrize(
    ("name", "even", "single"),
    [("evenness", 1.0, 0.0), ("effective_classes", 4.0, 1.0), ("total_variation", 0.0, 0.75)],
)
def test_a_statistic_knows_the_even_store_and_the_store_of_one_class(name: str, even: float, single: float) -> None:
    target = uniform(4)
    assert measure(name, np.array([25, 25, 25, 25]), target).estimate.value == pytest.approx(even)
    assert measure(name, np.array([100, 0, 0, 0]), target).estimate.value == pytest.approx(single)


def test_a_class_without_images_makes_the_ratio_infinite_and_says_so() -> None:
    found = measure("imbalance_ratio", np.array([50, 0]), uniform(2))
    assert found.estimate.status == "undefined"
    assert "infinite" in found.estimate.reason
    assert found.chance is not None


def test_chance_alone_gives_a_ratio_of_about_one_and_a_half_at_300_images_and_7_classes() -> None:
    chance = measure("imbalance_ratio", np.array([43, 43, 43, 43, 43, 43, 42]), uniform(7)).chance
    assert chance == pytest.approx(1.5, abs=0.2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 200), min_size=2, max_size=9), st.sampled_from(sorted(STATISTICS)))
def test_every_statistic_has_a_value_inside_its_interval_or_a_reason(counts: list[int], name: str) -> None:
    found = measure(name, np.array(counts), uniform(len(counts)), replicates=50).estimate
    if found.status == "ok":
        assert found.value is not None
        assert found.low is not None
        assert found.low <= found.value
        assert found.high is None or found.value <= found.high
    else:
        assert found.reason


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    counts = np.array([30, 50, 20])
    first, again, other = (measure("evenness", counts, uniform(3), seed=seed) for seed in (4, 4, 5))
    assert first == again
    assert first != other


@pytest.mark.parametrize("shares", [np.full(7, 1 / 7), np.array([0.3, 0.2, 0.15, 0.15, 0.1, 0.05, 0.05])])
@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_intervals_of_balance_hold_the_truth_of_even_and_uneven_stores(name: str, shares: FloatArray) -> None:
    rng, target = np.random.default_rng(8), uniform(7)
    true = float(STATISTICS[name](shares, np.asarray(target)))
    held = []
    for seed in range(200):
        found = measure(name, rng.multinomial(300, shares), target, replicates=200, seed=seed).estimate
        assert found.low is not None
        held.append(found.low <= true + 1e-9 and (found.high is None or true - 1e-9 <= found.high))
    assert np.mean(held) > 0.92


def test_a_ratio_has_no_upper_end_where_a_class_may_be_absent() -> None:
    even = np.full(2, 0.5)
    found = of_shares("imbalance_ratio", np.array([0.9, 0.1]), even[None], np.array([[0.5, 1], [0, 0.2]]), even, 10)
    assert found.high is None
    assert found.low == pytest.approx(2.5)
