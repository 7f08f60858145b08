"""How two attributes go together: Cramér's V over all their cells, normalised pointwise mutual information in each."""

from __future__ import annotations

import numpy as np

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


def cramers_v(joint: FloatArray, replicates: FloatArray, n: int, confidence: float = 0.95) -> Estimate:
    """Return Cramér's V with a percentile interval.

    Parameters
    ----------
    joint : array of shape (R, C)
        Shares of the cells.
    replicates : array of shape (B, R, C)
        The same in resamples.
    n : int
        Images.
    """
    value = float(cramers_v_of(joint))
    if np.isnan(value):
        return Estimate.undefined(n, "fewer than two classes of one attribute occur")
    return Estimate(value, *percentile_interval(value, cramers_v_of(replicates), confidence), n, float(n))


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


def chance_v(joint: IntArray, replicates: int, seed: int) -> float | None:
    """Return the median of Cramér's V in stores of this size in which the two attributes are independent."""
    n = int(joint.sum())
    if n == 0:
        return None
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0)) / n**2
    draws = np.random.default_rng(seed).multinomial(n, independent.ravel() / independent.sum(), size=replicates)
    values = cramers_v_of(draws.reshape(replicates, *joint.shape) / n)
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def resampled_shares(joint: IntArray, replicates: int, seed: int) -> FloatArray:
    """Return multinomial resamples of a table of counts as shares, shape (B, R, C)."""
    return np.asarray(resample(joint, replicates, np.random.default_rng(seed)) / joint.sum())
