"""How two attributes go together: Cramér's V over all their cells, normalised pointwise mutual information in each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from audit.estimate import Estimate, FloatArray, IntArray, percentile_interval, resample


def cramers_v_of(joint: FloatArray) -> FloatArray:
    """Return Cramér's V of tables of shares, shape (..., R, C): 0 is independent, 1 fully bound.

    ``sqrt(φ² / (min(R, C) − 1))`` with ``φ² = Σ p²_ab / (p_a p_b) − 1`` over the rows and columns in use (Cramér 1946,
    "Mathematical methods of statistics", section 21.9). NaN where one row or column alone is in use.

    Examples
    --------
    >>> float(cramers_v_of(np.array([[0.5, 0.0], [0.0, 0.5]])))
    1.0
    """
    rows, columns = joint.sum(axis=-1, keepdims=True), joint.sum(axis=-2, keepdims=True)
    independent = rows * columns
    ratio = np.divide(joint**2, independent, out=np.zeros_like(joint), where=independent > 0)
    square = np.maximum(ratio.sum(axis=(-2, -1)) - 1, 0.0)
    used = np.minimum((rows[..., 0] > 0).sum(axis=-1), (columns[..., 0, :] > 0).sum(axis=-1)) - 1
    value = np.sqrt(np.divide(square, used, out=np.full(square.shape, np.nan), where=used > 0))
    return np.asarray(np.minimum(value, 1.0))


def npmi_of(joint: FloatArray) -> FloatArray:
    """Return ``ln(p_ab / p_a p_b) / −ln p_ab`` of each cell of tables of shares, shape (..., R, C).

    −1: never together; 0: as by chance; 1: never apart (Bouma 2009, "Normalized (pointwise) mutual information in
    collocation extraction"). NaN where a row or column is empty, or one cell holds everything.

    Examples
    --------
    >>> npmi_of(np.array([[0.5, 0.0], [0.0, 0.5]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    rows, columns = joint.sum(axis=-1, keepdims=True), joint.sum(axis=-2, keepdims=True)
    independent = np.broadcast_to(rows * columns, joint.shape)
    seen = (joint > 0) & (joint < 1)
    logs = np.log(np.where(seen, joint, 0.5))
    apart = logs - np.log(np.where(independent > 0, independent, 0.5))
    value = np.where(seen, apart / -logs, np.where((joint == 0) & (independent > 0), -1.0, np.nan))
    return np.asarray(value)


def cramers_v(joint: FloatArray, n_eff: float, n: int, confidence: float = 0.95) -> Estimate:
    """Return Cramér's V without what chance adds to it, with an interval.

    Where two attributes are independent, φ² of n images is (R − 1)(C − 1) / n on average. That is taken off, and what
    is left is 0 at least (Bergsma 2013, Journal of the Korean Statistical Society 42:323). n φ² follows about a
    noncentral χ² distribution; the interval's ends are the noncentralities for which the one observed would be as
    extreme as the confidence says (Smithson 2003, "Confidence intervals", chapter 4), the upper one at least what it
    would be had chance alone been seen. Percentiles of a bootstrap lie too high: resampling adds chance once more.

    Parameters
    ----------
    joint : array of shape (R, C)
        Shares of the cells.
    n_eff : float
        Independent images that carry the same information; infinite where nothing is left to chance.
    n : int
        Images.
    confidence : float
        Strictly between 0 and 1.

    Examples
    --------
    >>> found = cramers_v(np.array([[0.30, 0.20], [0.20, 0.30]]), 400, 400)
    >>> [round(number, 3) for number in (found.value, found.low, found.high)]
    [0.194, 0.102, 0.298]
    """
    plain = float(cramers_v_of(joint))
    if np.isnan(plain):
        return Estimate.undefined(n, "fewer than two classes of one attribute occur")
    if np.isinf(n_eff):
        return Estimate(plain, plain, plain, n)
    rows, columns = (int((joint.sum(axis=axis) > 0).sum()) - 1 for axis in (1, 0))
    freedom, used = rows * columns, min(rows, columns)
    square, tail = n_eff * plain**2 * used, (1 - confidence) / 2
    ends = (
        max(square - freedom, 0.0),
        _noncentrality(square, freedom, 1 - tail),
        _noncentrality(max(square, freedom), freedom, tail),
    )
    value, low, high = (min((end / (n_eff * used)) ** 0.5, 1.0) for end in ends)
    return Estimate(value, min(low, value), max(high, value), n, n_eff)


def _noncentrality(square: float, freedom: int, probability: float) -> float:
    """Return for which noncentrality a χ² variable stays below a square with a probability; 0 where for none."""
    if special.chndtr(square, freedom, 0.0) < probability:
        return 0.0
    return float(special.chndtrinc(square, freedom, probability))


def effective_images(joint: FloatArray, variance: Callable[[FloatArray], FloatArray], errors: FloatArray) -> float:
    """Return how many independent images would leave as much of φ² to chance as an estimated table does.

    φ² is on average too large by ``Σ V(d_ab) / (p_a p_b)``, d_ab the error of ``p_ab − p_a p_b``, to first order
    ``e_ab − p_b e_a − p_a e_b``; a simple random sample of n by (R − 1)(C − 1) / n. So their ratio is a mean design
    effect (Rao and Scott 1981, JASA 76:221).

    Parameters
    ----------
    joint : array of shape (R, C)
        Estimated shares of the cells, adding to 1.
    variance : callable
        From values of the sampled images, shape (n, K), to the variances, shape (K,), of their estimated means in the
        population, such as `audit.verified.Design.variance`.
    errors : array of shape (n, R, C)
        What each sampled image adds to the cells beyond what was known before.

    Returns
    -------
    float
        Infinite where nothing is left to chance.
    """
    total = errors.sum(axis=(1, 2))
    errors = errors - total[:, None, None] * joint
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    apart = errors - errors.sum(axis=2)[:, :, None] * columns - rows[:, None] * errors.sum(axis=1)[:, None, :]
    variances = variance(apart.reshape(len(apart), -1)).reshape(joint.shape)
    independent = np.outer(rows, columns)
    bias = float(np.divide(variances, independent, out=np.zeros_like(variances), where=independent > 0).sum())
    freedom = ((rows > 0).sum() - 1) * ((columns > 0).sum() - 1)
    return float(freedom / bias) if bias > 0 else float("inf")


def npmi(joint: FloatArray, replicates: FloatArray, n: int, confidence: float = 0.95) -> list[Estimate]:
    """Return the normalised pointwise mutual information of each cell, row by row, with percentile intervals.

    Parameters
    ----------
    joint, replicates, n
        As `cramers_v` takes them.
    """
    values, draws = npmi_of(joint).ravel(), npmi_of(replicates).reshape(len(replicates), -1)
    found = []
    for cell, value in enumerate(values.tolist()):
        if np.isnan(value):
            found.append(Estimate.undefined(n, "a class of this pair does not occur"))
        else:
            found.append(Estimate(value, *percentile_interval(value, draws[:, cell], confidence), n, float(n)))
    return found


def resampled_shares(joint: IntArray, replicates: int, seed: int) -> FloatArray:
    """Return multinomial resamples of a table of counts as shares, shape (B, R, C)."""
    return np.asarray(resample(joint, replicates, np.random.default_rng(seed)) / joint.sum())
