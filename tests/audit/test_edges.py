"""Where data runs out: no number without a meaning, no missing number without a reason, no crash."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import association, performance
from audit.adjusted import model_shares
from audit.agreement import Images, Records, Settings
from audit.estimate import Estimate, FloatArray, IntArray, wilson
from audit.gaps import across, against_the_rest, equalised_odds
from audit.plan import PlanError, collect, keep, rake, raw_basis
from audit.sampling import allocate, divide
from audit.verified import Design, difference_estimator, labels_alone, replicates
from labeler.taxonomy import ATTRIBUTES, UTKFACE

EDGES = (0, 1, 2, 12)


def sound(estimate: Estimate | Mapping[str, Any]) -> None:
    """Check that an estimate has a value inside a finite interval, or a reason."""
    record = estimate if isinstance(estimate, Mapping) else vars(estimate)
    if record["status"] != "ok":
        assert record["value"] is None
        assert record["low"] is None
        assert record["reason"]
        return
    assert math.isfinite(record["value"])
    assert math.isfinite(record["low"])
    assert record["low"] <= record["value"] + 1e-9
    if record["high"] is not None:
        assert math.isfinite(record["high"])
        assert record["value"] <= record["high"] + 1e-9


def all_sound(estimates: Iterable[Estimate | Mapping[str, Any]]) -> None:
    for estimate in estimates:
        sound(estimate)


def probabilities(rng: np.random.Generator, n: int, classes: int) -> FloatArray:
    return rng.dirichlet(np.full(classes, 0.3), n).reshape(n, classes)


def few_classes(rng: np.random.Generator, n: int, classes: int, used: int) -> IntArray:
    """Return labels of which only some classes occur."""
    return rng.choice(rng.permutation(classes)[:used], n).astype(np.int64)


@given(st.sampled_from(EDGES), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.integers(0, 10_000))
@settings(max_examples=40)
def test_metrics_of_a_group_in_which_classes_are_missing_from_truth_or_from_the_predictions(
    n: int, true_used: int, predicted_used: int, weighted: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = few_classes(rng, n, 4, true_used), few_classes(rng, n, 4, predicted_used)
    weights = rng.choice([0.0, 1.0, 3.0], n) if weighted else None
    f = probabilities(rng, n, 4)
    found = performance.measure(
        truth, predicted, f, ordered=True, min_cell=1, replicates=20, seed=seed, weights=weights
    )
    all_sound(found.values())
    all_sound(performance.measure_years(rng.normal(size=n), 1, weights=weights).values())


@pytest.mark.parametrize("n", EDGES)
def test_metrics_where_every_weight_is_zero_say_so(n: int) -> None:
    labels, f = np.zeros(n, np.int64), np.full((n, 2), 0.5)
    found = performance.measure(labels, labels, f, ordered=True, min_cell=1, weights=np.zeros(n))
    reasons = {estimate.reason for estimate in found.values()}
    assert reasons == ({"no image in this group"} if n == 0 else {"all weights are 0"})


@given(
    st.sampled_from((1, 2, 12, 60)), st.integers(1, 3), st.sampled_from((1, 10)), st.booleans(), st.integers(0, 9999)
)
@settings(max_examples=8)
def test_every_record_that_needs_truth_is_sound(n: int, used: int, min_cell: int, weighted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    f = {name: probabilities(rng, n, len(UTKFACE.classes[name])) for name in ATTRIBUTES}
    true = {name: few_classes(rng, n, len(UTKFACE.classes[name]), min(used, 2)) for name in ATTRIBUTES}
    true["gender"][rng.random(n) < 0.2] = -1
    years = rng.uniform(0, 100, n)
    years[rng.random(n) < 0.3] = np.nan
    images = Images(
        "made up",
        dict(UTKFACE.classes),
        true,
        {name: values.argmax(axis=1).astype(np.int64) for name, values in f.items()},
        f,
        years,
        rng.uniform(0, 100, n),
        rng.choice([0.0, 1.0, 2.0], n) if weighted else None,
    )
    found = Records(images, Settings(min_cell=min_cell, replicates=20))
    for records in (found.performance, found.gaps, found.comparisons, found.calibration):
        all_sound(records)


@given(st.sampled_from((1, 2, 30)), st.sampled_from((1, 2, 40)), st.integers(1, 3), st.integers(0, 10_000))
@settings(max_examples=25)
def test_model_based_shares_where_the_evaluation_or_the_store_lacks_a_class(
    n: int, m: int, used: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    store, evaluated = probabilities(rng, n, 3), probabilities(rng, m, 3)
    counts = np.bincount(store.argmax(axis=1), minlength=3)
    found = model_shares(counts, store, few_classes(rng, m, 3, used), evaluated, replicates=5)
    for estimates in (found.adjusted_counts, found.expectation_maximisation):
        all_sound(estimates)
        assert sum(estimate.value or 0.0 for estimate in estimates) == pytest.approx(1)
    assert 0 <= found.disagreement <= 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 3), st.integers(1, 3), st.integers(0, 9999))
@settings(max_examples=40)
def test_verified_shares_of_one_image_a_stratum_and_of_classes_that_nobody_saw(
    drawn: list[int], more: int, used: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stratum = np.repeat(np.arange(len(drawn)), drawn)
    design = Design(stratum.astype(np.int64), np.array(drawn) + more * 10)
    answers = np.eye(3)[few_classes(rng, len(stratum), 3, used)]
    f = probabilities(rng, len(stratum), 3)
    all_sound(difference_estimator(design, answers, f, f.mean(axis=0)))
    all_sound(labels_alone(design, answers))
    resampled = replicates(design, answers, f, f.mean(axis=0), 10, seed)
    assert resampled.sum(axis=1) == pytest.approx(np.ones(10))


def test_a_classifier_that_is_never_wrong_and_always_sure_is_not_called_certain() -> None:
    answers = np.eye(2)[np.repeat([0, 1], 20)]
    design = Design(np.zeros(40, np.int64), np.array([4000]))
    for estimate in difference_estimator(design, answers, answers, np.array([0.5, 0.5])):
        sound(estimate)
        assert estimate.low is not None
        assert estimate.low < 0.45


@given(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.integers(0, 1000))
def test_association_of_tables_with_empty_rows_columns_and_cells(counts: list[int], seed: int) -> None:
    joint = np.array(counts).reshape(2, 2)
    n = int(joint.sum())
    if n == 0:
        return
    draws = association.resampled_shares(joint, 20, seed)
    sound(association.cramers_v(joint / n, n, n))
    all_sound(association.npmi(joint / n, draws, n))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), max_size=4))
def test_gaps_between_no_group_one_group_and_groups_without_an_error(groups: list[tuple[int, int]]) -> None:
    right = np.array([float(min(hits, n)) for hits, n in groups])
    n = np.array([float(n) for _, n in groups])
    all_sound(gap.estimate for gap in across(right, n, replicates=20).values())
    tensor = np.array([[[r, s - r], [0.0, 0.0]] for r, s in zip(right, n, strict=True)]).reshape(-1, 2, 2)
    sound(equalised_odds(tensor, replicates=20).estimate)
    rest = right.sum() - right, n.sum() - n
    for exploratory in (False, True):
        all_sound(c.estimate for c in against_the_rest(right, n, *rest, exploratory=exploratory))


def test_an_age_error_counts_each_image_as_often_as_it_stands_for() -> None:
    errors, times = np.array([1.0, -4.0, 6.0, 2.0]), np.array([1, 3, 2, 4])
    found = performance.measure_years(errors, 1, weights=times.astype(float))
    plain = performance.measure_years(np.repeat(errors, times), 1)
    assert [found[name].value for name in found] == pytest.approx([plain[name].value for name in plain])
    alike = performance.measure_years(errors, 1, weights=np.full(4, 7.0))
    assert alike == performance.measure_years(errors, 1)


def test_a_group_is_compared_with_the_weighted_accuracy_of_the_rest() -> None:
    rng = np.random.default_rng(4)
    n = 400
    f = {name: probabilities(rng, n, len(UTKFACE.classes[name])) for name in ATTRIBUTES}
    true = {name: rng.integers(0, len(UTKFACE.classes[name]), n) for name in ATTRIBUTES}
    predicted = {name: values.argmax(axis=1).astype(np.int64) for name, values in f.items()}
    weights = np.where(true["gender"] == 0, rng.uniform(0.1, 20.0, n), 1.0)
    images = Images("made up", dict(UTKFACE.classes), true, predicted, f, weights=weights)
    found = Records(images, Settings(min_cell=1, replicates=2)).comparisons
    right = predicted["ethnicity"] == true["ethnicity"]
    for code, label in enumerate(UTKFACE.classes["gender"]):
        here = true["gender"] == code
        expected = np.average(right[here], weights=weights[here]) - np.average(right[~here], weights=weights[~here])
        record = next(r for r in found if (r["attribute"], r["group"]) == ("ethnicity", {"gender": label}))
        assert record["value"] == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.integers(0, 30), min_size=2, max_size=4), st.booleans())
def test_a_plan_exists_or_says_why_not(counts: list[int], zero: bool) -> None:
    table, k = np.array(counts), len(counts)
    target = (0.0, *(1 / (k - 1),) * (k - 1)) if zero else (1 / k,) * k
    for method in (keep, rake):
        try:
            made = np.asarray(method(table, (target,))) if table.sum() else np.zeros(k)
        except PlanError as error:
            assert "image" in str(error)
        else:
            assert np.isfinite(made).all()
    if table.sum():
        try:
            rows = collect(raw_basis(table, 0.95, 0), tuple("abcd"[:k]), target)
        except PlanError as error:
            assert "target 0" in str(error)
        else:
            assert all(0 <= row.low <= row.needed <= row.high for row in rows)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 60))
def test_an_allocation_never_asks_for_more_than_there_is(sizes: list[int], n: int) -> None:
    found = allocate(np.array(sizes), np.linspace(0.0, 1.0, len(sizes)), n)
    assert (found <= np.array(sizes)).all()
    assert found.sum() == min(n, sum(sizes))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_strata_of_hardly_any_image(n: int) -> None:
    codes = {name: np.zeros(n, np.int64) for name in ATTRIBUTES}
    unsure = {name: np.zeros(n) for name in ATTRIBUTES}
    for scheme in ("all", "all coarse", "age"):
        stratum, together = divide(codes, unsure, dict.fromkeys(ATTRIBUTES, 3), scheme)
        assert stratum.tolist() == [0] * n
        assert np.isfinite(together).all()


def test_a_class_that_no_resample_shows_may_still_be_there() -> None:
    sure = np.eye(3)[np.arange(200) % 2]
    found = model_shares(
        np.array([100, 100, 0]), sure, np.arange(300) % 3, np.eye(3)[np.arange(300) % 3], replicates=50
    )
    for estimates in (found.adjusted_counts, found.expectation_maximisation):
        assert estimates[2].value == pytest.approx(0, abs=1e-6)
        assert estimates[2].high == pytest.approx(wilson(0, 200)[1])
