"""How often the labels agree with truth: each metric a pure function from a confusion matrix or scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy import special

from audit.estimate import (
    REPLICATES,
    Estimate,
    FloatArray,
    IntArray,
    effective_wilson,
    kish,
    mean,
    normal_quantile,
    percentile_interval,
    proportion,
    resample,
    resample_clusters,
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
    return _of_counts(balanced_accuracy_of, matrix, confidence, replicates, seed)


def macro_f1(matrix: IntArray, confidence: float = 0.95, replicates: int = REPLICATES, seed: int = 0) -> Estimate:
    """Return macro F1 with a bootstrap interval; see `macro_f1_of`.

    Examples
    --------
    >>> macro_f1(np.array([[10, 0], [0, 10]])).value
    1.0
    """
    return _of_counts(macro_f1_of, matrix, confidence, replicates, seed)


def _of_counts(
    metric: Callable[[FloatArray], FloatArray], matrix: IntArray, confidence: float, replicates: int, seed: int
) -> Estimate:
    n = int(matrix.sum())
    if n == 0:
        return Estimate.undefined(0, "no image was labelled")
    draws = resample(matrix, replicates, np.random.default_rng(seed)).astype(np.float64)
    return _bootstrapped(metric, matrix.astype(np.float64), confidence, draws, n)


def _bootstrapped(
    metric: Callable[[FloatArray], FloatArray], matrix: FloatArray, confidence: float, draws: FloatArray, n: int
) -> Estimate:
    value, n_eff = float(metric(matrix)), float(matrix.sum())
    low, high = percentile_interval(value, metric(draws), confidence)
    if low == high:
        # Resampling cannot show an error that never occurred; chance over n images still can hide one.
        low, high = effective_wilson(value, n_eff, confidence)
    present, classes = int((matrix.sum(axis=1) > 0).sum()), len(matrix)
    note = "" if present == classes else f"{present} of {classes} classes occur"
    return Estimate(value, low, high, n, n_eff, "ok", note)


def roc_auc(
    truth: IntArray,
    probabilities: FloatArray,
    confidence: float = 0.95,
    weights: FloatArray | None = None,
    clusters: IntArray | None = None,
) -> Estimate:
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
    weights : array of shape (n,), optional
        How many images each stands for.
    clusters : array of int, shape (n,), optional
        Images with the same number show the same person; the variance is then taken over persons.

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
    if weights is not None:
        # An image of weight 0 ranks against nobody.
        kept = weights > 0
        truth, probabilities, weights = truth[kept], probabilities[kept], weights[kept]
        clusters = None if clusters is None else clusters[kept]
    n, classes = probabilities.shape
    present = np.unique(truth)
    if len(present) < 2:
        return Estimate.undefined(n, "only one class occurs" if n else "no image was labelled")
    areas = np.empty(len(present))
    influence = np.zeros(n)
    smallest = n
    weight = np.ones(n) if weights is None else weights
    for position, label in enumerate(present):
        positive = truth == label
        area, placements = _placements(probabilities[:, label], positive, weight)
        areas[position] = area
        side = np.where(positive, weight[positive].sum(), weight[~positive].sum())
        influence += weight * (placements - area) / side / len(present)
        smallest = min(smallest, int(positive.sum()), n - int(positive.sum()))
    value = float(areas.mean())
    note = "" if len(present) == classes else f"{len(present)} of {classes} classes occur"
    if clusters is not None:
        influence = np.bincount(clusters, influence).astype(np.float64)
    low, high = _logit_interval(value, float(np.sqrt((influence**2).sum())), smallest, confidence)
    return Estimate(value, low, high, n, float(n), "ok", note)


def _placements(
    scores: FloatArray, positive: np.typing.NDArray[np.bool_], weight: FloatArray
) -> tuple[float, FloatArray]:
    """Return the area, and for each image the weighted share of the other side that it ranks rightly against."""
    distinct, place = np.unique(scores, return_inverse=True)
    sides = [np.bincount(place, weight * side, minlength=len(distinct)) for side in (~positive, positive)]
    # An equal score counts half.
    below = [(np.cumsum(side) - side / 2) / side.sum() for side in sides]
    placements = np.where(positive, below[0][place], 1 - below[1][place])
    return float(np.average(placements[positive], weights=weight[positive])), placements


def _logit_interval(value: float, error: float, smallest: int, confidence: float) -> tuple[float, float]:
    if not 0 < value < 1 or error == 0:
        # A perfect ranking has no spread to estimate; the rarer side bounds what could have been seen.
        return wilson(value * smallest, smallest, confidence)
    half = normal_quantile(confidence) * error / (value * (1 - value))
    centre = special.logit(value)
    return float(special.expit(centre - half)), float(special.expit(centre + half))


def mean_absolute_error(errors: FloatArray, confidence: float = 0.95, weights: FloatArray | None = None) -> Estimate:
    """Return the mean of |predicted − true| with Student's interval, its low end at least 0.

    Parameters
    ----------
    errors : array of shape (n,)
        Predicted minus true, in years.
    weights : array of shape (n,), optional
        How many images each stands for.

    Examples
    --------
    >>> mean_absolute_error(np.array([-1.0, 3.0])).value
    2.0
    """
    return _not_below_zero(mean(np.abs(errors), confidence, weights))


def root_mean_square_error(errors: FloatArray, confidence: float = 0.95, weights: FloatArray | None = None) -> Estimate:
    """Return √(mean of (predicted − true)²); its interval is the root of Student's for the squares.

    Parameters
    ----------
    errors : array of shape (n,)
        Predicted minus true, in years.
    weights : array of shape (n,), optional
        How many images each stands for.

    Examples
    --------
    >>> root_mean_square_error(np.array([-3.0, 3.0])).value
    3.0
    """
    square = _not_below_zero(mean(errors**2, confidence, weights))
    if square.value is None or square.low is None or square.high is None:
        return square
    return Estimate(square.value**0.5, square.low**0.5, square.high**0.5, square.n, square.n_eff)


def bias(errors: FloatArray, confidence: float = 0.95, weights: FloatArray | None = None) -> Estimate:
    """Return the mean of predicted − true with Student's interval; above 0 the labels are too old.

    Parameters
    ----------
    errors : array of shape (n,)
        Predicted minus true, in years.
    weights : array of shape (n,), optional
        How many images each stands for.

    Examples
    --------
    >>> bias(np.array([-1.0, 3.0])).value
    1.0
    """
    return mean(errors, confidence, weights)


def _not_below_zero(estimate: Estimate) -> Estimate:
    if estimate.low is None:
        return estimate
    return Estimate(estimate.value, max(estimate.low, 0.0), estimate.high, estimate.n, estimate.n_eff)


YEARS: Mapping[str, Callable[[FloatArray, float, FloatArray | None], Estimate]] = MappingProxyType(
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
    weights: FloatArray | None = None,
    clusters: IntArray | None = None,
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
    weights : array of shape (n,), optional
        How many images each stands for. Intervals then rest on Kish's effective size.
    clusters : array of int, shape (n,), optional
        Images with the same number show the same person; they are drawn together.

    Examples
    --------
    >>> measure(np.array([0]), np.array([0]), np.array([[0.8, 0.2]]), ordered=False)["accuracy"].status
    'suppressed'
    """
    names = METRICS if ordered else METRICS[:-1]
    hidden = too_small(len(truth), min_cell)
    if hidden is not None:
        return dict.fromkeys(names, hidden)
    sample = Tally(truth, predicted, probabilities.shape[1], weights, clusters)
    if sample.n_eff == 0:
        return dict.fromkeys(names, Estimate.undefined(len(truth), "all weights are 0"))
    right = predicted == truth
    draws = sample.resampled(replicates, seed)
    result = {
        "accuracy": sample.share(right, confidence),
        "balanced_accuracy": _bootstrapped(balanced_accuracy_of, sample.matrix, confidence, draws, sample.n),
        "macro_f1": _bootstrapped(macro_f1_of, sample.matrix, confidence, draws, sample.n),
        "roc_auc": roc_auc(truth, probabilities, confidence, weights, clusters),
        "expected_calibration_error": calibration_error(probabilities, right, confidence, replicates, seed, weights),
    }
    if ordered:
        result["within_one_group"] = sample.share(np.abs(predicted - truth) <= 1, confidence)
    return result


METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "roc_auc",
    "expected_calibration_error",
    "within_one_group",
)
"""The metrics of classes by their name in audit.json; the last only where the classes have an order."""


class Tally:
    """Truth against predictions of one group, with weights and persons where there are any.

    Parameters
    ----------
    truth, predicted : array of int, shape (n,)
        Class numbers.
    classes : int
        K.
    weights, clusters
        As `measure` takes them.
    """

    def __init__(
        self,
        truth: IntArray,
        predicted: IntArray,
        classes: int,
        weights: FloatArray | None = None,
        clusters: IntArray | None = None,
    ) -> None:
        self.n = len(truth)
        self.weights = np.ones(self.n) if weights is None else weights
        self.n_eff = float(self.n) if weights is None else kish(weights)
        self.cells = truth * classes + predicted
        scale = self.n_eff / self.weights.sum() if self.n_eff else 0.0
        self.scaled = self.weights * scale
        cells = np.bincount(self.cells, self.scaled, minlength=classes * classes).astype(np.float64)
        self.matrix: FloatArray = cells.reshape(classes, classes)
        self.clusters = None if clusters is None else np.unique(clusters, return_inverse=True)[1]

    def share(self, hit: np.typing.NDArray[np.bool_], confidence: float) -> Estimate:
        """Return the weighted share of hits with Wilson's interval, on persons where images are grouped by them."""
        value = float(np.average(hit, weights=self.weights))
        n_eff = self.n_eff
        if self.clusters is not None:
            sums = np.bincount(self.clusters, self.weights * (hit - value))
            persons = len(sums)
            variance = float((sums**2).sum()) / float(self.weights.sum()) ** 2 * persons / max(persons - 1, 1)
            n_eff = min(n_eff, value * (1 - value) / variance) if variance > 0 else min(n_eff, float(persons))
        return weighted_share(value, n_eff, self.n, confidence)

    def resampled(self, replicates: int, seed: int) -> FloatArray:
        """Return the confusion matrix in each resample of images, or of persons, shape (B, K, K)."""
        rng = np.random.default_rng(seed)
        if self.clusters is None:
            return resample(self.matrix, replicates, rng).astype(np.float64)
        table = np.zeros((int(self.clusters.max()) + 1, self.matrix.size))
        np.add.at(table, (self.clusters, self.cells), self.scaled)
        return resample_clusters(table.reshape(-1, *self.matrix.shape), replicates, rng)


def weighted_share(value: float, n_eff: float, n: int, confidence: float = 0.95) -> Estimate:
    """Return a share that rests on n images worth n_eff, with Wilson's interval.

    Examples
    --------
    >>> weighted_share(0.5, 10.0, 12).n
    12
    """
    low, high = effective_wilson(value, n_eff, confidence)
    return Estimate(value, low, high, n, n_eff)


def by_class(matrix: FloatArray, n: IntArray, min_cell: int, confidence: float = 0.95) -> list[dict[str, Estimate]]:
    """Return precision and recall of each class with Wilson's intervals.

    Parameters
    ----------
    matrix : array of shape (K, K)
        Row = true class; may hold effective numbers.
    n : array of int, shape (K, K)
        Images in each cell, for suppression: fewer true (or predicted) images than ``min_cell`` are not shown.

    Examples
    --------
    >>> counts = np.array([[8, 2], [0, 10]])
    >>> by_class(counts.astype(float), counts, 1)[0]["recall"].value
    0.8
    """
    found = []
    for k in range(len(matrix)):
        rates = {}
        for name, axis in (("recall", 1), ("precision", 0)):
            images, whole = int(n.sum(axis=axis)[k]), float(matrix.sum(axis=axis)[k])
            hidden = too_small(images, min_cell)
            if hidden is not None or whole == 0:
                rates[name] = hidden or Estimate.undefined(images, "all weights are 0")
                continue
            rates[name] = weighted_share(float(matrix[k, k]) / whole, whole, images, confidence)
        found.append(rates)
    return found


BINS = 10


def bin_of(probabilities: FloatArray) -> IntArray:
    """Return which of ten equal bins holds each image's confidence, shape (n,).

    Examples
    --------
    >>> bin_of(np.array([[0.75, 0.25], [0.0, 1.0]])).tolist()
    [7, 9]
    """
    place: IntArray = np.minimum((probabilities.max(axis=1) * BINS).astype(np.int64), BINS - 1)
    return place


def reliability(
    probabilities: FloatArray, right: np.typing.NDArray[np.bool_], weights: FloatArray | None = None
) -> FloatArray:
    """Return, for ten equal bins of confidence, the weight of right images, of all, and of all times confidence.

    Parameters
    ----------
    probabilities : array of shape (n, K)
        Predicted.
    right : array of bool, shape (n,)
        Whether the most probable class is the true one.

    Returns
    -------
    array of shape (3, 10)

    Examples
    --------
    >>> reliability(np.array([[0.75, 0.25]]), np.array([True]))[:, 7].tolist()
    [1.0, 1.0, 0.75]
    """
    top, place = probabilities.max(axis=1), bin_of(probabilities)
    weight = np.ones(len(top)) if weights is None else weights
    return np.array([np.bincount(place, weight * part, minlength=BINS) for part in (right, np.ones(len(top)), top)])


def calibration_error(
    probabilities: FloatArray,
    right: np.typing.NDArray[np.bool_],
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
    weights: FloatArray | None = None,
) -> Estimate:
    """Return the expected calibration error with a bootstrap interval.

    ``Σ_b (n_b/n) |accuracy_b − confidence_b|`` over ten equal bins of confidence (Guo et al. 2017, ICML). It is biased
    up where bins hold few images.

    Examples
    --------
    >>> round(calibration_error(np.array([[0.75, 0.25]] * 4), np.array([True, True, True, False])).value or 0.0, 6)
    0.0
    """
    n = len(right)
    n_eff = n if weights is None else max(round(kish(weights)), 1)
    hits, whole, mass = reliability(probabilities, right, weights)
    total = whole.sum()
    if n == 0 or total == 0:
        return Estimate.undefined(n, "no image was labelled")
    value = float(np.abs(hits - mass).sum() / total)
    cells = np.concatenate([hits, whole - hits]).clip(min=0.0) / total
    drawn = np.random.default_rng(seed).multinomial(n_eff, cells / cells.sum(), replicates) / n_eff
    wins, all_drawn = drawn[:, :BINS], drawn[:, :BINS] + drawn[:, BINS:]
    mean = np.divide(mass, whole, out=np.zeros(BINS), where=whole > 0)
    low, high = percentile_interval(value, np.abs(wins - all_drawn * mean).sum(axis=1), confidence)
    return Estimate(value, low, high, n, float(n_eff))


def measure_years(
    errors: FloatArray, min_cell: int = 10, confidence: float = 0.95, weights: FloatArray | None = None
) -> dict[str, Estimate]:
    """Return every metric of age in years in one group of images, as `measure` does for classes.

    Parameters
    ----------
    errors : array of shape (n,)
        Predicted minus true, in years.
    weights : array of shape (n,), optional
        How many images each stands for.

    Examples
    --------
    >>> measure_years(np.array([]))["mae"].status
    'absent'
    """
    hidden = too_small(len(errors), min_cell)
    if hidden is not None:
        return dict.fromkeys(YEARS, hidden)
    return {name: metric(errors, confidence, weights) for name, metric in YEARS.items()}


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
