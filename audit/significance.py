"""Tests of several claims at once, and of equivalence: adjusted p-values that go with an effect and its interval."""

from __future__ import annotations

import numpy as np
from scipy import special

from audit.estimate import FloatArray, normal_quantile


def holm(p_values: FloatArray) -> FloatArray:
    """Return p-values adjusted so that the chance of any false claim among them stays below the level.

    The i-th smallest of m is multiplied by m − i + 1 and never falls below the one before it (Holm 1979,
    Scandinavian Journal of Statistics 6:65).

    Parameters
    ----------
    p_values : array of shape (m,)
        Each 0 to 1.

    Examples
    --------
    >>> [round(p, 6) for p in holm(np.array([0.01, 0.04, 0.03])).tolist()]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def benjamini_hochberg(p_values: FloatArray) -> FloatArray:
    """Return p-values adjusted so that the expected share of false claims among those made stays below the level.

    The i-th smallest of m is multiplied by m / i and never exceeds the one after it (Benjamini and Hochberg 1995,
    JRSS B 57:289).

    Parameters
    ----------
    p_values : array of shape (m,)
        Each 0 to 1.

    Examples
    --------
    >>> [round(p, 6) for p in benjamini_hochberg(np.array([0.01, 0.04, 0.03])).tolist()]
    [0.03, 0.04, 0.04]
    """
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * m / np.arange(1, m + 1)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def equivalence(difference: float, error: float, margin: float) -> float:
    """Return the p-value of two one-sided tests: small where the difference lies within ±margin.

    ``max(Φ((d − δ)/se), 1 − Φ((d + δ)/se))`` (Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15:657).

    Parameters
    ----------
    difference, error : float
        The estimate of the difference, and its standard error (0 where everything was seen).
    margin : float
        Above 0, in the same unit.

    Examples
    --------
    >>> equivalence(0.0, 0.01, 0.05) < 0.001, equivalence(0.05, 0.01, 0.05)
    (True, 0.5)
    """
    if error == 0:
        return 0.0 if abs(difference) < margin else 1.0
    upper = float(special.ndtr((difference - margin) / error))
    lower = float(special.ndtr(-(difference + margin) / error))
    return max(upper, lower)


def two_shares(right: float, n: float, other_right: float, other_n: float) -> float:
    """Return the two-sided p-value that two independent shares are equal: the pooled score test.

    ``z = (p₁ − p₂) / sqrt(p(1 − p)(1/n₁ + 1/n₂))`` with the pooled p (Agresti 2013, "Categorical data analysis",
    section 3.2).

    Parameters
    ----------
    right, other_right : float
        Successes on either side.
    n, other_n : float
        Images on either side, above 0; may be effective numbers.

    Examples
    --------
    >>> two_shares(5, 10, 50, 100)
    1.0
    """
    pooled = (right + other_right) / (n + other_n)
    spread = pooled * (1 - pooled) * (1 / n + 1 / other_n)
    if spread <= 0:
        return 1.0
    z = (right / n - other_right / other_n) / spread**0.5
    return float(2 * special.ndtr(-abs(z)))


def newcombe(first: tuple[float, float, float], second: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the difference of two independent shares with its interval, from each share and its Wilson interval.

    ``d − sqrt((p₁ − l₁)² + (u₂ − p₂)²)`` to ``d + sqrt((u₁ − p₁)² + (p₂ − l₂)²)`` (Newcombe 1998, Statistics in
    Medicine 17:873, method 10).

    Parameters
    ----------
    first, second : (value, low, high)

    Examples
    --------
    >>> [round(end, 3) for end in newcombe((0.5, 0.4, 0.6), (0.5, 0.4, 0.6))]
    [0.0, -0.141, 0.141]
    """
    p1, l1, u1 = first
    p2, l2, u2 = second
    difference = p1 - p2
    low = difference - ((p1 - l1) ** 2 + (u2 - p2) ** 2) ** 0.5
    high = difference + ((u1 - p1) ** 2 + (p2 - l2) ** 2) ** 0.5
    return difference, low, high


def cohen_kappa(table: FloatArray) -> float | None:
    """Return how far two annotators agree beyond chance, ``(p_o − p_e) / (1 − p_e)``; None where it has no value.

    Cohen 1960, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20:37.

    Parameters
    ----------
    table : array of shape (K, K)
        Images by the class that each of the two gave.

    Examples
    --------
    >>> cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]]))
    0.4
    """
    n = table.sum()
    if n == 0:
        return None
    expected = float((table.sum(axis=0) * table.sum(axis=1)).sum() / n**2)
    if expected == 1:
        return None
    return round((float(np.trace(table) / n) - expected) / (1 - expected), 12)


def critical(confidence: float, claims: int) -> float:
    """Return the normal quantile for intervals that hold all at once, each at 1 − α/m (Bonferroni).

    For the shares of one multinomial these are Goodman's intervals (1965, Technometrics 7:247).

    Examples
    --------
    >>> round(critical(0.95, 5), 4)
    2.5758
    """
    return normal_quantile(1 - (1 - confidence) / claims)
