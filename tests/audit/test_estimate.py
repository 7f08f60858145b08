"""Intervals hold their estimate, stay in range, and cover what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit.estimate import Estimate, mean, normal_quantile, percentile_interval, proportion, resample, wilson


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_within_zero_and_one(case: tuple[int, int]) -> None:
    successes, n = case
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high


@given(st.integers(0, 50), st.floats(0.5, 0.99))
def test_wilson_agrees_with_scipy(successes: int, confidence: float) -> None:
    theirs = stats.binomtest(successes, 50).proportion_ci(confidence, method="wilson")
    assert wilson(successes, 50, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_covers_a_rare_class_where_wald_does_not() -> None:
    share, n = 0.02, 300
    seen = np.arange(n + 1)
    weights = stats.binom.pmf(seen, n, share)
    covered = np.array([wilson(int(k), n)[0] <= share <= wilson(int(k), n)[1] for k in seen])
    assert weights[covered].sum() > 0.94


def test_a_share_of_nothing_is_undefined_with_a_reason() -> None:
    assert proportion(0, 0) == Estimate(None, None, None, 0, None, "undefined", "no image was labelled")


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, float("nan")])
def test_a_confidence_outside_zero_and_one_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        normal_quantile(confidence)


def test_a_mean_has_the_interval_of_student() -> None:
    values = np.random.default_rng(0).normal(size=25)
    theirs = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    ours = mean(values, 0.9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_one_value_has_no_spread() -> None:
    assert mean(np.array([3.0])).status == "undefined"


def test_a_resample_keeps_the_number_of_images_and_never_fills_an_empty_cell() -> None:
    counts = np.array([[5, 0], [3, 12]])
    draws = resample(counts, 200, np.random.default_rng(1))
    assert draws.shape == (200, 2, 2)
    assert (draws.sum(axis=(1, 2)) == 20).all()
    assert (draws[:, 0, 1] == 0).all()


@given(st.floats(-5, 5), st.integers(0, 1000))
def test_a_percentile_interval_holds_its_value(value: float, seed: int) -> None:
    low, high = percentile_interval(value, np.random.default_rng(seed).normal(size=50))
    assert low is not None
    assert high is not None
    assert low <= value <= high


def test_an_interval_that_reaches_infinity_has_no_upper_end() -> None:
    assert percentile_interval(2.0, np.array([1.0, 2.0, np.inf, np.inf]), 0.9) == (1.0, None)
