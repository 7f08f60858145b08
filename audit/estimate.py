"""A number with its interval and its standing, and the intervals: Wilson, exact, Student, bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Status = Literal["ok", "undefined", "absent", "suppressed"]

REPLICATES = 2000
"""Resamples of a bootstrap, enough for the ends of a 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A number, what it rests on, and whether it can be said at all.

    Parameters
    ----------
    value, low, high : float or None
        The estimate and the ends of its interval. None where there is none; ``high`` alone is None where the
        interval has no upper end.
    n : int or None
        Images it rests on; None where the count itself is withheld.
    n_eff : float or None
        The number of independent images that would carry as much information.
    status : {"ok", "undefined", "absent", "suppressed"}
        ``undefined``: the formula has no value here; ``absent``: no image in this group; ``suppressed``: too few
        images to publish.
    reason : str
        Why there is no value, or how an ``ok`` one was restricted.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int | None
    n_eff: float | None = None
    status: Status = "ok"
    reason: str = ""

    @classmethod
    def undefined(cls, n: int | None, reason: str) -> Estimate:
        """Return the estimate of something that has no value here."""
        return cls(None, None, None, n, None, "undefined", reason)

    @classmethod
    def absent(cls, reason: str = "no image in this group") -> Estimate:
        """Return the estimate for a declared group that holds no image."""
        return cls(None, None, None, 0, None, "absent", reason)

    @classmethod
    def suppressed(cls, min_cell: int) -> Estimate:
        """Return the estimate for a group too small to publish; its size is withheld as well."""
        return cls(None, None, None, None, None, "suppressed", f"fewer than {min_cell} images")


def normal_quantile(confidence: float) -> float:
    """Return z such that a standard normal lies in ±z with the given probability.

    Raises
    ------
    ValueError
        If the confidence is not strictly between 0 and 1.

    Examples
    --------
    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return float(special.ndtri(0.5 + confidence / 2))


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    ``(p + z²/2n ± z·sqrt(p(1 − p)/n + z²/4n²)) / (1 + z²/n)`` with p = successes / n (Wilson 1927, "Probable
    inference, the law of succession, and statistical inference", JASA 22:209). Unlike Wald's it keeps its
    coverage for rare classes and has a width where none was seen.

    Parameters
    ----------
    successes : float
        0 to n.
    n : float
        Images, above 0; may be an effective number, infinite where everything was seen.
    confidence : float
        Strictly between 0 and 1.

    Returns
    -------
    low, high : float
        Within 0 and 1.

    Examples
    --------
    >>> low, high = wilson(0, 100)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.037)
    """
    z = normal_quantile(confidence)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes <= 0 else (centre - half) / scale
    high = 1.0 if successes >= n else (centre + half) / scale
    return float(max(low, 0.0)), float(min(high, 1.0))


def effective_wilson(share: float, n_eff: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share that carries the information of ``n_eff`` independent images.

    Examples
    --------
    >>> effective_wilson(0.5, 100) == wilson(50, 100), effective_wilson(0.25, np.inf)
    (True, (0.25, 0.25))
    """
    if np.isinf(n_eff):
        return share, share
    low, high = wilson(share * n_eff, n_eff, confidence)
    return min(low, share), max(high, share)


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share: it covers at least as often as it says, at the price of width.

    ``low = B(α/2; k, n − k + 1)``, ``high = B(1 − α/2; k + 1, n − k)`` with B the beta quantile (Clopper and
    Pearson 1934, Biometrika 26:404).

    Examples
    --------
    >>> [round(end, 4) for end in clopper_pearson(0, 100)]
    [0.0, 0.0362]
    """
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(special.betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def simultaneous(counts: IntArray, confidence: float = 0.95) -> list[tuple[float, float]]:
    """Return intervals of a multinomial's shares that all hold at once with the given probability.

    Wilson's, each at 1 − α/K (Goodman 1965, Technometrics 7:247, in the form with Bonferroni's quantile).

    Parameters
    ----------
    counts : array of int, shape (K,)
        Images of each class, at least one in all.

    Examples
    --------
    >>> wide, narrow = simultaneous(np.array([5, 5]))[0], wilson(5, 10)
    >>> wide[0] < narrow[0] < narrow[1] < wide[1]
    True
    """
    n = int(counts.sum())
    each = 1 - (1 - confidence) / len(counts)
    return [wilson(int(count), n, each) for count in counts]


def proportion(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Return a share with Wilson's interval; ``undefined`` where n is 0.

    Examples
    --------
    >>> proportion(5, 10).value
    0.5
    >>> proportion(0, 0).status
    'undefined'
    """
    if n == 0:
        return Estimate.undefined(0, "no image was labelled")
    low, high = wilson(successes, n, confidence)
    return Estimate(successes / n, low, high, n, float(n))


def mean(values: FloatArray, confidence: float = 0.95, weights: FloatArray | None = None) -> Estimate:
    """Return a mean with Student's interval, ``x̄ ± t·s/√n``; weighted, n is Kish's effective size.

    Parameters
    ----------
    values : array of shape (n,)
        Finite numbers, in any unit.
    confidence : float
        Strictly between 0 and 1.
    weights : array of shape (n,), optional
        How many images each stands for, 0 or more.

    Examples
    --------
    >>> mean(np.array([1.0, 2.0, 3.0])).value
    2.0
    >>> mean(np.array([1.0, 2.0]), weights=np.array([3.0, 1.0])).value
    1.25
    """
    n = len(values)
    share = np.ones(n) if weights is None else weights
    n_eff = kish(share)
    if n < 2 or n_eff <= 1:
        return Estimate.undefined(n, "fewer than two images have no spread")
    centre = float(np.average(values, weights=share))
    variance = float(np.average((values - centre) ** 2, weights=share)) / (n_eff - 1)
    half = float(special.stdtrit(n_eff - 1, 0.5 + confidence / 2)) * variance**0.5
    return Estimate(centre, centre - half, centre + half, n, n_eff)


def resample(counts: IntArray | FloatArray, replicates: int, rng: np.random.Generator) -> IntArray:
    """Draw resamples of a table of counts, as resampling its rows would give, without the rows.

    Drawing n rows with replacement makes the counts multinomial(n, counts / n); so only the cells are drawn
    (Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 6).

    Parameters
    ----------
    counts : array, any shape
        Cells that together hold n > 0 images; effective numbers, rounded in all, where images are weighted.
    replicates : int
        Number of resamples, B.

    Returns
    -------
    array of shape (B, *counts.shape)
    """
    flat = counts.ravel()
    n = max(round(float(flat.sum())), 1)
    return rng.multinomial(n, flat / flat.sum(), size=replicates).reshape(replicates, *counts.shape)


def percentile_interval(
    value: float, replicates: FloatArray, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Return the percentile interval of a bootstrap, widened where needed so that it holds the value.

    Statistics that resampling pushes to one side (an entropy, a distance) can leave the value outside their own
    percentiles; an interval without its estimate would mislead.

    Parameters
    ----------
    value : float
        The estimate, finite.
    replicates : array of shape (B,)
        The statistic in each resample. NaN is left out; an infinite end is returned as None.
    confidence : float
        Strictly between 0 and 1.

    Examples
    --------
    >>> percentile_interval(50.0, np.arange(101.0), 0.5)
    (25.0, 75.0)
    """
    known = replicates[~np.isnan(replicates)]
    tail = (1 - confidence) / 2
    # An end between a finite and an infinite replicate has no value to interpolate: take the outer one.
    low = min(float(np.quantile(known, tail, method="lower")), value)
    high = max(float(np.quantile(known, 1 - tail, method="higher")), value)
    return (low if np.isfinite(low) else None), (high if np.isfinite(high) else None)


def bca_interval(
    value: float,
    replicates: FloatArray,
    jackknife: FloatArray,
    weights: FloatArray,
    confidence: float = 0.95,
) -> tuple[float | None, float | None]:
    """Return the bias-corrected and accelerated interval of a bootstrap (Efron 1987, JASA 82:171).

    Parameters
    ----------
    value : float
        The estimate.
    replicates : array of shape (B,)
        The statistic in each resample; NaN is left out.
    jackknife, weights : array of shape (m,)
        The statistic without one image, for each distinct kind of image, and how many images are of that kind.
    confidence : float
        Strictly between 0 and 1.

    Examples
    --------
    >>> symmetric = np.arange(-50.0, 51.0)
    >>> bca_interval(0.0, symmetric, np.array([-1.0, 1.0]), np.array([10.0, 10.0]), 0.5)
    (-25.0, 25.0)
    """
    known = replicates[np.isfinite(replicates)]
    below = float(((known < value).sum() + 0.5 * (known == value).sum()) / len(known))
    below = min(max(below, 0.5 / len(known)), 1 - 0.5 / len(known))
    shift = float(special.ndtri(below))
    apart = np.average(jackknife, weights=weights) - jackknife
    power = float((weights * apart**2).sum())
    acceleration = float((weights * apart**3).sum()) / (6 * power**1.5) if power > 0 else 0.0
    z = normal_quantile(confidence)
    ends = []
    for side in (-z, z):
        moved = shift + side
        tail = float(special.ndtr(shift + moved / max(1 - acceleration * moved, 1e-6)))
        ends.append(float(np.quantile(known, tail, method="nearest")))
    return min(ends[0], value), max(ends[1], value)


def resample_clusters(contributions: FloatArray, replicates: int, rng: np.random.Generator) -> FloatArray:
    """Draw resamples in which all images of one person come or go together.

    Parameters
    ----------
    contributions : array of shape (C, ...)
        What each cluster adds to a table of counts.
    replicates : int
        Number of resamples, B.

    Returns
    -------
    array of shape (B, ...)
        The table of counts in each resample of C clusters (Davison and Hinkley 1997, "Bootstrap methods and their
        application", section 3.8).

    Examples
    --------
    >>> resample_clusters(np.ones((4, 2)), 3, np.random.default_rng(0)).tolist()
    [[4.0, 4.0], [4.0, 4.0], [4.0, 4.0]]
    """
    clusters = len(contributions)
    times = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=replicates).astype(np.float64)
    drawn: FloatArray = times @ contributions.reshape(clusters, -1)
    return drawn.reshape(replicates, *contributions.shape[1:])


def kish(weights: FloatArray) -> float:
    """Return Kish's effective size, ``(Σw)² / Σw²``: how many equal weights would be as precise.

    Kish 1965, "Survey sampling", section 11.7. 0 where all weights are 0.

    Examples
    --------
    >>> kish(np.array([1.0, 1.0, 2.0])), kish(np.zeros(3))
    (2.6666666666666665, 0.0)
    """
    square = float((weights**2).sum())
    return float(weights.sum()) ** 2 / square if square > 0 else 0.0
