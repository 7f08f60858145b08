"""What a pack gets right: pure functions from true classes and probabilities to numbers with n and interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import norm, rankdata

from labeler.taxonomy import ATTRIBUTES

CONFIDENCE = 0.95
CALIBRATION_ERROR = "expected calibration error"
FEWEST_CALIBRATED = 100
"""Groups with fewer pictures get no calibration error, which would be mostly chance."""

REPLICATES = 300
"""Bootstrap replicates of a metric that is no plain share."""

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """One attribute of the evaluated pictures whose truth is known.

    Parameters
    ----------
    truth : numpy.ndarray
        Class numbers, shape (n,).
    probabilities : numpy.ndarray
        Shape (n, classes).
    """

    truth: Indices
    probabilities: Floats

    @property
    def predicted(self) -> Indices:
        """The most likely class of each picture, shape (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    def rows(self, chosen: Indices) -> Scored:
        """Return some of the pictures."""
        return Scored(self.truth[chosen], self.probabilities[chosen])


@dataclass(frozen=True)
class Metric:
    """One number about a pack.

    Parameters
    ----------
    attribute, name : str
        What was measured.
    value, low, high : float
        The number and its 95 % interval; NaN where there is no interval.
    n : int
        Pictures it rests on.
    by, group : str
        The attribute and true class to which the pictures are confined, or two of each with ``×`` between; empty over
        all.
    """

    attribute: str
    name: str
    value: float
    low: float
    high: float
    n: int
    by: str = ""
    group: str = ""


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927).

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson(8, 10)]
    [0.49, 0.943]
    """
    if n == 0:
        return 0.0, 1.0
    z = float(norm.ppf(0.5 + confidence / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, centre - half), min(1.0, centre + half)


def balanced_accuracy(scored: Scored) -> float:
    """Return the mean over the classes present of the share recognised."""
    right = scored.predicted == scored.truth
    return float(np.mean([right[scored.truth == number].mean() for number in np.unique(scored.truth)]))


def macro_f1(scored: Scored) -> float:
    """Return the mean over the classes present or predicted of ``2 TP / (2 TP + FP + FN)``."""
    predicted = scored.predicted
    scores = []
    for number in np.union1d(scored.truth, predicted):
        hits = np.sum((predicted == number) & (scored.truth == number))
        scores.append(2 * hits / (np.sum(predicted == number) + np.sum(scored.truth == number)))
    return float(np.mean(scores))


def roc_auc(scored: Scored) -> float:
    """Return the area under the ROC curve, one class against the rest, as a mean over the classes present.

    The area of one class is the Mann-Whitney statistic divided by the number of pairs; NaN where there is one class.
    """
    areas = []
    for number in np.unique(scored.truth):
        positive = scored.truth == number
        count, rest = int(positive.sum()), int((~positive).sum())
        if rest:
            ranks = rankdata(scored.probabilities[:, number])
            areas.append((ranks[positive].sum() - count * (count + 1) / 2) / (count * rest))
    return float(np.mean(areas)) if areas else float("nan")


def calibration_error(scored: Scored, bins: int = 15) -> float:
    """Return the expected calibration error of the most likely class, in bins of equal width (Guo et al. 2017)."""
    confidence = scored.probabilities.max(axis=1)
    right = scored.predicted == scored.truth
    number = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = [abs(float(right[number == b].mean() - confidence[number == b].mean())) for b in np.unique(number)]
    return float(np.average(gaps, weights=[np.sum(number == b) for b in np.unique(number)]))


def chance_calibration_error(scored: Scored, bins: int = 15, *, draws: int = 400, seed: int = 1) -> tuple[float, float]:
    """Return the calibration error that a perfectly calibrated classifier would show on as many pictures.

    With so many pictures in a bin its share right strays from its confidence by chance, and `calibration_error` counts
    every such straying as an error. Here each prediction is right with exactly the probability that it states.

    Returns
    -------
    (float, float)
        The mean over draws, and the value that 95 % of them stay below.
    """
    confidence = scored.probabilities.max(axis=1)
    number = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    right = np.random.default_rng(seed).random((draws, len(confidence))) < confidence
    errors = np.zeros(draws)
    for b in np.unique(number):
        inside = number == b
        errors += np.abs(right[:, inside].sum(axis=1) - confidence[inside].sum())
    errors /= len(confidence)
    return float(errors.mean()), float(np.quantile(errors, 0.95))


def fit_temperature(logits: Floats, truth: Indices) -> float:
    """Return the temperature with which ``softmax(logits / T)`` has the least negative log-likelihood.

    Guo et al. 2017, "On calibration of modern neural networks".
    """
    values = np.asarray(logits, np.float64)

    def loss(log_temperature: float) -> float:
        scaled = values / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(truth)), truth]))

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))


def bootstrap_interval(
    statistic: Callable[[Scored], float], scored: Scored, *, seed: int = 0, replicates: int = REPLICATES
) -> tuple[float, float]:
    """Return the percentile interval of a statistic over pictures drawn with replacement (Efron 1979).

    Replicates in which the statistic is undefined do not count; NaN twice where it is so in all.
    """
    rng = np.random.default_rng(seed)
    n = len(scored.truth)
    values = [statistic(scored.rows(rng.integers(0, n, n))) for _ in range(replicates)]
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        return math.nan, math.nan
    low, high = np.quantile(defined, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return float(low), float(high)


def measure(frame: pd.DataFrame, classes: Mapping[str, Sequence[str]]) -> list[Metric]:
    """Return every metric of an evaluation, over all pictures and for each group of each attribute.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `training.evaluate.read_evaluation` gives it.
    classes : mapping of str to sequence of str
        The classes of each attribute, in the order of the probabilities.

    Returns
    -------
    list of Metric
        Pictures whose true class is unknown do not count.
    """
    metrics: list[Metric] = []
    for attribute in ATTRIBUTES:
        known = frame[frame[true_column(attribute)].notna()]
        if known.empty:
            continue
        scored = scored_attribute(known, attribute, classes)
        metrics += _overall(scored, attribute)
        metrics += [metric for by in ATTRIBUTES for metric in _by_group(known, scored, attribute, by, classes)]
        metrics += _spreads(known, scored, attribute, classes)
        metrics += _by_intersection(known, scored, attribute, classes)
    return metrics + _years(frame)


def true_column(attribute: str) -> str:
    """Return the column of an evaluation that holds the true class of an attribute."""
    return "true_age_group" if attribute == "age" else f"true_{attribute}"


def scored_attribute(frame: pd.DataFrame, attribute: str, classes: Mapping[str, Sequence[str]]) -> Scored:
    """Return the truth and the probabilities of one attribute."""
    number = {name: position for position, name in enumerate(classes[attribute])}
    truth = np.array([number[name] for name in frame[true_column(attribute)]], np.int64)
    return Scored(truth, np.stack(list(frame[f"{attribute}_probabilities"])))


def spread(shares: Sequence[float]) -> float:
    """Return the largest minus the smallest share; NaN where there are fewer than two."""
    return max(shares) - min(shares) if len(shares) > 1 else math.nan


def groups_of_20_to_79(groups: Sequence[str]) -> list[str]:
    """Return the closed age groups that lie within 20 to 79 years.

    Examples
    --------
    >>> groups_of_20_to_79(("10-19", "20-29", "70-79", "80 and over"))
    ['20-29', '70-79']
    """
    closed = [group for group in groups if "-" in group]
    return [group for group in closed if int(group.split("-")[0]) >= 20 and int(group.split("-")[1]) <= 79]


def spread_of_accuracy(
    right: npt.NDArray[np.bool_], column: npt.NDArray[np.object_], groups: Sequence[str], *, seed: int = 0
) -> tuple[float, float, float, int]:
    """Return the spread of accuracy over groups, its bootstrap interval, and the number of pictures in them.

    Pictures are drawn with replacement within their groups. The interval is shifted by chance: with few pictures in a
    group a spread appears where there is none. Where it would leave out the spread itself it is widened to hold it.
    """
    rng = np.random.default_rng(seed)
    counts = [(int(right[column == group].sum()), int(np.sum(column == group))) for group in groups]
    counts = [(hits, n) for hits, n in counts if n]
    if len(counts) < 2:
        return math.nan, math.nan, math.nan, sum(n for _, n in counts)
    shares = np.array([hits / n for hits, n in counts])
    draws = np.stack([rng.binomial(n, share, 2000) / n for share, (_, n) in zip(shares, counts, strict=True)])
    low, high = np.quantile(draws.max(axis=0) - draws.min(axis=0), [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    value = spread(shares.tolist())
    return value, min(float(low), value), max(float(high), value), sum(n for _, n in counts)


def _by_group(
    known: pd.DataFrame, scored: Scored, attribute: str, by: str, classes: Mapping[str, Sequence[str]]
) -> list[Metric]:
    column = known[true_column(by)].to_numpy(object)
    metrics: list[Metric] = []
    for group in classes[by]:
        inside = scored.rows(np.flatnonzero(column == group))
        n = len(inside.truth)
        if n:
            hits = int(np.sum(inside.predicted == inside.truth))
            metrics.append(_share(attribute, "accuracy", hits, n, by, group))
        if n >= FEWEST_CALIBRATED:
            error = calibration_error(inside)
            metrics.append(Metric(attribute, CALIBRATION_ERROR, error, math.nan, math.nan, n, by, group))
    return metrics


def _by_intersection(
    known: pd.DataFrame, scored: Scored, attribute: str, classes: Mapping[str, Sequence[str]]
) -> list[Metric]:
    right = scored.predicted == scored.truth
    columns = {by: known[true_column(by)].to_numpy(object) for by in ATTRIBUTES}
    metrics = []
    for first, second in combinations(("gender", "ethnicity", "age"), 2):
        for one in classes[first]:
            for other in classes[second]:
                inside = right[(columns[first] == one) & (columns[second] == other)]
                if len(inside):
                    by, group = f"{first} × {second}", f"{one} × {other}"
                    metrics.append(_share(attribute, "accuracy", int(inside.sum()), len(inside), by, group))
    return metrics


def _spreads(known: pd.DataFrame, scored: Scored, attribute: str, classes: Mapping[str, Sequence[str]]) -> list[Metric]:
    right = np.asarray(scored.predicted == scored.truth)
    wanted = {
        "gender": classes["gender"],
        "ethnicity": classes["ethnicity"],
        "age": classes["age"],
        "age 20–79": groups_of_20_to_79(classes["age"]),
    }
    metrics = []
    for name, groups in wanted.items():
        column = known[true_column(name.split(" ")[0])].to_numpy(object)
        value, low, high, n = spread_of_accuracy(right, column, groups)
        if not math.isnan(value):
            metrics.append(Metric(attribute, f"spread of accuracy over {name}", value, low, high, n))
    return metrics


def _overall(scored: Scored, attribute: str) -> list[Metric]:
    n = len(scored.truth)
    metrics = [_share(attribute, "accuracy", int(np.sum(scored.predicted == scored.truth)), n)]
    if attribute == "age":
        within = int(np.sum(np.abs(scored.predicted - scored.truth) <= 1))
        metrics.append(_share(attribute, "within one group", within, n))
    statistics: dict[str, Callable[[Scored], float]] = {
        "balanced accuracy": balanced_accuracy,
        "macro F1": macro_f1,
        "ROC AUC": roc_auc,
    }
    for name, statistic in statistics.items():
        metrics.append(Metric(attribute, name, statistic(scored), *bootstrap_interval(statistic, scored), n))
    metrics.append(Metric(attribute, CALIBRATION_ERROR, calibration_error(scored), math.nan, math.nan, n))
    return metrics


def _share(attribute: str, name: str, successes: int, n: int, by: str = "", group: str = "") -> Metric:
    return Metric(attribute, name, successes / n, *wilson(successes, n), n, by, group)


def _years(frame: pd.DataFrame) -> list[Metric]:
    known = frame[frame["true_age"].notna()]
    if known.empty:
        return []
    error = known["age"].to_numpy(np.float64) - known["true_age"].to_numpy(np.float64)
    n = len(error)
    half = float(norm.ppf(0.5 + CONFIDENCE / 2)) / math.sqrt(n)
    mae, bias = float(np.abs(error).mean()), float(error.mean())
    mae_half, bias_half = half * float(np.abs(error).std()), half * float(error.std())
    return [
        Metric("age", "MAE (years)", mae, mae - mae_half, mae + mae_half, n),
        Metric("age", "RMSE (years)", math.sqrt(float(np.mean(error**2))), math.nan, math.nan, n),
        Metric("age", "bias (years)", bias, bias - bias_half, bias + bias_half, n),
    ]
