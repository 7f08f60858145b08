"""How even the shares of an attribute's classes are: each statistic a pure function from counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from audit.estimate import REPLICATES, Estimate, FloatArray, IntArray, percentile_interval, resample

Statistic = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class Balance:
    """A statistic of balance beside what chance alone would show.

    Parameters
    ----------
    estimate : Estimate
        The statistic with its bootstrap interval.
    chance : float or None
        The median of the statistic in stores of the same size drawn from the target itself; None where that is
        infinite or there is no image.
    """

    estimate: Estimate
    chance: float | None


def imbalance_ratio_of(shares: FloatArray, target: FloatArray) -> FloatArray:
    """Return max p / min p along the last axis: 1 is even, infinity a class without images.

    Examples
    --------
    >>> float(imbalance_ratio_of(np.array([0.6, 0.2, 0.2]), np.full(3, 1 / 3)).round(6))
    3.0
    """
    del target
    smallest = shares.min(axis=-1)
    ratio = np.full(smallest.shape, np.inf)
    np.divide(shares.max(axis=-1), smallest, out=ratio, where=smallest > 0)
    return ratio


def effective_classes_of(shares: FloatArray, target: FloatArray) -> FloatArray:
    """Return exp(−Σ p ln p), the number of equal classes with the same entropy (Hill 1973, Ecology 54:427).

    Examples
    --------
    >>> float(effective_classes_of(np.array([0.5, 0.5, 0.0]), np.full(3, 1 / 3)).round(6))
    2.0
    """
    number: FloatArray = np.exp(_entropy(shares, target))
    return number


def evenness_of(shares: FloatArray, target: FloatArray) -> FloatArray:
    """Return −Σ p ln p / ln K: 1 is even, 0 a single class (Pielou 1966, J. Theoretical Biology 13:131).

    Examples
    --------
    >>> float(evenness_of(np.array([0.5, 0.5]), np.full(2, 1 / 2)).round(6))
    1.0
    """
    evenness: FloatArray = _entropy(shares, target) / np.log(shares.shape[-1])
    return evenness


def total_variation_of(shares: FloatArray, target: FloatArray) -> FloatArray:
    """Return ½ Σ |p − t|: the share of images that would have to be replaced to reach the target.

    Examples
    --------
    >>> float(total_variation_of(np.array([0.75, 0.25]), np.full(2, 1 / 2)))
    0.25
    """
    distance: FloatArray = 0.5 * np.abs(shares - target).sum(axis=-1)
    return distance


def _entropy(shares: FloatArray, target: FloatArray) -> FloatArray:
    del target
    logs = np.zeros_like(shares)
    np.log(shares, out=logs, where=shares > 0)
    entropy: FloatArray = -(shares * logs).sum(axis=-1)
    return entropy


STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "imbalance_ratio": imbalance_ratio_of,
        "evenness": evenness_of,
        "effective_classes": effective_classes_of,
        "total_variation": total_variation_of,
    }
)
"""Every statistic by its name in audit.json, as a function of shares (..., K) and target (K,)."""


def measure(
    name: str,
    counts: IntArray,
    target: tuple[float, ...],
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Balance:
    """Return one of `STATISTICS` with a bootstrap interval and the value of chance alone.

    Parameters
    ----------
    name : str
        A key of `STATISTICS`.
    counts : array of int, shape (K,)
        Images of each declared class, the empty ones included; K is 2 or more.
    target : tuple of length K
        Shares wanted, summing to 1.
    confidence : float
        Strictly between 0 and 1.
    replicates, seed : int
        Resamples of the bootstrap, and where its random numbers begin.

    Examples
    --------
    >>> even = measure("evenness", np.array([500, 500]), (0.5, 0.5))
    >>> even.estimate.value
    1.0
    >>> measure("imbalance_ratio", np.array([10, 0]), (0.5, 0.5)).estimate.reason
    'infinite: a class has no image'
    """
    n = int(counts.sum())
    if n == 0:
        return Balance(Estimate.undefined(0, "no image was labelled"), None)
    statistic, wanted = STATISTICS[name], np.asarray(target)
    rng = np.random.default_rng(seed)
    chance = float(np.median(statistic(rng.multinomial(n, wanted, size=replicates) / n, wanted)))
    value = float(statistic(counts / n, wanted))
    expected = chance if np.isfinite(chance) else None
    if not np.isfinite(value):
        return Balance(Estimate.undefined(n, "infinite: a class has no image"), expected)
    low, high = percentile_interval(value, statistic(resample(counts, replicates, rng) / n, wanted), confidence)
    return Balance(Estimate(value, low, high, n, float(n)), expected)


def of_shares(
    name: str, shares: FloatArray, replicates: FloatArray, target: FloatArray, n: int, confidence: float = 0.95
) -> Estimate:
    """Return one of `STATISTICS` from estimated shares and their bootstrap replicates.

    Parameters
    ----------
    name : str
        A key of `STATISTICS`.
    shares : array of shape (K,)
        Adding to 1.
    replicates : array of shape (B, K)
        The same in resamples.
    target : array of shape (K,)
        Shares wanted.
    n : int
        Images that they rest on.

    Examples
    --------
    >>> even = np.array([0.5, 0.5])
    >>> of_shares("evenness", even, np.array([even]), even, 10).value
    1.0
    """
    value = float(STATISTICS[name](shares, target))
    if not np.isfinite(value):
        return Estimate.undefined(n, "infinite: a class has no image")
    low, high = percentile_interval(value, STATISTICS[name](replicates, target), confidence)
    return Estimate(value, low, high, n, float(n))
