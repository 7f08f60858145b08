"""Small cells: what has to be withheld so that no published count, sum or difference gives them away."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import numpy.typing as npt

from audit.estimate import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]
Axes = tuple[int, ...]

TINY = 1e-9
"""Below this an entry of the row echelon form is 0; its entries are ratios of small whole numbers."""


def margins(dimensions: int) -> list[Axes]:
    """Return the tables that are published of a cross table: by each axis, each pair, and so on to all.

    Examples
    --------
    >>> margins(2)
    [(0,), (1,), (0, 1)]
    """
    return [axes for size in range(1, dimensions + 1) for axes in combinations(range(dimensions), size)]


def protect(
    counts: IntArray, min_cell: int, order: int | None = None, earlier: Mapping[Axes, BoolArray] | None = None
) -> dict[Axes, BoolArray]:
    """Return, for each published table, which of its cells have to be withheld.

    Primary: every cell of 1 to ``min_cell − 1`` images. Complementary: cells are added, smallest first, until no
    withheld small cell follows by adding and subtracting what is published: the sums that bind the tables are brought
    into row echelon form, and none may be left with one unknown (Willenborg and de Waal 2001, "Elements of statistical
    disclosure control", chapter 7). The total is always published. The same counts give the same cells, so two audits
    of one store agree. Where a store has changed, cells withheld earlier stay so: whoever knows which images came
    could else put the earlier table's sums beside the later one's.

    Parameters
    ----------
    counts : array of int, any shape
        The finest table; the others are its sums.
    min_cell : int
        Smallest count shown.
    order : int, optional
        Attributes of the finest table that is published; all unless given.
    earlier : dict of tuple of int to array of bool, optional
        What an earlier audit of the store withheld, as this function returned it; a table may be missing.

    Returns
    -------
    dict of tuple of int to array of bool
        By the axes kept, in the shape of that table.

    Examples
    --------
    >>> protect(np.array([50, 20, 3]), 10)[(0,)].tolist()
    [False, True, True]
    """
    tables = [axes for axes in margins(counts.ndim) if len(axes) <= (order or counts.ndim)]
    sizes = {axes: _margin(counts, axes) for axes in tables}
    starts, total = {}, 0
    for axes in tables:
        starts[axes] = total
        total += sizes[axes].size
    values = np.concatenate([sizes[axes].ravel() for axes in tables])
    relations = _relations(counts.shape, tables, starts, total)
    small = (values > 0) & (values < min_cell)
    withheld = small.copy()
    for axes, mask in (earlier or {}).items():
        withheld[starts[axes] : starts[axes] + sizes[axes].size] |= mask.ravel()
    while True:
        lone = np.flatnonzero(_alone(relations, withheld))
        given_away = lone if len(lone) else np.flatnonzero(_determined(relations, withheld) & small)[:1]
        if len(given_away) == 0:
            break
        for cell in given_away.tolist():
            # A partner of an earlier cell may hide this one already.
            if len(lone) == 0 or _alone(relations[relations[:, cell] != 0], withheld)[cell]:
                _add_partner(relations, cell, withheld, values, min_cell)
    return {
        axes: withheld[starts[axes] : starts[axes] + sizes[axes].size].reshape(sizes[axes].shape) for axes in tables
    }


def _margin(counts: IntArray, axes: Axes) -> IntArray:
    return np.asarray(counts.sum(axis=tuple(axis for axis in range(counts.ndim) if axis not in axes)))


def _relations(shape: tuple[int, ...], tables: list[Axes], starts: dict[Axes, int], total: int) -> FloatArray:
    """Return a row for each sum that binds the cells: a coarser cell minus the finer ones below it is known."""
    rows = []
    for axes in tables:
        finer = np.arange(int(np.prod([shape[axis] for axis in axes]))).reshape([shape[axis] for axis in axes])
        for place, axis in enumerate(axes):
            coarser = tuple(other for other in axes if other != axis)
            lines = np.moveaxis(finer, place, -1).reshape(-1, shape[axis])
            for number, line in enumerate(lines):
                row = np.zeros(total)
                row[starts[axes] + line] = 1
                if coarser:
                    row[starts[coarser] + number] = -1
                rows.append(row)
    return np.array(rows)


def _determined(relations: FloatArray, withheld: BoolArray) -> BoolArray:
    """Return which withheld cells follow from the published ones by linear algebra."""
    determined = np.zeros(len(withheld), dtype=bool)
    if not withheld.any():
        return determined
    unknown = relations[:, withheld]
    unknown = np.unique(unknown[(unknown != 0).any(axis=1)], axis=0)
    if len(unknown) == 0:
        return determined
    reduced = _row_echelon(unknown)
    lone = reduced[(reduced != 0).sum(axis=1) == 1]
    determined[withheld] = (lone != 0).any(axis=0)
    return determined


def _row_echelon(matrix: FloatArray) -> FloatArray:
    """Return the reduced row echelon form; a row with one entry left says that this unknown follows."""
    reduced = matrix.copy()
    row = 0
    for column in range(reduced.shape[1]):
        if row == len(reduced):
            break
        pivot = row + int(np.argmax(np.abs(reduced[row:, column])))
        if abs(reduced[pivot, column]) < TINY:
            continue
        reduced[[row, pivot]] = reduced[[pivot, row]]
        reduced[row] /= reduced[row, column]
        others = np.flatnonzero(reduced[:, column])
        others = others[others != row]
        reduced[others] -= np.outer(reduced[others, column], reduced[row])
        reduced[np.abs(reduced) < TINY] = 0
        row += 1
    return reduced[:row]


def _alone(relations: FloatArray, withheld: BoolArray) -> BoolArray:
    """Return which withheld cells are the only unknown of a sum: the common case, found without linear algebra."""
    alone = (relations != 0) & withheld
    return np.asarray(alone[alone.sum(axis=1) == 1].any(axis=0))


def _add_partner(relations: FloatArray, cell: int, withheld: BoolArray, values: IntArray, min_cell: int) -> None:
    """Withhold one more cell that shares a sum with a cell given away: a sibling if there is one, the smallest."""
    bound = relations[relations[:, cell] != 0]
    alone = ((bound != 0) & withheld).sum(axis=1) == 1
    bound = bound[alone] if alone.any() else bound
    for siblings in (bound[bound[:, cell] > 0] > 0, bound != 0):
        partners = np.flatnonzero(siblings.any(axis=0) & ~withheld)
        for pool in (partners[values[partners] >= min_cell], partners):
            if len(pool):
                withheld[pool[np.argmin(values[pool])]] = True
                return
    # No sum is left that could hide it: everything but the total goes.
    withheld[:] = True
