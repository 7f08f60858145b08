"""Metrics against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from training.metrics import (
    Scored,
    balanced_accuracy,
    calibration_error,
    chance_calibration_error,
    fit_temperature,
    macro_f1,
    roc_auc,
    wilson,
)


def random_scored(seed: int, n: int = 200, classes: int = 4) -> Scored:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[truth]
    powers = np.exp(logits)
    return Scored(truth, powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (3, 7), (1, 1000), (640, 1000)])
def test_the_score_interval_is_the_one_of_scipy(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    scored = random_scored(seed)
    assert balanced_accuracy(scored) == pytest.approx(metrics.balanced_accuracy_score(scored.truth, scored.predicted))
    assert macro_f1(scored) == pytest.approx(metrics.f1_score(scored.truth, scored.predicted, average="macro"))
    assert roc_auc(scored) == pytest.approx(
        metrics.roc_auc_score(scored.truth, scored.probabilities, multi_class="ovr")
    )


def test_one_class_alone_has_no_roc_curve() -> None:
    assert np.isnan(roc_auc(Scored(np.zeros(4, np.int64), np.full((4, 2), 0.5))))


def test_the_temperature_that_spoiled_logits_is_found_again() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), 20_000)
    truth = np.array([rng.choice(5, p=row) for row in probabilities])
    assert fit_temperature(np.log(probabilities) * 3.0, truth) == pytest.approx(3.0, rel=0.05)


def test_calibration_error_is_0_for_calibrated_and_large_for_boastful_probabilities() -> None:
    truth = np.array([0, 0, 0, 1] * 25)
    assert calibration_error(Scored(truth, np.tile([0.75, 0.25], (100, 1)))) == pytest.approx(0.0)
    assert calibration_error(Scored(truth, np.tile([1.0, 0.0], (100, 1)))) == pytest.approx(0.25)


def test_chance_alone_shows_the_calibration_error_that_calibrated_classifiers_have() -> None:
    rng = np.random.default_rng(5)
    powers = np.exp(rng.normal(size=(400, 5)))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    mean, below = chance_calibration_error(Scored(np.zeros(400, np.int64), probabilities))
    drawn = [
        calibration_error(Scored(np.array([rng.choice(5, p=row) for row in probabilities]), probabilities))
        for _ in range(60)
    ]
    assert mean == pytest.approx(np.mean(drawn), abs=4 * float(np.std(drawn)) / 60**0.5)
    assert 0.8 <= np.mean(np.array(drawn) <= below) <= 1.0
    certain = Scored(np.zeros(9, np.int64), np.tile([1.0, 0.0], (9, 1)))
    assert chance_calibration_error(certain) == (0.0, 0.0)
