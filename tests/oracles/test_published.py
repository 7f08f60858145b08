"""Verified shares, adjusted counts and expectation–maximisation are what ppi-python and quapy compute.

The figures below came out of ppi-python 0.2.3 and quapy 0.2.3, run once on these same seeds in an environment of their
own; see `tests.oracles.published`.
"""

from __future__ import annotations

import numpy as np
import pytest

from audit.adjusted import adjusted_counts, expectation_maximisation
from audit.estimate import FloatArray
from audit.verified import Design, difference_estimator
from tests.oracles.published import adjusted_count, emq, ppi_mean

PPI = (0.52172091, 0.43547048, 0.60797135)
"""``ppi_mean_pointestimate(..., lam=1)`` and ``ppi_mean_ci(..., alpha=0.05, lam=1)``."""
EMQ = (0.0, 0.286936490, 0.713063510)
"""``EMQ.EM(..., epsilon=1e-12)``."""
ACC = {0: (0.662486, 0.0, 0.0, 0.337514), 2: (0.716788, 0.0, 0.0, 0.283212)}
"""``optim_minimize`` of the squared distance, for two seeds at which it converged."""


def sample() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return labels and predictions of 100 images out of 1000, and the predictions of all."""
    rng = np.random.default_rng(2)
    f = rng.random(1000)
    truth = (rng.random(1000) < f).astype(float)
    chosen = rng.choice(1000, 100, replace=False)
    return truth[chosen], f[chosen], f


def confusion(seed: int) -> tuple[FloatArray, FloatArray]:
    """Return how often each class (column) is predicted as each (row), and shares of predicted classes."""
    rng = np.random.default_rng(seed)
    matrix = (np.eye(4) * 3 + rng.random((4, 4))).T
    return matrix / matrix.sum(axis=0), rng.dirichlet(np.full(4, 0.5))


def test_in_one_stratum_the_verified_share_is_prediction_powered_inference() -> None:
    labels, f, everybody = sample()
    value, low, high = ppi_mean(labels, f, everybody)
    assert (value, low, high) == pytest.approx(PPI, abs=1e-8)
    design = Design(np.zeros(100, np.int64), np.array([1000]))
    pair = [np.column_stack([part, 1 - part]) for part in (labels, f)]
    mean = np.array([everybody.mean(), 1 - everybody.mean()])
    found = difference_estimator(design, pair[0], pair[1], mean)[0]
    assert found.value == pytest.approx(value, abs=1e-9)
    # Theirs takes the store for a sample of something larger, ours for all there is: its own spread is no error, and
    # the images checked are known. The divisor n - 1 is ours too.
    theirs = (labels - f).var() / 100
    assert design.variance((labels - f)[:, None])[0] == pytest.approx(theirs * 100 / 99 * (1 - 100 / 1000), abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(high - low, rel=0.1)


def test_expectation_maximisation_is_quapys() -> None:
    rng = np.random.default_rng(1)
    f, priors = rng.dirichlet(np.ones(3), 200), np.array([0.5, 0.3, 0.2])
    assert emq(priors, f) == pytest.approx(np.array(EMQ), abs=1e-8)
    assert expectation_maximisation(f, priors) == pytest.approx(emq(priors, f), abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_counts_are_quapys_or_nearer_to_the_predicted_shares(seed: int) -> None:
    matrix, predicted = confusion(seed)
    found, theirs = adjusted_counts(matrix, predicted), adjusted_count(matrix, predicted)
    if seed in ACC:
        assert found == pytest.approx(np.array(ACC[seed]), abs=1e-6)
    losses = [float(((predicted - matrix @ shares) ** 2).sum()) for shares in (found, theirs)]
    # Theirs stops when the loss hardly falls any more, ours is exact.
    assert losses[0] <= losses[1] + 1e-15
    assert found == pytest.approx(theirs, abs=1e-3)
