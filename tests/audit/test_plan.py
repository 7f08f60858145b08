"""A plan reaches its target: what to collect, what to keep, how to weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.estimate import IntArray
from audit.graded import VerifiedShares
from audit.plan import Basis, PlanError, collect, keep, make, rake, verified_basis, write
from audit.verified import Design, difference_estimator
from tests.audit.tables import Made


def known(counts: IntArray) -> Basis:
    """Return the basis of a store whose make-up is known."""
    shares = counts / counts.sum()
    return Basis("verified", shares, shares, shares, shares[None], float(counts.sum()))


@given(st.lists(st.integers(1, 400), min_size=2, max_size=7))
def test_what_is_collected_brings_the_store_to_its_target(counts: list[int]) -> None:
    k = len(counts)
    rows = collect(known(np.array(counts)), tuple("abcdefg"[:k]), (1 / k,) * k)
    after = np.array(counts) + np.array([row.needed for row in rows])
    assert after.max() - after.min() <= 1
    assert min(row.needed for row in rows) == 0
    assert all(row.low == row.needed == row.high for row in rows)


def test_collecting_cannot_remove_a_class_that_nobody_wants() -> None:
    with pytest.raises(PlanError, match="target 0"):
        collect(known(np.array([5, 5])), ("a", "b"), (1.0, 0.0))


def test_what_is_collected_in_simulation_reaches_the_target_within_the_interval() -> None:
    rng = np.random.default_rng(2)
    stores, classes, target = 60, 4, (0.3, 0.3, 0.2, 0.2)
    held, reached = 0, 0.0
    for _ in range(stores):
        truth = rng.choice(classes, 4000, p=[0.5, 0.28, 0.14, 0.08])
        odds = np.exp(rng.normal(size=(4000, classes)) + 2.0 * np.eye(classes)[truth])
        f = odds / odds.sum(axis=1, keepdims=True)
        chosen = rng.choice(4000, 300, replace=False)
        design, answers = Design(np.zeros(300, np.int64), np.array([4000])), np.eye(classes)[truth[chosen]]
        estimates = difference_estimator(design, answers, f[chosen], f.mean(axis=0))
        shares = VerifiedShares((classes,), (), estimates, design, answers, f[chosen], f.mean(axis=0))
        basis = verified_basis(shares, 0)
        assert basis is not None
        rows = collect(basis, tuple("abcd"), target)
        counts = np.bincount(truth, minlength=classes)
        exact = collect(known(counts), tuple("abcd"), target)
        held += sum(row.low <= wanted.needed <= row.high for row, wanted in zip(rows, exact, strict=True))
        after = counts + np.array([row.needed for row in rows])
        widths = np.array([(e.high or 0) - (e.low or 0) for e in estimates])
        reached += float((np.abs(after / after.sum() - target) <= widths).mean())
    assert held / (stores * classes) > 0.93
    assert reached / stores > 0.93


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_subset_meets_both_margins_exactly(seed: int) -> None:
    counts = np.random.default_rng(seed).integers(3, 60, (2, 3))
    kept = keep(counts, ((0.5, 0.5), (0.25, 0.25, 0.5)))
    assert (kept <= counts).all()
    assert (kept.sum(axis=1) * 2 == kept.sum()).all()
    assert (kept.sum(axis=0) * 4 == kept.sum() * np.array([1, 1, 2])).all()


def test_for_one_attribute_the_subset_is_the_largest_there_is() -> None:
    assert keep(np.array([90, 20, 33]), ((1 / 3, 1 / 3, 1 / 3),)).tolist() == [20, 20, 20]


@pytest.mark.parametrize("target", [(0.489, 0.511), (0.3333, 0.6667), (1 / 7, 6 / 7)])
def test_shares_that_no_subset_has_exactly_are_met_to_less_than_an_image(target: tuple[float, float]) -> None:
    kept = keep(np.array([171, 209]), (target,))
    assert kept.sum() > 0.6 * 380
    assert np.abs(kept - kept.sum() * np.array(target)).max() < 1


def test_a_wanted_class_without_images_has_no_subset_and_no_weights() -> None:
    for method in (keep, rake):
        with pytest.raises(PlanError, match="collect some first"):
            method(np.array([10, 0]), ((0.5, 0.5),))


def test_weighted_margins_are_the_targets() -> None:
    counts = np.random.default_rng(1).integers(1, 50, (2, 3))
    weight = rake(counts, ((0.5, 0.5), (0.2, 0.3, 0.5)))
    table = counts * weight / (counts * weight).sum()
    assert table.sum(axis=1) == pytest.approx([0.5, 0.5], abs=1e-9)
    assert table.sum(axis=0) == pytest.approx([0.2, 0.3, 0.5], abs=1e-9)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_plan_is_a_file_that_a_trainer_can_read(ending: str, made: Made, tmp_path: Path) -> None:
    plan = make(made.labels, "uniform", attributes=("gender",))
    out = tmp_path / f"plan.{ending}"
    write(plan, made.labels, out)
    frame = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    labels = pd.read_parquet(made.labels, columns=["path", "gender"])
    joined = frame.merge(labels, on="path")
    assert len(joined) == 600
    assert len(set(joined[joined["keep"]].groupby("gender", observed=True).size())) == 1
    weighted = joined.groupby("gender", observed=True)["weight"].sum()
    assert weighted.to_numpy() == pytest.approx([300.0, 300.0])
    assert plan.effective_size < 600
