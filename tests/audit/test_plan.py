"""A plan reaches its target: what to collect, what to keep, how to weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.plan import PlanError, collect, keep, make, rake, write
from tests.audit.tables import Made


@given(st.lists(st.integers(1, 400), min_size=2, max_size=7))
def test_what_is_collected_brings_the_store_to_its_target(counts: list[int]) -> None:
    n, k = sum(counts), len(counts)
    shares = np.array(counts) / n
    rows = collect(shares, shares, shares, tuple("abcdefg"[:k]), (1 / k,) * k, n)
    after = np.array(counts) + np.array([row.needed for row in rows])
    assert after.max() - after.min() <= 1
    assert min(row.needed for row in rows) == 0


def test_collecting_cannot_remove_a_class_that_nobody_wants() -> None:
    shares = np.array([0.5, 0.5])
    with pytest.raises(PlanError, match="target 0"):
        collect(shares, shares, shares, ("a", "b"), (1.0, 0.0), 10)


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
