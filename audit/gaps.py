"""How far groups lie apart: spreads with what chance alone would give, and each group against the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from audit.estimate import REPLICATES, Estimate, FloatArray, IntArray, bca_interval, percentile_interval, wilson
from audit.significance import benjamini_hochberg, holm, newcombe, two_shares


@dataclass(frozen=True)
class Gap:
    """A statistic across groups beside the median that it would have if all groups were alike."""

    estimate: Estimate
    chance: float | None


@dataclass(frozen=True)
class Comparison:
    """One group's accuracy minus that of all other images, with its p-value alone and among its family."""

    estimate: Estimate
    p_value: float | None
    p_adjusted: float | None
    adjustment: str


def mean_of(shares: FloatArray) -> FloatArray:
    """Return the mean over the groups, each counting once, along the last axis."""
    return np.asarray(shares.mean(axis=-1))


def deviation_of(shares: FloatArray) -> FloatArray:
    """Return the standard deviation over the groups (divisor G, since these are all the groups).

    Examples
    --------
    >>> float(deviation_of(np.array([0.8, 1.0])).round(6))
    0.1
    """
    return np.asarray(shares.std(axis=-1))


def spread_of(shares: FloatArray) -> FloatArray:
    """Return max − min over the groups.

    Examples
    --------
    >>> float(spread_of(np.array([0.5, 0.75, 1.0])))
    0.5
    """
    return np.asarray(shares.max(axis=-1) - shares.min(axis=-1))


def worst_of(shares: FloatArray) -> FloatArray:
    """Return the lowest accuracy of a group."""
    return np.asarray(shares.min(axis=-1))


def error_ratio_of(shares: FloatArray) -> FloatArray:
    """Return the largest error of a group over the geometric mean of the groups' errors; NaN where one has none.

    The fairness measure of the face-recognition vendor test (Grother 2022, NIST IR 8429).

    Examples
    --------
    >>> float(error_ratio_of(np.array([0.9, 0.6])).round(6))
    2.0
    """
    errors = 1 - shares
    whole = (errors > 0).all(axis=-1)
    logs = np.log(np.where(errors > 0, errors, 1.0)).mean(axis=-1)
    return np.asarray(np.where(whole, errors.max(axis=-1) / np.exp(logs), np.nan))


STATISTICS: Mapping[str, Callable[[FloatArray], FloatArray]] = MappingProxyType(
    {
        "group_mean": mean_of,
        "group_deviation": deviation_of,
        "spread": spread_of,
        "worst_group": worst_of,
        "error_ratio": error_ratio_of,
    }
)
"""Every statistic across groups by its name in audit.json, as a function of accuracies (..., G)."""


def across(
    right: FloatArray, n: FloatArray, confidence: float = 0.95, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Gap]:
    """Return every statistic of `STATISTICS` over groups, with a bias-corrected and accelerated interval.

    Parameters
    ----------
    right, n : array of shape (G,)
        Images labelled right and images of each group; effective numbers where images are weighted, n at least 1.
    confidence : float
        Strictly between 0 and 1.
    replicates, seed : int
        Resamples of each group, and where the random numbers begin.

    Examples
    --------
    >>> gaps = across(np.array([90.0, 60.0]), np.array([100.0, 100.0]))
    >>> round(gaps["spread"].estimate.value or 0, 6), gaps["spread"].chance < 0.1
    (0.3, True)
    """
    images = round(float(n.sum()))
    if len(n) < 2:
        reason = "fewer than two groups have enough images"
        return {name: Gap(Estimate.undefined(images, reason), None) for name in STATISTICS}
    rng = np.random.default_rng(seed)
    size = np.maximum(np.rint(n), 1).astype(np.int64)
    shares = right / n
    drawn = rng.binomial(size, np.clip(shares, 0, 1), size=(replicates, len(n))) / size
    alike = rng.binomial(size, float(np.clip(right.sum() / n.sum(), 0, 1)), size=(replicates, len(n))) / size
    jackknife, weights = _jackknife(shares, size)
    found = {}
    for name, statistic in STATISTICS.items():
        value = float(statistic(shares))
        expected = statistic(alike)
        known = expected[~np.isnan(expected)]
        chance = float(np.median(known)) if len(known) else None
        draws = statistic(drawn)
        if np.isnan(value) or np.isnan(draws).all():
            found[name] = Gap(Estimate.undefined(images, "a group has no error, so there is no ratio"), chance)
            continue
        without = statistic(jackknife)
        usable = ~np.isnan(without)
        low, high = bca_interval(value, draws, without[usable], weights[usable], confidence)
        found[name] = Gap(Estimate(value, low, high, images, float(n.sum())), chance)
    return found


def _jackknife(shares: FloatArray, n: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the shares without one image, for a right and a wrong one of each group, and how many there are."""
    groups = len(n)
    rows = np.repeat(shares[None], 2 * groups, axis=0)
    right = shares * n
    rest = np.maximum(n - 1, 1)
    index = np.arange(groups)
    rows[index, index] = np.clip((right - 1) / rest, 0, 1)
    rows[groups + index, index] = np.clip(right / rest, 0, 1)
    return rows, np.concatenate([right, n - right])


def equalised_odds_of(tensor: FloatArray) -> FloatArray:
    """Return the largest gap between groups in how often a class is found, or wrongly given.

    ``max_k max(spread_g P(pred = k | true = k), spread_g P(pred = k | true ≠ k))``, over groups in which the rate is
    defined: for two classes the equalised-odds difference (Hardt, Price and Srebro 2016, NeurIPS), for more its largest
    one-against-the-rest value. Takes (..., G, K, K), row = true class.

    Examples
    --------
    >>> float(equalised_odds_of(np.array([[[8.0, 2.0], [1.0, 9.0]], [[8.0, 2.0], [4.0, 6.0]]])).round(6))
    0.3
    """
    support = tensor.sum(axis=-1)
    predicted = tensor.sum(axis=-2)
    found = np.diagonal(tensor, axis1=-2, axis2=-1)
    others = support.sum(axis=-1, keepdims=True) - support
    gaps = [_spread_where(found, support), _spread_where(predicted - found, others)]
    return np.asarray(np.maximum(*gaps).max(axis=-1))


def _spread_where(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Return max − min of part / whole over the groups (second last axis) in which whole is not 0."""
    rate = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    top = np.where(whole > 0, rate, -np.inf).max(axis=-2)
    bottom = np.where(whole > 0, rate, np.inf).min(axis=-2)
    return np.where(np.isfinite(top), top - bottom, 0.0)


def equalised_odds(tensor: FloatArray, confidence: float = 0.95, replicates: int = REPLICATES, seed: int = 0) -> Gap:
    """Return the equalised-odds difference with a bootstrap interval, and what groups alike in errors would show.

    Parameters
    ----------
    tensor : array of shape (G, K, K)
        Confusion matrix of each group, row = true class; effective numbers where images are weighted.
    """
    images = round(float(tensor.sum()))
    if len(tensor) < 2:
        return Gap(Estimate.undefined(images, "fewer than two groups have enough images"), None)
    rng = np.random.default_rng(seed)
    drawn, alike = (np.empty((replicates, *tensor.shape)) for _ in range(2))
    pooled = tensor.sum(axis=0)
    rates = pooled / np.maximum(pooled.sum(axis=1, keepdims=True), 1e-300)
    for g, matrix in enumerate(tensor):
        n = max(round(float(matrix.sum())), 1)
        drawn[:, g] = rng.multinomial(n, (matrix / matrix.sum()).ravel(), replicates).reshape(-1, *matrix.shape)
        for k, size in enumerate(np.rint(matrix.sum(axis=1)).astype(np.int64).tolist()):
            alike[:, g, k] = rng.multinomial(size, rates[k], replicates) if size else 0
    value = float(equalised_odds_of(tensor))
    low, high = percentile_interval(value, equalised_odds_of(drawn), confidence)
    chance = float(np.median(equalised_odds_of(alike)))
    return Gap(Estimate(value, low, high, images, float(images)), chance)


def against_the_rest(
    right: FloatArray,
    n: FloatArray,
    other_right: FloatArray,
    other_n: FloatArray,
    *,
    exploratory: bool,
    confidence: float = 0.95,
) -> list[Comparison]:
    """Return each group's accuracy minus that of all other images.

    Interval: Newcombe's. p-value: pooled score test; adjusted over the groups by Holm, or by Benjamini and Hochberg
    where the family is exploratory.

    Parameters
    ----------
    right, n : array of shape (G,)
        Images labelled right and images of each group with enough images; effective numbers where they are weighted.
    other_right, other_n : array of shape (G,)
        The same of all images that are not in the group. Effective numbers do not add up, so these are no differences.

    Examples
    --------
    >>> group, rest = (np.array([90.0]), np.array([100.0])), (np.array([60.0]), np.array([100.0]))
    >>> found = against_the_rest(*group, *rest, exploratory=False)
    >>> round(found[0].estimate.value or 0, 6), found[0].adjustment
    (0.3, 'holm')
    """
    adjustment = "benjamini_hochberg" if exploratory else "holm"
    p_values, effects = [], []
    for hits, size, other_hits, other in zip(
        right.tolist(), n.tolist(), other_right.tolist(), other_n.tolist(), strict=True
    ):
        if other < 1:
            p_values.append(1.0)
            effects.append(Estimate.undefined(round(size), "no other image to compare with"))
            continue
        p_values.append(two_shares(hits, size, other_hits, other))
        first = (hits / size, *wilson(hits, size, confidence))
        second = (other_hits / other, *wilson(other_hits, other, confidence))
        effects.append(Estimate(*newcombe(first, second), round(size), size))
    adjusted = (benjamini_hochberg if exploratory else holm)(np.array(p_values))
    return [
        Comparison(effect, p if effect.status == "ok" else None, q if effect.status == "ok" else None, adjustment)
        for effect, p, q in zip(effects, p_values, adjusted.tolist(), strict=True)
    ]
