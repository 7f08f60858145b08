"""How often the labels agree with truth: each metric a pure function from a confusion matrix or scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy import special, stats

from audit.estimate import (
    REPLICATES,
    Estimate,
    FloatArray,
    IntArray,
    mean,
    normal_quantile,
    percentile_interval,
    proportion,
    resample,
    wilson,
)


def confusion(truth: IntArray, predicted: IntArray, classes: int) -> IntArray:
    """Return the confusion matrix: row = true class, column = predicted class.

    Parameters
    ----------
    truth, predicted : array of int, shape (n,)
        Class numbers, 0 to ``classes - 1``.

    Examples
    --------
    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def accuracy(matrix: IntArray, confidence: float = 0.95) -> Estimate:
    """Return the share of images labelled right, with Wilson's interval.

    Examples
    --------
    >>> accuracy(np.array([[8, 2], [0, 10]])).value
    0.9
    """
    return proportion(int(np.trace(matrix)), int(matrix.sum()), confidence)


def within_one_group(matrix: IntArray, confidence: float = 0.95) -> Estimate:
    """Return the share of images put in the right class or one beside it, with Wilson's interval.

    Only for classes that have an order, as age groups do.

    Examples
    --------
    >>> within_one_group(np.array([[0, 5, 5], [0, 0, 0], [0, 0, 10]])).value
    0.75
    """
    near = sum(int(np.trace(matrix, offset=offset)) for offset in (-1, 0, 1))
    return proportion(near, int(matrix.sum()), confidence)


def balanced_accuracy_of(matrix: FloatArray) -> FloatArray:
    """Return the mean recall over the classes that occur in the truth, from matrices of shape (..., K, K).

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution". NaN where there is no image.

    Examples
    --------
    >>> float(balanced_accuracy_of(np.array([[8.0, 2.0], [0.0, 2.0]])))
    0.9
    """
    support = matrix.sum(axis=-1)
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    recall = np.divide(right, support, out=np.zeros_like(support), where=support > 0)
    return _mean_where(recall, support > 0)


def macro_f1_of(matrix: FloatArray) -> FloatArray:
    """Return the mean of 2TP / (2TP + FP + FN) over the classes that occur in the truth or the predictions.

    Takes matrices of shape (..., K, K); NaN where there is no image.

    Examples
    --------
    >>> float(macro_f1_of(np.array([[4.0, 0.0], [0.0, 4.0]])))
    1.0
    """
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    seen = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    score = np.divide(2 * right, seen, out=np.zeros_like(seen), where=seen > 0)
    return _mean_where(score, seen > 0)


def _mean_where(values: FloatArray, keep: np.typing.NDArray[np.bool_]) -> FloatArray:
    kept = keep.sum(axis=-1)
    total = np.where(keep, values, 0.0).sum(axis=-1)
    means: FloatArray = np.divide(total, kept, out=np.full(total.shape, np.nan), where=kept > 0)
    return means


def balanced_accuracy(
    matrix: IntArray, confidence: float = 0.95, replicates: int = REPLICATES, seed: int = 0
) -> Estimate:
    """Return balanced accuracy with a bootstrap interval; see `balanced_accuracy_of`.

    Examples
    --------
    >>> balanced_accuracy(np.array([[8, 2, 0], [0, 2, 0], [0, 0, 0]])).reason
    '2 of 3 classes occur'
    """
    return _bootstrapped(balanced_accuracy_of, matrix, confidence, replicates, seed)


def macro_f1(matrix: IntArray, confidence: float = 0.95, replicates: int = REPLICATES, seed: int = 0) -> Estimate:
    """Return macro F1 with a bootstrap interval; see `macro_f1_of`.

    Examples
    --------
    >>> macro_f1(np.array([[10, 0], [0, 10]])).value
    1.0
    """
    return _bootstrapped(macro_f1_of, matrix, confidence, replicates, seed)


def _bootstrapped(
    metric: Callable[[FloatArray], FloatArray], matrix: IntArray, confidence: float, replicates: int, seed: int
) -> Estimate:
    n = int(matrix.sum())
    if n == 0:
        return Estimate.undefined(0, "no image was labelled")
    value = float(metric(matrix.astype(np.float64)))
    draws = metric(resample(matrix, replicates, np.random.default_rng(seed)).astype(np.float64))
    low, high = percentile_interval(value, draws, confidence)
    if low == high:
        # Resampling cannot show an error that never occurred; chance over n images still can hide one.
        low, high = wilson(value * n, n, confidence)
    present, classes = int((matrix.sum(axis=1) > 0).sum()), len(matrix)
    note = "" if present == classes else f"{present} of {classes} classes occur"
    return Estimate(value, low, high, n, float(n), "ok", note)


def roc_auc(truth: IntArray, probabilities: FloatArray, confidence: float = 0.95) -> Estimate:
    """Return the area under the ROC curve, one class against the rest, averaged over the classes that occur.

    Per class it is the Mann–Whitney statistic; its variance follows DeLong, DeLong and Clarke-Pearson (1988,
    Biometrics 44:837) from each image's placement among the other side. The placements are added up over the
    classes before the variance is taken, so that the correlation of the classes is counted. The interval is
    symmetric on the logit scale, hence inside 0 to 1.

    Parameters
    ----------
    truth : array of int, shape (n,)
        True class numbers, 0 to K − 1.
    probabilities : array of shape (n, K)
        Predicted probability of each class.
    confidence : float
        Strictly between 0 and 1.

    Returns
    -------
    Estimate
        ``undefined`` where fewer than two classes occur: there is no other side to rank against.

    Examples
    --------
    >>> roc_auc(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]])).value
    0.75
    >>> roc_auc(np.array([1, 1]), np.array([[0.9, 0.1], [0.4, 0.6]])).status
    'undefined'
    """
    n, classes = probabilities.shape
    present = np.unique(truth)
    if len(present) < 2:
        return Estimate.undefined(n, "only one class occurs" if n else "no image was labelled")
    areas = np.empty(len(present))
    influence = np.zeros(n)
    smallest = n
    for position, label in enumerate(present):
        positive = truth == label
        area, placements = _placements(probabilities[:, label], positive)
        areas[position] = area
        side = np.where(positive, positive.sum(), n - positive.sum())
        influence += (placements - area) / side / len(present)
        smallest = min(smallest, int(side.min()))
    value = float(areas.mean())
    note = "" if len(present) == classes else f"{len(present)} of {classes} classes occur"
    low, high = _logit_interval(value, float(np.sqrt((influence**2).sum())), smallest, confidence)
    return Estimate(value, low, high, n, float(n), "ok", note)


def _placements(scores: FloatArray, positive: np.typing.NDArray[np.bool_]) -> tuple[float, FloatArray]:
    """Return the area, and for each image the share of the other side that it ranks rightly against."""
    ranks = stats.rankdata(scores)
    own = np.empty(len(scores))
    own[positive] = stats.rankdata(scores[positive])
    own[~positive] = stats.rankdata(scores[~positive])
    positives = int(positive.sum())
    others = np.where(positive, len(scores) - positives, positives)
    below = (ranks - own) / others
    placements = np.where(positive, below, 1 - below)
    return float(placements[positive].mean()), placements


def _logit_interval(value: float, error: float, smallest: int, confidence: float) -> tuple[float, float]:
    if not 0 < value < 1 or error == 0:
        # A perfect ranking has no spread to estimate; the rarer side bounds what could have been seen.
        return wilson(value * smallest, smallest, confidence)
    half = normal_quantile(confidence) * error / (value * (1 - value))
    centre = special.logit(value)
    return float(special.expit(centre - half)), float(special.expit(centre + half))


def mean_absolute_error(errors: FloatArray, confidence: float = 0.95) -> Estimate:
    """Return the mean of |predicted − true| with Student's interval, its low end at least 0.

    Parameters
    ----------
    errors : array of shape (n,)
        Predicted minus true, in years.

    Examples
    --------
    >>> mean_absolute_error(np.array([-1.0, 3.0])).value
    2.0
    """
    return _not_below_zero(mean(np.abs(errors), confidence))


def root_mean_square_error(errors: FloatArray, confidence: float = 0.95) -> Estimate:
    """Return √(mean of (predicted − true)²); its interval is the root of Student's for the squares.

    Parameters
    ----------
    errors : array of shape (n,)
        Predicted minus true, in years.

    Examples
    --------
    >>> root_mean_square_error(np.array([-3.0, 3.0])).value
    3.0
    """
    square = _not_below_zero(mean(errors**2, confidence))
    if square.value is None or square.low is None or square.high is None:
        return square
    return Estimate(square.value**0.5, square.low**0.5, square.high**0.5, square.n, square.n_eff)


def bias(errors: FloatArray, confidence: float = 0.95) -> Estimate:
    """Return the mean of predicted − true with Student's interval; above 0 the labels are too old.

    Parameters
    ----------
    errors : array of shape (n,)
        Predicted minus true, in years.

    Examples
    --------
    >>> bias(np.array([-1.0, 3.0])).value
    1.0
    """
    return mean(errors, confidence)


def _not_below_zero(estimate: Estimate) -> Estimate:
    if estimate.low is None:
        return estimate
    return Estimate(estimate.value, max(estimate.low, 0.0), estimate.high, estimate.n, estimate.n_eff)


YEARS: Mapping[str, Callable[[FloatArray, float], Estimate]] = MappingProxyType(
    {"mae": mean_absolute_error, "rmse": root_mean_square_error, "bias": bias}
)
"""The metrics of age in years, by their name in audit.json."""


def measure(
    truth: IntArray,
    predicted: IntArray,
    probabilities: FloatArray,
    *,
    ordered: bool,
    min_cell: int = 10,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return every metric of one attribute in one group of images.

    Parameters
    ----------
    truth, predicted : array of int, shape (n,)
        Class numbers.
    probabilities : array of shape (n, K)
        Predicted probability of each class.
    ordered : bool
        Whether the classes have an order, so that "one beside it" means something.
    min_cell : int
        Groups with fewer images are ``suppressed``, empty ones ``absent``.

    Examples
    --------
    >>> measure(np.array([0]), np.array([0]), np.array([[0.8, 0.2]]), ordered=False)["accuracy"].status
    'suppressed'
    """
    names = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", *(("within_one_group",) if ordered else ()))
    hidden = too_small(len(truth), min_cell)
    if hidden is not None:
        return dict.fromkeys(names, hidden)
    matrix = confusion(truth, predicted, probabilities.shape[1])
    result = {
        "accuracy": accuracy(matrix, confidence),
        "balanced_accuracy": balanced_accuracy(matrix, confidence, replicates, seed),
        "macro_f1": macro_f1(matrix, confidence, replicates, seed),
        "roc_auc": roc_auc(truth, probabilities, confidence),
    }
    if ordered:
        result["within_one_group"] = within_one_group(matrix, confidence)
    return result


def measure_years(errors: FloatArray, min_cell: int = 10, confidence: float = 0.95) -> dict[str, Estimate]:
    """Return every metric of age in years in one group of images, as `measure` does for classes.

    Parameters
    ----------
    errors : array of shape (n,)
        Predicted minus true, in years.

    Examples
    --------
    >>> measure_years(np.array([]))["mae"].status
    'absent'
    """
    hidden = too_small(len(errors), min_cell)
    if hidden is not None:
        return dict.fromkeys(YEARS, hidden)
    return {name: metric(errors, confidence) for name, metric in YEARS.items()}


def too_small(n: int, min_cell: int) -> Estimate | None:
    """Return what stands in for a group that is empty or below the smallest cell, or None where it is neither.

    Examples
    --------
    >>> too_small(0, 10).status, too_small(9, 10).status, too_small(10, 10)
    ('absent', 'suppressed', None)
    """
    if n == 0:
        return Estimate.absent()
    return Estimate.suppressed(min_cell) if n < min_cell else None
