"""How a store can reach a target: what to collect, which images to keep, how to weight them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from scipy import optimize, sparse

from audit import graded, sheet, targets
from audit import population as populations
from audit.estimate import FloatArray, IntArray, kish, resample, wilson
from audit.population import OK, Population
from audit.text import TO_CELL, count, plural, shown
from labeler.errors import LabelerError
from labeler.table import check_output
from labeler.taxonomy import ATTRIBUTES

RAKING_STEPS = 500
NEARLY_ONE = 0.999
"""Images that a kept class may be off its share where no subset has just these."""

RESAMPLES = 1000
"""Of the shares, for the range of what to collect."""


class PlanError(LabelerError):
    """A plan that cannot be made as it was asked for."""


@dataclass(frozen=True)
class Collection:
    """How many images of a class are missing.

    Parameters
    ----------
    label : str
        The class.
    have : float
        Images of it that the store holds by its estimated share.
    needed, low, high : int
        Images to add, and the range that the interval of the share leaves.
    precision : float or None
        Of images predicted as this class, the part that is; None where unknown.
    fetch : int or None
        Images predicted as this class to fetch, so that ``needed`` of them are; None where no precision is known.
    """

    label: str
    have: float
    needed: int
    low: int
    high: int
    precision: float | None
    fetch: int | None


@dataclass(frozen=True)
class Basis:
    """What a collection rests on.

    Parameters
    ----------
    grade : str
        ``verified`` or ``raw``.
    shares, low, high : array of shape (K,)
        Estimated shares among the classes, and the ends of each one's interval.
    draws : array of shape (B, K)
        The shares in resamples.
    images : float
        Images of the store that are of one of the classes.
    """

    grade: str
    shares: FloatArray
    low: FloatArray
    high: FloatArray
    draws: FloatArray
    images: float


def raw_basis(counts: IntArray, confidence: float, seed: int) -> Basis:
    """Return the basis that counts of predicted classes give; at least one image is labelled."""
    n = int(counts.sum())
    ends = np.array([wilson(int(count), n, confidence) for count in counts])
    draws = resample(counts, RESAMPLES, np.random.default_rng(seed)) / n
    return Basis("raw", counts / n, ends[:, 0], ends[:, 1], draws, float(n))


def verified_basis(found: graded.VerifiedShares, seed: int) -> Basis:
    """Return the basis that one attribute's verified shares give, where they are known."""
    classes = found.estimates[: found.shape[0]]
    value, low, high = (np.array([getattr(e, end) for e in classes], np.float64) for end in ("value", "low", "high"))
    total = max(float(value.sum()), 1e-12)
    images = float(found.design.sizes.sum()) * total
    draws = found.resampled(RESAMPLES, seed)
    return Basis("verified", found.shares(), np.minimum(low / total, 1.0), np.minimum(high / total, 1.0), draws, images)


def collect(
    basis: Basis,
    labels: tuple[str, ...],
    target: tuple[float, ...],
    confidence: float = 0.95,
    precision: FloatArray | None = None,
) -> list[Collection]:
    """Return what to add so that the store has the target shares and nothing is thrown away.

    ``M = max_k N θ_k / t_k`` is the size of the smallest store that holds all that is there and meets the target;
    ``a_k = ceil(M t_k − N θ_k)``. The range is that of a_k in the resamples, in which M varies too, and at least what
    the ends of the class's own interval give.

    Parameters
    ----------
    basis : Basis
        Estimated shares.
    labels, target : tuple of length K
        The classes and their wanted shares.
    confidence : float
        Of the range.
    precision : array of shape (K,), optional
        With which each class is recognised.

    Raises
    ------
    PlanError
        If a class is in the store whose target is 0: adding cannot help.

    Examples
    --------
    >>> shares = np.array([0.75, 0.25])
    >>> sure = Basis("verified", shares, shares, shares, shares[None], 100.0)
    >>> [row.needed for row in collect(sure, ("a", "b"), (0.5, 0.5))]
    [0, 50]
    """
    wanted = np.asarray(target)
    for k in np.flatnonzero(wanted == 0).tolist():
        if basis.low[k] > 0:
            raise PlanError(f"{shown(labels[k])} has the target 0 but is in the store; collecting cannot reach that")
    used = wanted > 0

    def missing(shares: FloatArray, size: FloatArray) -> FloatArray:
        """Return M t − N θ, at least 0, for sizes M of shape (...)."""
        return np.asarray(np.maximum(np.multiply.outer(size, wanted) - basis.images * shares, 0.0))

    def store(shares: FloatArray) -> FloatArray:
        """Return M for shares of shape (..., K)."""
        return np.asarray((basis.images * shares[..., used] / wanted[used]).max(axis=-1))

    size = store(basis.shares)
    value = missing(basis.shares, size)
    tail = (1 - confidence) / 2
    drawn = np.quantile(missing(basis.draws, store(basis.draws)), [tail, 1 - tail], axis=0)
    low = np.minimum.reduce([value, drawn[0], missing(basis.high, size)])
    high = np.maximum.reduce([value, drawn[1], missing(basis.low, size)])
    rows = []
    for k, label in enumerate(labels):
        needed, least, most = (math.ceil(round(float(ends[k]), 6)) for ends in (value, low, high))
        sure = None if precision is None or not precision[k] > 0 else float(precision[k])
        fetch = None if sure is None else math.ceil(needed / sure)
        rows.append(Collection(label, basis.images * float(basis.shares[k]), needed, least, most, sure, fetch))
    return rows


def keep(counts: IntArray, targets_of: tuple[tuple[float, ...] | None, ...]) -> IntArray:
    """Return how many images of each cell to keep: the largest subset that has the target margins.

    An integer programme: maximise the images kept; for each attribute with a target the kept of class k are exactly its
    share of them. Where no subset has just these shares, the kept of each class are less than one image off them.

    Parameters
    ----------
    counts : array of int, one axis an attribute
        Images in each cell.
    targets_of : tuple
        For each axis the wanted shares, or None where it is free.

    Raises
    ------
    PlanError
        If a wanted class has no image, or only the empty subset has these margins.

    Examples
    --------
    >>> keep(np.array([30, 10]), ((0.5, 0.5),)).tolist()
    [10, 10]
    >>> keep(np.array([171, 178]), ((0.489, 0.511),)).tolist()
    [171, 178]
    """
    for axis, target in enumerate(targets_of):
        others = tuple(other for other in range(counts.ndim) if other != axis)
        if target is not None and ((counts.sum(axis=others) == 0) & (np.asarray(target) > 0)).any():
            raise PlanError(
                "no subset of this store has the target shares: a wanted class has no image; collect some first"
            )
    exact = [None if target is None else _ratios(target) for target in targets_of]
    near = [None if target is None else [(share, 1.0) for share in target] for target in targets_of]
    for ratios_of, slack in ((exact, 0.0), (near, NEARLY_ONE)):
        kept = _largest(counts, ratios_of, slack)
        if kept.sum():
            return kept
    raise PlanError("no subset of this store has all the target shares at once; give a target for fewer attributes")


def _largest(counts: IntArray, ratios_of: Sequence[Sequence[tuple[float, float]] | None], slack: float) -> IntArray:
    """Return the largest subset in which ``bottom · kept_k − top · kept`` is at most the slack, either way."""
    cells = counts.size
    index = np.arange(cells).reshape(counts.shape)
    rows, columns, values = [], [], []
    line = 0
    for axis, ratios in enumerate(ratios_of):
        for k, (top, bottom) in enumerate(ratios or ()):
            members = np.take(index, k, axis=axis).ravel()
            # In whole numbers where they are exact, so that rounding cannot creep in.
            coefficients = np.full(cells, -float(top))
            coefficients[members] += bottom
            used = np.flatnonzero(coefficients)
            rows += [line] * len(used)
            columns += used.tolist()
            values += coefficients[used].tolist()
            line += 1
    matrix = sparse.csr_array((values, (rows, columns)), shape=(line, cells))
    found = optimize.milp(
        -np.ones(cells),
        constraints=optimize.LinearConstraint(matrix, -slack, slack),
        integrality=np.ones(cells, dtype=np.int64),
        bounds=optimize.Bounds(0, counts.ravel().astype(np.float64)),
        options={"time_limit": 60.0},
    )
    kept = np.zeros(cells) if found.x is None else np.rint(found.x)
    return kept.astype(np.int64).reshape(counts.shape)


def _ratios(target: tuple[float, ...]) -> list[tuple[int, int]]:
    """Return shares as ratios of whole numbers with one small common divisor that add to 1.

    Examples
    --------
    >>> _ratios((0.25, 0.75))
    [(1, 4), (3, 4)]
    """
    for bottom in range(1, 1001):
        tops = [round(share * bottom) for share in target]
        if sum(tops) == bottom and all(
            abs(top / bottom - share) < 1e-9 for top, share in zip(tops, target, strict=True)
        ):
            break
    else:
        bottom = 1000
        tops = [math.floor(share * bottom) for share in target]
        for k in sorted(range(len(target)), key=lambda k: tops[k] - target[k] * bottom)[: bottom - sum(tops)]:
            tops[k] += 1
    return [(top, bottom) for top in tops]


def rake(counts: IntArray, targets_of: tuple[tuple[float, ...] | None, ...]) -> FloatArray:
    """Return a weight for the images of each cell so that the weighted margins are the targets, mean weight 1.

    Iterative proportional fitting (Deming and Stephan 1940, Annals of Mathematical Statistics 11:427); with one
    attribute this is t/θ.

    Parameters
    ----------
    counts, targets_of
        As `keep` takes them.

    Raises
    ------
    PlanError
        If a wanted class has no image, or the margins cannot be met together.

    Examples
    --------
    >>> rake(np.array([30, 10]), ((0.5, 0.5),)).round(6).tolist()
    [0.666667, 2.0]
    """
    table = counts / counts.sum()
    weight = np.ones(counts.shape)
    for _ in range(RAKING_STEPS):
        worst = 0.0
        for axis, target in enumerate(targets_of):
            if target is None:
                continue
            others = tuple(other for other in range(counts.ndim) if other != axis)
            margin, wanted = (table * weight).sum(axis=others), np.asarray(target)
            if ((margin == 0) & (wanted > 0)).any():
                raise PlanError("a wanted class has no image, so no weight can stand in for it; collect some first")
            factor = np.divide(wanted, margin, out=np.zeros_like(wanted), where=margin > 0)
            worst = max(worst, float(np.abs(margin - wanted).max()))
            weight = weight * factor.reshape([-1 if other == axis else 1 for other in range(counts.ndim)])
        if worst < 1e-12:
            return weight
    if worst > 1e-6:
        raise PlanError("no weights meet all targets at once; give a target for fewer attributes")
    return weight


@dataclass(frozen=True)
class Plan:
    """A plan for a store.

    Parameters
    ----------
    basis : str
        The grade of the shares that the collection rests on.
    collections : mapping of str to list of Collection
        For each attribute that the target speaks of.
    kept : array of bool, shape (N,)
        The rows of the largest subset with the target margins, by the predicted classes.
    weights : array of shape (N,)
        A weight for each row; 0 where it has no label.
    problems : tuple of str
        Why a part could not be made.
    """

    basis: str
    collections: Mapping[str, list[Collection]]
    kept: np.typing.NDArray[np.bool_]
    weights: FloatArray
    problems: tuple[str, ...]

    @property
    def effective_size(self) -> float:
        """Images that the weighted store is worth (Kish)."""
        return kish(self.weights)


def make(
    labels: str | os.PathLike[str],
    target: str,
    *,
    checked: tuple[str | os.PathLike[str], ...] = (),
    attributes: tuple[str, ...] = (),
    confidence: float = 0.95,
    seed: int = 0,
) -> Plan:
    """Plan how a label table's store reaches a target.

    Parameters
    ----------
    labels : path
        The label table.
    target : str
        As `audit.targets.read` takes it.
    checked : tuple of path
        Filled sheets; then what to collect rests on verified shares, else on raw ones.
    attributes : tuple of str
        The attributes to balance; all that the target speaks of unless given.
    seed : int
        Which images of a cell are kept.

    Raises
    ------
    LabelerError
        If an input cannot be read, or no image is labelled.
    """
    population = populations.read(labels)
    wanted = targets.read(target, population.classes)
    chosen = tuple(name for name in wanted.judged if not attributes or name in attributes)
    if not chosen:
        raise PlanError(f"--target {shown(target)}: says nothing of the attributes asked for; add them to it")
    if not (population.outcomes == OK).any():
        raise PlanError(f"{shown(population.name)}: no image is labelled, so there is nothing to plan with")
    answers = sheet.read(checked, labels, population) if checked else None
    problems: list[str] = []
    collections = {}
    for name in chosen:
        basis, precision = _basis(population, name, labels, answers, confidence, seed)
        try:
            collections[name] = collect(basis, population.classes[name], wanted.shares[name], confidence, precision)
        except PlanError as error:
            problems.append(f"{name}: {error}")
    counts = population.joint(ATTRIBUTES)
    margins = tuple(wanted.shares[name] if name in chosen else None for name in ATTRIBUTES)
    kept, weights = np.zeros(counts.shape, dtype=np.int64), np.zeros(counts.shape)
    try:
        kept = keep(counts, margins)
    except PlanError as error:
        problems.append(str(error))
    try:
        weights = rake(counts, margins)
    except PlanError as error:
        problems.append(str(error))
    return Plan(
        "verified" if answers else "raw",
        collections,
        _chosen_rows(population, kept, seed),
        _row_weights(population, weights),
        tuple(problems),
    )


def _basis(
    population: Population,
    name: str,
    labels: str | os.PathLike[str],
    answers: sheet.Checked | None,
    confidence: float,
    seed: int,
) -> tuple[Basis, FloatArray | None]:
    """Return what the collection of an attribute rests on, and the precision of each predicted class if known."""
    if answers is None:
        return raw_basis(population.counts(name), confidence, seed), None
    found = graded.verified(population, graded.Sample.read(population, labels, answers), (name,), confidence)
    if found.unknown:
        raise PlanError(
            f"--checked: {found.unknown} for {name}; fill in the rest of the sheet, plan with --attribute for another "
            "attribute, or leave --checked out"
        )
    return verified_basis(found, seed), graded.precision(population, answers, name)


def _cells(population: Population) -> IntArray:
    cell = np.zeros(len(population.outcomes), dtype=np.int64)
    for name in ATTRIBUTES:
        cell = cell * len(population.classes[name]) + population.codes[name]
    return np.where(population.outcomes == OK, cell, -1)


def _chosen_rows(population: Population, kept: IntArray, seed: int) -> np.typing.NDArray[np.bool_]:
    cells = _cells(population)
    order = np.random.default_rng([seed, 3]).permutation(len(cells))
    order = order[cells[order] >= 0]
    order = order[np.argsort(cells[order], kind="stable")]
    sizes = np.bincount(cells[order], minlength=kept.size)
    rank = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[cells[order]]
    chosen = np.zeros(len(cells), dtype=bool)
    chosen[order] = rank < kept.ravel()[cells[order]]
    return chosen


def _row_weights(population: Population, weights: FloatArray) -> FloatArray:
    cells = _cells(population)
    return np.where(cells >= 0, weights.ravel()[np.maximum(cells, 0)], 0.0)


def write(plan: Plan, labels: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write ``path``, ``keep`` and ``weight`` of every labelled image, for a trainer: Parquet, or CSV by its ending.

    Raises
    ------
    LabelerError
        If the output cannot be written there.
    """
    target = check_output(out)
    rows = np.flatnonzero((plan.weights > 0) | plan.kept)
    table = populations.take(labels, rows, ["path"])
    table = table.append_column("keep", pa.array(plan.kept[rows]))
    table = table.append_column("weight", pa.array(plan.weights[rows]))
    temporary = target.with_name(f".{target.name}.tmp")
    if target.suffix == ".csv":
        paths = pc.replace_substring_regex(table.column("path"), *TO_CELL)
        table = table.set_column(table.schema.get_field_index("path"), "path", paths)
        pcsv.write_csv(table, temporary)
    else:
        pq.write_table(table, temporary, compression="zstd")
    temporary.replace(target)


def describe(plan: Plan) -> list[str]:
    """Return a plan in lines for a person: what to collect, what to keep, what weighting costs."""
    lines = [f"Collection rests on {plan.basis} shares."]
    for name, rows in plan.collections.items():
        lines.append(f"To collect, by {name}:")
        for row in rows:
            fetch = "" if row.fetch is None else f"; fetch {count(row.fetch)} predicted so"
            lines.append(
                f"  {shown(row.label)}: have about {count(round(row.have))}, add {count(row.needed)} "
                f"({count(row.low)} to {count(row.high)}){fetch}"
            )
    if plan.kept.any():
        lines.append(f"Largest subset with the target shares: {plural(int(plan.kept.sum()), 'image')}.")
    if plan.weights.any():
        lines.append(
            f"Weighted, {plural(int((plan.weights > 0).sum()), 'image')} are worth {count(round(plan.effective_size))}."
        )
    lines += [f"Not possible: {problem}" for problem in plan.problems]
    lines.append("A subset chosen by predictions has to be checked anew before it carries a verdict.")
    return lines
