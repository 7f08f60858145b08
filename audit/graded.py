"""Verified shares of a label table's attributes, alone and together, from a filled sheet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from audit import population as populations
from audit.association import cramers_v, effective_images
from audit.estimate import Estimate, FloatArray, IntArray
from audit.population import OK, Population
from audit.sheet import Checked
from audit.text import percent, plural
from audit.verified import Design, difference_estimator, replicates
from audit.wording import CANT_TELL, NO_FACE
from labeler.taxonomy import ATTRIBUTES

REST = "not of these"
"""For several attributes at once: no face, or one of them cannot be told."""


@dataclass(frozen=True)
class Sample:
    """The checked images with the probabilities that the classifier gave them.

    Parameters
    ----------
    checked : Checked
        The sheet's answers.
    probabilities : mapping of str to array of shape (n, K)
        0 for pictures without a found face.
    labelled : array of bool, shape (n,)
        Which have labels.
    """

    checked: Checked
    probabilities: Mapping[str, FloatArray]
    labelled: np.typing.NDArray[np.bool_]

    @classmethod
    def read(cls, population: Population, labels: str | os.PathLike[str], checked: Checked) -> Sample:
        """Take the checked images' probabilities from the label table."""
        labelled = population.outcomes[checked.rows] == OK
        rows = populations.take(labels, checked.rows, [f"{name}_probabilities" for name in ATTRIBUTES])
        found = {}
        for name in ATTRIBUTES:
            size = len(population.classes[name])
            found[name] = np.zeros((len(checked.rows), size))
            column = rows.column(f"{name}_probabilities").combine_chunks()
            found[name][labelled] = populations.normalised(populations.matrix(column, size))
        return cls(checked, found, labelled)


@dataclass(frozen=True)
class VerifiedShares:
    """Verified shares of the cells of some attributes.

    Parameters
    ----------
    shape : tuple of int
        Classes of each attribute; the first ``prod(shape)`` estimates are its cells, in order.
    names : tuple of str
        What the estimates after those are: what people saw that is none of the classes.
    estimates : list of Estimate
        Of every cell and every further name.
    design : Design
        Of the images answered.
    answers, predictions : array of shape (n, cells)
        One-hot labels and probabilities of the images answered.
    mean : array of shape (cells,)
        Mean probabilities of the population.
    """

    shape: tuple[int, ...]
    names: tuple[str, ...]
    estimates: list[Estimate]
    design: Design
    answers: FloatArray
    predictions: FloatArray
    mean: FloatArray

    @property
    def unknown(self) -> str:
        """Why the shares are not known, empty where they are."""
        undefined = [estimate.reason for estimate in self.estimates if estimate.status == "undefined"]
        return undefined[0] if undefined else ""

    def resampled(self, count: int, seed: int) -> FloatArray:
        """Return bootstrap replicates of the cells' shares among the classes, shape (count, *shape)."""
        drawn = replicates(self.design, self.answers, self.predictions, self.mean, count, seed)
        return among_classes(drawn[:, : int(np.prod(self.shape))]).reshape(count, *self.shape)

    def association(self, confidence: float = 0.95) -> Estimate:
        """Return Cramér's V of two attributes."""
        cells, errors = int(np.prod(self.shape)), self.answers - self.predictions
        corrected = np.clip(self.mean + self.design.mean(errors), 0.0, 1.0)[:cells]
        scale = float(corrected.sum())
        joint = among_classes(corrected[None])[0].reshape(self.shape)
        inside = errors[:, :cells].reshape(-1, *self.shape) / (scale or 1.0)
        n_eff = effective_images(joint, self.design.variance, inside)
        return cramers_v(joint, n_eff, len(self.answers), confidence)

    def shares(self) -> FloatArray:
        """Return the cells' shares among the classes, adding to 1."""
        cells = int(np.prod(self.shape))
        values = np.array([estimate.value or 0.0 for estimate in self.estimates[:cells]])
        return np.asarray(among_classes(values[None])[0].reshape(self.shape))


def among_classes(shares: FloatArray) -> FloatArray:
    """Return rows of shares scaled to add to 1; even where they are all 0.

    Examples
    --------
    >>> among_classes(np.array([[0.4, 0.4], [0.0, 0.0]])).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=np.full_like(shares, 1 / shares.shape[1]), where=total > 0))


def verified(
    population: Population, sample: Sample, attributes: tuple[str, ...], confidence: float = 0.95
) -> VerifiedShares:
    """Return the verified shares of an attribute's classes, or of the cells of several attributes.

    For one attribute "no face" and "can't tell" follow the classes, so that all add to 1; for several they are one
    name, since one attribute may be plain and the other not. The working model of a cell is the product of the
    probabilities; a poor model widens the interval and biases nothing.

    Parameters
    ----------
    population : Population
        The label table.
    sample : Sample
        Checked images.
    attributes : tuple of str
        In the order of `ATTRIBUTES`.
    confidence : float
        Strictly between 0 and 1.
    """
    checked = sample.checked
    sizes = tuple(len(population.classes[name]) for name in attributes)
    cells = int(np.prod(sizes))
    names = (NO_FACE, CANT_TELL) if len(attributes) == 1 else (REST,)
    answered = np.all([checked.codes[name] >= 0 for name in attributes], axis=0)
    cell = np.zeros(len(checked.rows), dtype=np.int64)
    product = np.ones((len(checked.rows), 1))
    for name, size in zip(attributes, sizes, strict=True):
        cell = cell * size + checked.codes[name]
        product = (product[:, :, None] * sample.probabilities[name][:, None, :]).reshape(len(product), -1)
    declared = np.all([checked.codes[n] < size for n, size in zip(attributes, sizes, strict=True)], axis=0)
    beyond = checked.codes[attributes[0]] if len(attributes) == 1 else np.full(len(cell), cells)
    cell = np.where(declared, cell, beyond)
    predictions = np.column_stack([product, np.zeros((len(product), len(names)))])
    predictions[~sample.labelled, cells] = 1.0
    labelled = int((population.outcomes == OK).sum())
    total = int(checked.design.sizes.sum())
    mean = np.append(population.expected(attributes).ravel() * labelled / total, np.zeros(len(names)))
    mean[cells] = (total - labelled) / total
    design = Design(checked.design.stratum[answered], checked.design.sizes)
    answers = np.eye(cells + len(names))[np.where(answered, cell, 0)][answered]
    predictions = predictions[answered]
    empty = design.unanswered()
    if len(empty):
        reason = f"{plural(len(empty), 'stratum', 'strata')} of the sheet have fewer than two answers"
        estimates = [Estimate.undefined(int(answered.sum()), reason)] * (cells + len(names))
    else:
        estimates = difference_estimator(design, answers, predictions, mean, confidence)
    if len(attributes) == 1 and not len(empty):
        estimates = _with_bounds(estimates, cells)
    return VerifiedShares(sizes, names, estimates, design, answers, predictions, mean)


def _with_bounds(estimates: list[Estimate], cells: int) -> list[Estimate]:
    """Say in each class how far the images of which nobody can tell the class could raise it."""
    unknown = estimates[cells + 1].value or 0.0
    if unknown == 0:
        return estimates
    bounded = []
    for place, estimate in enumerate(estimates):
        note = f"up to {percent(min((estimate.value or 0.0) + unknown, 1.0))} if every “can't tell” were of this class"
        reason = "; ".join(part for part in (estimate.reason, note if place < cells else "") if part)
        bounded.append(
            Estimate(estimate.value, estimate.low, estimate.high, estimate.n, estimate.n_eff, estimate.status, reason)
        )
    return bounded


def precision(population: Population, checked: Checked, attribute: str) -> FloatArray:
    """Return, for each predicted class, the design-weighted part of its checked images that people say is one.

    NaN where no image predicted so was checked.
    """
    predicted = population.codes[attribute][checked.rows]
    given: IntArray = checked.codes[attribute]
    size = len(population.classes[attribute])
    weights = checked.weights(attribute)
    total = np.array([weights[predicted == k].sum() for k in range(size)])
    right = np.array([weights[(predicted == k) & (given == k)].sum() for k in range(size)])
    return np.asarray(np.divide(right, total, out=np.full(size, np.nan), where=total > 0))
