"""Agreement with truth: what is said of groups that are small, empty, or of one class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.performance import (
    accuracy,
    balanced_accuracy,
    confusion,
    macro_f1,
    measure,
    measure_years,
    roc_auc,
    within_one_group,
)


def scores(truth: np.typing.NDArray[np.int64], classes: int, seed: int = 0) -> np.typing.NDArray[np.float64]:
    raw = np.random.default_rng(seed).random((len(truth), classes)) + np.eye(classes)[truth]
    shares: np.typing.NDArray[np.float64] = raw / raw.sum(axis=1, keepdims=True)
    return shares


def test_a_small_group_hides_its_size_and_an_empty_one_says_that_it_is_empty() -> None:
    truth = np.zeros(9, dtype=np.int64)
    hidden = measure(truth, truth, scores(truth, 3), ordered=True, min_cell=10)
    assert {(e.status, e.n, e.value) for e in hidden.values()} == {("suppressed", None, None)}
    empty = measure(truth[:0], truth[:0], scores(truth[:0], 3), ordered=True, min_cell=10)
    assert {(e.status, e.n) for e in empty.values()} == {("absent", 0)}
    assert set(measure_years(np.zeros(9))) == {"mae", "rmse", "bias"}


def test_a_group_of_one_class_has_an_accuracy_but_no_curve() -> None:
    truth = np.ones(20, dtype=np.int64)
    found = measure(truth, truth, scores(truth, 3), ordered=False)
    assert found["accuracy"].value == 1
    assert found["roc_auc"].status == "undefined"
    assert found["roc_auc"].reason == "only one class occurs"
    assert found["balanced_accuracy"].reason == "1 of 3 classes occur"


@pytest.mark.parametrize("metric", [balanced_accuracy, macro_f1])
def test_a_perfect_result_on_few_images_is_not_called_certain(metric: object) -> None:
    found = metric(np.diag([10, 10]))  # type: ignore[operator]
    assert found.value == 1
    assert found.low < 0.9


def test_a_perfect_ranking_of_few_images_is_not_called_certain() -> None:
    truth = np.repeat([0, 1], 8)
    found = roc_auc(truth, np.eye(2)[truth])
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low is not None
    assert found.low < 0.8


def test_within_one_group_counts_neighbours_only() -> None:
    assert within_one_group(np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0]])).value == pytest.approx(2 / 3)


def test_the_area_does_not_depend_on_the_order_of_the_images() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, 120)
    probabilities, order = scores(truth, 4), rng.permutation(120)
    first, second = roc_auc(truth, probabilities), roc_auc(truth[order], probabilities[order])
    assert first.value == pytest.approx(second.value, abs=1e-12)
    assert first.low == pytest.approx(second.low, abs=1e-12)


def test_the_interval_of_the_area_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    # Two normals one standard deviation apart: the area is Phi(1 / sqrt(2)).
    area, covered = 0.7602499389, 0
    for _ in range(300):
        truth = np.repeat([0, 1], [60, 40])
        score = rng.normal(size=100) + truth
        found = roc_auc(truth, np.column_stack([-score, score]))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= area <= found.high
    assert 0.91 <= covered / 300 <= 0.98


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(2, 9), st.integers(0, 10_000))
def test_every_metric_has_a_value_inside_its_interval_or_a_reason(n: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, classes, n), rng.integers(0, classes, n)
    probabilities = scores(truth, classes, seed)
    found = measure(truth, predicted, probabilities, ordered=True, min_cell=1, replicates=40)
    for estimate in [*found.values(), *measure_years(rng.normal(size=n), 1).values()]:
        if estimate.status == "ok":
            assert estimate.value is not None
            assert estimate.low is not None
            assert estimate.high is not None
            assert estimate.low <= estimate.value <= estimate.high
        else:
            assert estimate.reason


def test_the_confusion_matrix_has_truth_in_its_rows() -> None:
    matrix = confusion(np.array([2, 2, 0]), np.array([1, 2, 0]), 3)
    assert matrix.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    assert accuracy(matrix).value == pytest.approx(2 / 3)
