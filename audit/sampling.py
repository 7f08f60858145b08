"""Which images people should check next: strata, how many of each, a draw that can grow, and what it will show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from audit.estimate import FloatArray, IntArray, effective_wilson
from audit.population import NO_FACE, OK, Population
from labeler.taxonomy import ATTRIBUTES

LEAST = 5
"""Images drawn from each stratum at least, where it has them and half of the sample is enough for that."""
PARTS = 3
"""Parts of equal size by confidence that each predicted class is divided into."""
ALL = "all"
"""Strata for every attribute at once: by predicted gender and ethnicity, and by how unsure all three labels are."""
STRATIFIERS = (ALL, *ATTRIBUTES)
COARSE = " coarse"
"""Added to a stratifier: strata that are not divided by confidence, for a small sample."""
SCHEMES = (*STRATIFIERS, *(by + COARSE for by in STRATIFIERS))
"""How strata can be made; the first part of their names."""
PER_STRATUM = 4
"""Checks for each stratum below which the coarse scheme is taken."""


@dataclass(frozen=True)
class Strata:
    """The strata of a population.

    Parameters
    ----------
    rows : array of int, shape (N,)
        The rows of the label table that are in the population.
    stratum : array of int, shape (N,)
        The stratum of each, 0 to H − 1.
    names : tuple of str, length H
        What a sheet calls them. The numbers are shuffled, so that they do not tell the prediction.
    sizes : array of int, shape (H,)
        Images in each.
    spread : array of shape (H,)
        ``sqrt(mean_i Σ_k f_ik (1 − f_ik))``, how unsure the classifier is there, relative to the store's mean, and
        added up over the attributes that the strata are made for.
    """

    rows: IntArray
    stratum: IntArray
    names: tuple[str, ...]
    sizes: IntArray
    spread: FloatArray


def scheme_for(population: Population, by: str, n: int) -> str:
    """Return the scheme for a sample of n: the stratifier itself, or coarse where its strata would get too few."""
    strata = len(stratify(population, by, 0).sizes)
    return by if n >= PER_STRATUM * strata else by + COARSE


def stratify(population: Population, scheme: str, seed: int, *, no_face: bool = False) -> Strata:
    """Divide the labelled images by predicted class and thirds of confidence.

    Parameters
    ----------
    population : Population
        The label table.
    scheme : str
        One of `SCHEMES`: whose predicted class and confidence divide it.
    seed : int
        Shuffles the strata's numbers.
    no_face : bool
        Make the pictures without a found face a stratum too.
    """
    rows = np.flatnonzero(population.outcomes == OK)
    codes = {name: population.codes[name][rows].astype(np.int64) for name in ATTRIBUTES}
    unsure = {name: population.uncertainty[name][rows].astype(np.float64) for name in ATTRIBUTES}
    stratum, variance = divide(codes, unsure, {name: len(population.classes[name]) for name in ATTRIBUTES}, scheme)
    if no_face:
        missed = np.flatnonzero(population.outcomes == NO_FACE)
        rows = np.concatenate([rows, missed])
        stratum = np.concatenate([stratum, np.full(len(missed), stratum.max(initial=0) + 1)])
        # Nothing is known of these pictures: as unsure as the least sure of the others.
        variance = np.concatenate([variance, np.full(len(missed), variance.max(initial=1.0))])
    used, stratum = np.unique(stratum, return_inverse=True)
    sizes = np.bincount(stratum, minlength=len(used)).astype(np.int64)
    spread = np.sqrt(np.bincount(stratum, variance, minlength=len(used)) / np.maximum(sizes, 1))
    numbers = np.random.default_rng([seed, 1]).permutation(len(used))
    names = tuple(f"{scheme}-{number + 1:02d}" for number in numbers.tolist())
    return Strata(rows, stratum.astype(np.int64), names, sizes, spread)


def divide(
    codes: Mapping[str, IntArray], unsure: Mapping[str, FloatArray], classes: Mapping[str, int], scheme: str
) -> tuple[IntArray, FloatArray]:
    """Return each image's stratum, and how unsure the labels are that the scheme looks at, on average 1 for each.

    Parameters
    ----------
    codes : mapping of str to array of int, shape (n,)
        The predicted class of each attribute.
    unsure : mapping of str to array of shape (n,)
        ``Σ_k f_k (1 − f_k)`` of each attribute.
    classes : mapping of str to int
        How many there are of each attribute.
    scheme : str
        One of `SCHEMES`.

    Examples
    --------
    >>> one = {name: np.array([0, 1]) for name in ATTRIBUTES}
    >>> divide(one, one, dict.fromkeys(ATTRIBUTES, 2), "gender")[0].tolist()
    [0, 3]
    """
    attributes = _attributes(scheme)
    cell, cells = np.zeros(len(codes[attributes[0]]), dtype=np.int64), 1
    for name in attributes[-2:]:
        cell, cells = cell * classes[name] + codes[name], cells * classes[name]
    together = np.zeros(len(cell))
    for name in attributes:
        # Over its mean, so that an attribute of many classes does not outweigh one of two.
        together += unsure[name] / max(float(unsure[name].mean()), 1e-12) if len(cell) else 0.0
    return (cell if scheme.endswith(COARSE) else cell * PARTS + thirds(cell, together, cells)), together


def _attributes(scheme: str) -> tuple[str, ...]:
    by = scheme.removesuffix(COARSE)
    return ATTRIBUTES if by == ALL else (by,)


def thirds(codes: IntArray, values: FloatArray, classes: int) -> IntArray:
    """Return each image's third by a value among those of its class; 0 in a class too small to divide."""
    order = np.lexsort((values, codes))
    sizes = np.bincount(codes, minlength=classes)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - starts[codes[order]]
    third: IntArray = rank * PARTS // np.maximum(sizes[codes], 1)
    return np.where(sizes[codes] >= PARTS * LEAST, third, 0)


def allocate(sizes: IntArray, spread: FloatArray, n: int, *, rare: bool = False, least: int = LEAST) -> IntArray:
    """Divide n checks among the strata.

    ``n_h ∝ N_h · spread_h`` (Neyman 1934, JRSS 97:558), at least ``least`` in each and at most N_h; with ``rare``
    √N_h takes the place of N_h, which gives more to small classes. ``least`` sinks to 2 where it would take more than
    half of n, and below that where n is too small for 2.

    Parameters
    ----------
    sizes : array of int, shape (H,)
        Images of each stratum, N_h.
    spread : array of shape (H,)
        As in `Strata`.
    n : int
        Checks in all; never more than there are images.

    Examples
    --------
    >>> allocate(np.array([1000, 1000, 4]), np.array([0.3, 0.1, 0.1]), 100).tolist()
    [72, 24, 4]
    """
    n = min(n, int(sizes.sum()))
    strata = int((sizes > 0).sum())
    half, whole = n // max(2 * strata, 1), n // max(strata, 1)
    lower = np.minimum(sizes, min(least, max(half, min(2, whole))))
    size = np.sqrt(sizes) if rare else sizes.astype(np.float64)
    wish = size * np.maximum(spread, 1e-6)
    low, high = 0.0, float(n / wish[wish > 0].min()) if (wish > 0).any() else 0.0
    for _ in range(200):
        middle = (low + high) / 2
        if np.clip(middle * wish, lower, sizes).sum() < n:
            low = middle
        else:
            high = middle
    ideal = np.clip(high * wish, lower, sizes)
    share = np.floor(ideal + 1e-9).astype(np.int64)
    open_places = np.lexsort((np.arange(len(sizes)), -(ideal - share) - (share < sizes) * 2.0))
    for h in open_places[: max(n - int(share.sum()), 0)]:
        share[h] += 1
    return np.minimum(share, sizes)


def draw_order(strata: Strata, seed: int) -> IntArray:
    """Return a fixed random order of the population.

    The first n_h of a stratum in this order are a simple random sample of it for every n_h, so a sample can grow
    and stay one (permanent random numbers; Ohlsson 1995, "Coordination of samples using permanent random numbers").
    """
    return np.random.default_rng([seed, 2]).permutation(len(strata.rows)).astype(np.int64)


def draw(strata: Strata, allocation: IntArray, seed: int) -> IntArray:
    """Return positions in ``strata.rows`` of a stratified random sample, in random order.

    Parameters
    ----------
    strata : Strata
        Of the population.
    allocation : array of int, shape (H,)
        Images to draw from each stratum.
    seed : int
        Where the random order begins; the same seed and a larger allocation give a sample that holds this one.
    """
    order = draw_order(strata, seed)
    sorted_by_stratum = order[np.argsort(strata.stratum[order], kind="stable")]
    starts = np.cumsum(strata.sizes) - strata.sizes
    chosen = [sorted_by_stratum[s : s + k] for s, k in zip(starts.tolist(), allocation.tolist(), strict=True)]
    taken = np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
    return order[np.isin(order, taken)]


@dataclass(frozen=True)
class Forecast:
    """What a sample of n would show of one attribute.

    Parameters
    ----------
    n : int
        Images checked.
    half_widths : tuple of float
        Expected half-width of the interval of each class's verified share.
    """

    n: int
    half_widths: tuple[float, ...]

    @property
    def widest(self) -> float:
        """The smallest margin that a verdict on this attribute could still pass."""
        return max(self.half_widths, default=1.0)


def forecast(
    population: Population, strata: Strata, attribute: str, n: int, *, rare: bool = False, confidence: float = 0.95
) -> Forecast:
    """Return the expected half-widths of verified shares, taking the classifier's probabilities at their word.

    The share of class k is then ``mean f_k``, and the variance of an image's error at most ``share (1 − share)`` times
    the part that the probabilities leave open, ``Σ f(1 − f)`` in its stratum beside its mean.

    Parameters
    ----------
    population, strata, attribute
        The table, its strata, and the attribute whose shares are wanted.
    n : int
        Images to check.
    """
    allocation = allocate(strata.sizes, strata.spread, n, rare=rare)
    shares = population.expected((attribute,))
    labelled = population.outcomes[strata.rows] == OK
    open_part = np.zeros(len(strata.rows))
    open_part[labelled] = population.uncertainty[attribute][strata.rows[labelled]]
    open_part[~labelled] = 1.0
    mean_open = np.bincount(strata.stratum, open_part, minlength=len(strata.sizes)) / np.maximum(strata.sizes, 1)
    weight = strata.sizes / max(int(strata.sizes.sum()), 1)
    factor = weight**2 * (1 - allocation / np.maximum(strata.sizes, 1)) / np.maximum(allocation, 1)
    total = float((factor * mean_open).sum())
    variances = shares * (1 - shares)
    each = variances / max(float(variances.sum()), 1e-12)
    halves = []
    for share, part in zip(shares.tolist(), (each * total).tolist(), strict=True):
        n_eff = share * (1 - share) / part if part > 0 else float("inf")
        low, high = effective_wilson(share, n_eff, confidence)
        halves.append((high - low) / 2)
    return Forecast(int(allocation.sum()), tuple(halves))
