"""How even the shares of an attribute's classes are: each statistic a pure function from counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from audit.estimate import REPLICATES, Estimate, FloatArray, IntArray, resample, wilson

Statistic = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class Balance:
    """A statistic of balance beside what chance alone would show.

    Parameters
    ----------
    estimate : Estimate
        The statistic with its interval.
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
    """Return one of `STATISTICS` with its interval, as `of_shares` says, and the value of chance alone.

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
    draws = resample(counts, replicates, rng) / n
    ends = np.array([wilson(int(count), n, confidence) for count in counts])
    return Balance(
        of_shares(name, counts / n, draws, ends, wanted, n, confidence), chance if np.isfinite(chance) else None
    )


def of_shares(
    name: str,
    shares: FloatArray,
    replicates: FloatArray,
    ends: FloatArray,
    target: FloatArray,
    n: int,
    confidence: float = 0.95,
) -> Estimate:
    """Return one of `STATISTICS` from estimated shares, with an interval.

    The imbalance ratio lies between the ratio of the largest class's lower end to the smallest one's upper end and the
    ratio of the largest upper end to the smallest lower one. The others look less even than the store is, by chance
    alone, and their resamples less even once more: from the percentile on the even side twice the bias is taken, which
    resampling measures, and every interval reaches to the most even value where shares at that value would, by chance,
    be found as uneven as often as the confidence allows.

    Parameters
    ----------
    name : str
        A key of `STATISTICS`.
    shares : array of shape (K,)
        Adding to 1.
    replicates : array of shape (B, K)
        The same in resamples.
    ends : array of shape (K, 2)
        The intervals of the shares.
    target : array of shape (K,)
        Shares wanted.
    n : int
        Images that they rest on.

    Examples
    --------
    >>> even = np.array([0.5, 0.5])
    >>> of_shares("evenness", even, np.array([even]), np.array([[0.4, 0.6]] * 2), even, 10).value
    1.0
    """
    value = float(STATISTICS[name](shares, target))
    if not np.isfinite(value):
        return Estimate.undefined(n, "infinite: a class has no image")
    low, high = _ratio_interval(ends) if name == "imbalance_ratio" else _shifted(name, replicates, target, confidence)
    best = float(STATISTICS[name](_most_even(name, target), target))
    if abs(value - best) <= _by_chance(name, replicates, target, confidence):
        low, high = min(low, best), (None if high is None else max(high, best))
    return Estimate(value, min(low, value), None if high is None else max(high, value), n, float(n))


def _most_even(name: str, target: FloatArray) -> FloatArray:
    """Return the shares from which a statistic says how far others lie."""
    return target if name == "total_variation" else np.full(len(target), 1 / len(target))


def _by_chance(name: str, replicates: FloatArray, target: FloatArray, confidence: float) -> float:
    """Return how far from its most even value a statistic comes by chance where the shares are at that value."""
    statistic, aim = STATISTICS[name], _most_even(name, target)
    drawn = np.clip(aim + replicates - replicates.mean(axis=0), 0.0, None)
    off = np.abs(statistic(drawn / drawn.sum(axis=1, keepdims=True), target) - statistic(aim, target))
    return float(np.quantile(off, 0.5 + confidence / 2, method="higher"))


def _ratio_interval(ends: FloatArray) -> tuple[float, float | None]:
    """Return between which ratios of the largest to the smallest share those lie that the intervals allow."""
    lows, highs = ends.T
    low = max(1.0, float(lows.max() / highs.min()))
    return low, (float(highs.max() / lows.min()) if lows.min() > 0 else None)


def _shifted(name: str, replicates: FloatArray, target: FloatArray, confidence: float) -> tuple[float, float]:
    """Return the percentiles of a bootstrap, that on the even side less twice the bias that it shows.

    The bias shrinks the less even the shares are, so that the other end stays where it is.
    """
    statistic, tail = STATISTICS[name], (1 - confidence) / 2
    drawn = statistic(replicates, target)
    bias = float(drawn.mean() - statistic(replicates.mean(axis=0), target))
    low, high = (float(np.quantile(drawn, share)) for share in (tail, 1 - tail))
    if name == "total_variation":
        return max(low - 2 * bias, 0.0), high
    return low, min(high - 2 * bias, float(len(target)) if name == "effective_classes" else 1.0)
