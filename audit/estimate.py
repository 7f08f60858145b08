"""A number with its interval and its standing, and the intervals: Wilson, Student, percentile bootstrap."""

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
        Images, above 0; may be an effective number.
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


def mean(values: FloatArray, confidence: float = 0.95) -> Estimate:
    """Return a mean with Student's interval, ``x̄ ± t·s/√n``.

    Parameters
    ----------
    values : array of shape (n,)
        Finite numbers, in any unit.
    confidence : float
        Strictly between 0 and 1.

    Examples
    --------
    >>> mean(np.array([1.0, 2.0, 3.0])).value
    2.0
    """
    n = len(values)
    if n < 2:
        return Estimate.undefined(n, "fewer than two images have no spread")
    centre = float(values.mean())
    half = float(special.stdtrit(n - 1, 0.5 + confidence / 2)) * float(values.std(ddof=1)) / n**0.5
    return Estimate(centre, centre - half, centre + half, n, float(n))


def resample(counts: IntArray, replicates: int, rng: np.random.Generator) -> IntArray:
    """Draw resamples of a table of counts, as resampling its rows would give, without the rows.

    Drawing n rows with replacement makes the counts multinomial(n, counts / n); so only the cells are drawn
    (Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 6).

    Parameters
    ----------
    counts : array of int, any shape
        Cells that together hold n > 0 images.
    replicates : int
        Number of resamples, B.

    Returns
    -------
    array of shape (B, *counts.shape)
    """
    flat = counts.ravel()
    n = int(flat.sum())
    return rng.multinomial(n, flat / n, size=replicates).reshape(replicates, *counts.shape)


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
