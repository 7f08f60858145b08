"""Verified shares: what people saw in a random sample of this store, sharpened by the classifier's probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from audit.estimate import Estimate, FloatArray, IntArray, effective_wilson, normal_quantile

FEW = 5
"""Checked images of a class below which its share rests on the labels alone."""
LABELS_ONLY = "from the checked labels alone: fewer than 5 checked images are of this class"


@dataclass(frozen=True)
class Design:
    """A stratified random sample of a population, with its answers.

    Parameters
    ----------
    stratum : array of int, shape (n,)
        The stratum of each checked image, 0 to H − 1.
    sizes : array of int, shape (H,)
        Images of the population in each stratum, N_h.
    """

    stratum: IntArray
    sizes: IntArray

    @property
    def drawn(self) -> IntArray:
        """Checked images of each stratum, n_h."""
        return np.bincount(self.stratum, minlength=len(self.sizes)).astype(np.int64)

    @property
    def shares(self) -> FloatArray:
        """Each stratum's share of the population, W_h."""
        return np.asarray(self.sizes / self.sizes.sum())

    @property
    def weights(self) -> FloatArray:
        """How many images of the population each checked image stands for, N_h / n_h."""
        return np.asarray((self.sizes / np.maximum(self.drawn, 1))[self.stratum])

    def unanswered(self) -> IntArray:
        """Return the strata that say too little: no image checked, or one of several."""
        return np.flatnonzero((self.sizes > 0) & (self.drawn < np.minimum(self.sizes, 2)))

    def mean(self, values: FloatArray) -> FloatArray:
        """Return ``Σ W_h · mean_h(values)`` for values of shape (n, K)."""
        return np.asarray((self.weights / self.sizes.sum()) @ values)

    def variance(self, values: FloatArray) -> FloatArray:
        """Return ``Σ W_h² (1 − n_h/N_h) s²_h / n_h`` for values of shape (n, K); s² has divisor n_h − 1."""
        return np.asarray(self._variances(values).sum(axis=0))

    def degrees_of_freedom(self, values: FloatArray) -> FloatArray:
        """Return ``V² / Σ V_h²/(n_h − 1)`` for values of shape (n, K), infinite where V is 0.

        On how many squares an estimated variance rests that adds up those of the strata (Satterthwaite 1946,
        Biometrics Bulletin 2:110).
        """
        parts = self._variances(values)
        square = (parts**2 / np.maximum(self.drawn - 1, 1)[:, None]).sum(axis=0)
        return np.asarray(
            np.divide(parts.sum(axis=0) ** 2, square, out=np.full(square.shape, np.inf), where=square > 0)
        )

    def _variances(self, values: FloatArray) -> FloatArray:
        drawn = np.maximum(self.drawn, 1)[:, None]
        total = _by_stratum(self.stratum, values, len(self.sizes))
        apart = values - (total / drawn)[self.stratum]
        squares = _by_stratum(self.stratum, apart**2, len(self.sizes)) / np.maximum(drawn - 1, 1)
        return np.asarray(self.factor()[:, None] * squares)

    def expected_variance(self, variances: FloatArray) -> FloatArray:
        """Return ``Σ W_h² (1 − n_h/N_h) mean_h(v) / n_h`` for the variance v of each image, shape (n, K)."""
        inside = _by_stratum(self.stratum, variances, len(self.sizes)) / np.maximum(self.drawn, 1)[:, None]
        return np.asarray((self.factor()[:, None] * inside).sum(axis=0))

    def effective_size(self) -> float:
        """Return the simple random sample as precise as this one for a class that is equally rare in all strata."""
        spread = float(self.factor().sum())
        return 1 / spread if spread > 0 else float("inf")

    def factor(self) -> FloatArray:
        """Return ``W_h² (1 − n_h/N_h) / n_h``, what turns a variance inside a stratum into one of the share."""
        unseen = 1 - self.drawn / np.maximum(self.sizes, 1)
        return np.asarray(self.shares**2 * unseen / np.maximum(self.drawn, 1))


def _by_stratum(stratum: IntArray, values: FloatArray, strata: int) -> FloatArray:
    total = np.zeros((strata, values.shape[1]))
    np.add.at(total, stratum, values)
    return total


def difference_estimator(
    design: Design, answers: FloatArray, predictions: FloatArray, population_mean: FloatArray, confidence: float = 0.95
) -> list[Estimate]:
    """Return the share of each class from a checked sample and the classifier's probabilities.

    ``θ = mean_i f_i + Σ_h W_h · mean_{i∈s_h}(Y_i − f_i)``, ``V = Σ_h W_h² (1 − n_h/N_h) s²_h / n_h``, and Wilson's
    interval with ``n_eff = θ(1 − θ)/V``: the difference estimator (Särndal, Swensson and Wretman 1992, "Model
    assisted survey sampling", chapter 6), which is stratified prediction-powered inference (Angelopoulos et al. 2023,
    Science 382:669). n_eff is multiplied by (z/t)², t the quantile of Student's distribution with V's degrees of
    freedom. Where few images of a class were checked, its missed ones were likely not among them and s² is too small;
    so V is at least what the classifier itself expects, ``Σ W_h² (1 − n_h/N_h) mean_h(f(1 − f)) / n_h``, of a class of
    the size found, scaled down where over all classes together that is more than was seen. A class with fewer than
    five checked images gets its share from the labels alone.

    Parameters
    ----------
    design : Design
        Of the sample; every stratum answered.
    answers, predictions : array of shape (n, K)
        One-hot labels by people, and predicted probabilities, of the checked images.
    population_mean : array of shape (K,)
        Mean predicted probability over the whole population.
    confidence : float
        Strictly between 0 and 1.

    Examples
    --------
    >>> design = Design(np.array([0, 0]), np.array([2]))
    >>> sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> estimate = difference_estimator(design, sure, sure, np.array([0.5, 0.5]))[0]
    >>> estimate.value, estimate.low, estimate.high
    (0.5, 0.5, 0.5)
    """
    errors = answers - predictions
    corrected = np.clip(population_mean + design.mean(errors), 0.0, 1.0)
    variances, expected = design.variance(errors), _expected_variances(design, predictions, corrected, population_mean)
    expected *= min(1.0, float(variances.sum()) / max(float(expected.sum()), 1e-300))
    degrees = np.clip(design.degrees_of_freedom(errors), 1.0, 1e9)
    labels, seen = design.mean(answers), answers.sum(axis=0)
    found = []
    for k in range(answers.shape[1]):
        if seen[k] < FEW:
            few = _from_few(design, answers[:, k], predictions[:, k], float(labels[k]))
            found.append(_estimate(float(labels[k]), few, len(answers), confidence, LABELS_ONLY))
            continue
        share = float(corrected[k])
        variance = max(float(variances[k]), float(expected[k]))
        n_eff = share * (1 - share) / variance if variance > 0 and 0 < share < 1 else design.effective_size()
        # Student's quantile in Wilson's formula, by way of n: the variance is itself an estimate.
        n_eff *= (normal_quantile(confidence) / float(special.stdtrit(degrees[k], 0.5 + confidence / 2))) ** 2
        found.append(_estimate(share, n_eff, len(answers), confidence, ""))
    return found


def _expected_variances(
    design: Design, predictions: FloatArray, shares: FloatArray, population_mean: FloatArray
) -> FloatArray:
    """Return the variance of each share that the probabilities lead to expect of classes of these sizes, shape (K,)."""
    smaller = np.minimum(1.0, shares / np.maximum(population_mean, 1e-12))
    return np.asarray(smaller * design.expected_variance(predictions * (1 - predictions)))


def _from_few(design: Design, answers: FloatArray, predictions: FloatArray, share: float) -> float:
    """Return the effective size of a share of which fewer than `FEW` images were seen: the smallest of three views."""
    sizes = [design.effective_size()]
    seen = float(design.variance(answers[:, None])[0])
    if seen > 0 and 0 < share < 1:
        sizes.append(share * (1 - share) / seen)
    inside = _by_stratum(design.stratum, predictions[:, None], len(design.sizes))[:, 0] / np.maximum(design.drawn, 1)
    expected = float((design.factor() * inside * (1 - inside)).sum())
    overall = float((design.shares * inside).sum())
    if expected > 0:
        sizes.append(overall * (1 - overall) / expected)
    return min(sizes)


def _estimate(share: float, n_eff: float, n: int, confidence: float, reason: str) -> Estimate:
    low, high = effective_wilson(share, n_eff, confidence)
    finite = bool(np.isfinite(n_eff))
    return Estimate(share, low, high, n, n_eff if finite else None, "ok", reason if finite else "")


def labels_alone(design: Design, answers: FloatArray, confidence: float = 0.95) -> list[Estimate]:
    """Return the share of each class from the checked labels alone, design-weighted, with Wilson's interval.

    What the same people's work would say without the classifier.

    Examples
    --------
    >>> design = Design(np.zeros(4, dtype=np.int64), np.array([400]))
    >>> [estimate.value for estimate in labels_alone(design, np.eye(2)[[0, 0, 0, 1]])]
    [0.75, 0.25]
    """
    zero = np.zeros(answers.shape[1])
    return difference_estimator(design, answers, np.zeros_like(answers), zero, confidence)


def replicates(
    design: Design,
    answers: FloatArray,
    predictions: FloatArray,
    population_mean: FloatArray,
    count: int,
    seed: int,
) -> FloatArray:
    """Return bootstrap replicates of the shares, shape (count, K), each on the simplex.

    Within each stratum n_h − 1 of the n_h images are drawn with replacement and the deviations are scaled by
    ``sqrt((1 − n_h/N_h) n_h/(n_h − 1))``, so that their variance is that of the design (Rao and Wu 1988, JASA 83:231).

    Parameters
    ----------
    design, answers, predictions, population_mean
        As `difference_estimator` takes them.
    count, seed : int
        Replicates, and where the random numbers begin.
    """
    rng = np.random.default_rng(seed)
    errors = answers - predictions
    centre = population_mean + design.mean(errors)
    moved = np.zeros((count, len(centre)))
    for h, (drawn, size) in enumerate(zip(design.drawn.tolist(), design.sizes.tolist(), strict=True)):
        if drawn < 2 or drawn == size:
            continue
        inside = errors[design.stratum == h]
        times = rng.multinomial(drawn - 1, np.full(drawn, 1 / drawn), size=count) / (drawn - 1)
        scale = design.shares[h] * (1 - drawn / size) ** 0.5
        moved += scale * (times @ inside - inside.mean(axis=0))
    shares = np.clip(centre + moved, 0.0, None)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
