"""Adjusted counts and expectation–maximisation against their definitions and against a truth that is known."""

from __future__ import annotations

import numpy as np
import pytest

from audit.adjusted import adjusted_counts, model_shares


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_counts_are_the_constrained_least_squares_solution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = 4
    matrix = (np.eye(k) * 3 + rng.random((k, k))).T
    matrix /= matrix.sum(axis=0)
    q = rng.dirichlet(np.full(k, 0.5))
    found = adjusted_counts(matrix, q)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    simplex = rng.dirichlet(np.full(k, 0.7), 4000)
    errors = ((simplex @ matrix.T - q) ** 2).sum(axis=1)
    assert ((matrix @ found - q) ** 2).sum() <= errors.min() + 1e-12


def test_adjusted_counts_invert_the_confusion_where_the_result_is_a_share() -> None:
    matrix, truth = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.1, 0.2, 0.7]]), np.array([0.2, 0.5, 0.3])
    assert adjusted_counts(matrix, matrix @ truth) == pytest.approx(truth, abs=1e-9)


def test_both_model_based_methods_recover_another_make_up() -> None:
    rng = np.random.default_rng(3)

    def images(n: int, mix: list[float]) -> tuple[np.typing.NDArray[np.int64], np.typing.NDArray[np.float64]]:
        truth = rng.choice(3, n, p=mix)
        score = rng.normal(size=(n, 3)) + 2 * np.eye(3)[truth]
        # The posterior under even priors, for which these scores are made.
        odds = np.exp(2 * score)
        return truth, odds / odds.sum(axis=1, keepdims=True)

    truth, evaluated = images(3000, [1 / 3] * 3)
    _, store = images(4000, [0.7, 0.2, 0.1])
    counts = np.bincount(store.argmax(axis=1), minlength=3)
    found = model_shares(counts, store, truth, evaluated, replicates=30)
    for estimates in (found.adjusted_counts, found.expectation_maximisation):
        assert [e.value for e in estimates] == pytest.approx([0.7, 0.2, 0.1], abs=0.03)
    assert found.disagreement < 0.03
