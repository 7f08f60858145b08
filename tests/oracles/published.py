"""The published estimators in the plainest form, as ppi-python and quapy compute them.

Neither package can be a dependency here: ppi-python installs a package called ``tests`` over this one, quapy a plotting
library. These functions were compared once, in an environment of their own, with ppi-python 0.2.3
(``ppi_mean_pointestimate`` and ``ppi_mean_ci``, ``lam=1``) and quapy 0.2.3 (``EMQ.EM`` with ``epsilon=1e-12`` and
``functional.optim_minimize`` over the loss of adjusted counts); `tests.oracles.test_published` holds the figures.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from audit.estimate import FloatArray


def ppi_mean(
    labels: FloatArray, predictions: FloatArray, unlabelled: FloatArray, alpha: float = 0.05
) -> tuple[float, float, float]:
    """Return the prediction-powered mean and its interval (Angelopoulos et al. 2023), for infinite populations."""
    errors = labels - predictions
    value = float(unlabelled.mean() + errors.mean())
    spread = np.sqrt(unlabelled.var() / len(unlabelled) + errors.var() / len(errors))
    half = float(stats.norm.ppf(1 - alpha / 2) * spread)
    return value, value - half, value + half


def emq(priors: FloatArray, posteriors: FloatArray, steps: int = 1000) -> FloatArray:
    """Return shares by the steps of Saerens, Latinne and Decaestecker 2002, image by image."""
    shares = priors.copy()
    for _ in range(steps):
        updated = [row * shares / priors / (row * shares / priors).sum() for row in posteriors]
        shares = np.mean(updated, axis=0)
    return shares


def adjusted_count(matrix: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return the shares on the simplex that minimise ``‖C p − q‖²``, by sequential quadratic programming."""
    k = len(predicted)

    def loss(shares: FloatArray) -> float:
        return float(((predicted - matrix @ shares) ** 2).sum())

    found = optimize.minimize(
        loss,
        np.full(k, 1 / k),
        method="SLSQP",
        bounds=optimize.Bounds(0, 1),
        constraints=optimize.LinearConstraint(np.ones((1, k)), 1, 1),
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return np.asarray(found.x)
