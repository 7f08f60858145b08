"""Whether a store looks like what the classifier was evaluated on, as far as its confidence can tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.estimate import FloatArray, IntArray

NOTABLE = 0.1
"""Distance from which on a warning is given; beyond what sampling shows at 300 images or more."""


@dataclass(frozen=True)
class Shift:
    """How far the confidences of a store lie from those of the evaluation.

    Parameters
    ----------
    distance : float
        Largest gap between the two cumulative distributions, 0 to 1 (Kolmogorov and Smirnov), with the evaluation
        weighted to the store's estimated shares.
    chance : float
        What the distance exceeds in one of twenty stores that do look like the evaluation.
    store, evaluation : float
        Mean confidence in each.
    """

    distance: float
    chance: float
    store: float
    evaluation: float

    @property
    def warning(self) -> bool:
        """Whether the model-based shares should not be trusted here."""
        return self.distance > max(NOTABLE, self.chance)


def confidence_shift(store: FloatArray, evaluation: FloatArray, truth: IntArray, shares: FloatArray) -> Shift:
    """Compare the confidences of a store with those of the evaluation data.

    Other class shares alone change the confidences; so the evaluation's images are weighted to the store's estimated
    shares first. What stays is a sign that the images themselves differ, and that the classifier may err otherwise.

    Parameters
    ----------
    store : array of shape (n, K)
        Probabilities of the store's images.
    evaluation : array of shape (m, K)
        Probabilities of the evaluation's images.
    truth : array of int, shape (m,)
        Their true classes.
    shares : array of shape (K,)
        The store's estimated shares.

    Examples
    --------
    >>> f = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> confidence_shift(f, f, np.array([0, 1]), np.array([0.5, 0.5])).distance
    0.0
    """
    evaluated = np.bincount(truth, minlength=len(shares)) / len(truth)
    weight = np.divide(shares, evaluated, out=np.zeros_like(shares), where=evaluated > 0)[truth]
    weight = weight / weight.sum() if weight.sum() > 0 else np.full(len(truth), 1 / len(truth))
    here, there = store.max(axis=1), evaluation.max(axis=1)
    order = np.argsort(there, kind="stable")
    places = np.unique(np.concatenate([here, there]))
    cumulative = np.concatenate([[0.0], np.cumsum(weight[order])])[np.searchsorted(there[order], places, "right")]
    own = np.searchsorted(np.sort(here), places, "right") / len(here)
    size = 1 / (1 / len(here) + float((weight**2).sum()))
    # 1.358 is the 95 % point of Kolmogorov's distribution.
    distance = round(float(np.abs(own - cumulative).max()), 12)
    return Shift(distance, 1.358 / size**0.5, float(here.mean()), float(weight @ there))
