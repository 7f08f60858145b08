"""Near-duplicates: images whose perceptual hashes differ in at most two bits, found without comparing all with all."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from audit.estimate import IntArray

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.signedinteger]
"""Whole numbers; 4 bytes each where `groups` made them, since there may be ten million."""

DISTANCE = 2
BANDS = 4
BITS = 16


def groups(hashes: Hashes) -> Places:
    """Return a group number for each hash: images linked by near-duplicates share one.

    Two bits touch at most two of four bands of 16 bits, so two near-duplicates agree in at least two whole bands: the
    hashes are sorted by each pair of bands, and only neighbours with equal bands are compared (the pigeonhole of
    Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling").

    Parameters
    ----------
    hashes : array of uint64, shape (n,)

    Returns
    -------
    array of int, shape (n,)
        Equal for images that are near-duplicates, directly or by a chain of them.

    Examples
    --------
    >>> groups(np.array([0, 3, 255], dtype=np.uint64)).tolist()
    [0, 0, 1]
    """
    distinct, where = _distinct(hashes)
    leader = np.arange(len(distinct), dtype=np.int32)
    pairs = [_near(distinct, bands) for bands in combinations(range(BANDS), 2)]
    first, second = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    # The graph holds only hashes that are near another: few, where the hashes are many.
    nodes, ends = np.unique(np.concatenate([first, second]), return_inverse=True)
    half, size = len(first), len(nodes)
    graph = coo_matrix((np.ones(half, dtype=np.int8), (ends[:half], ends[half:])), shape=(size, size))
    count, component = connected_components(graph, directed=False)
    smallest = np.full(count, len(distinct), dtype=np.int32)
    np.minimum.at(smallest, component, nodes)
    leader[nodes] = smallest[component]
    number = np.cumsum(leader == np.arange(len(leader)), dtype=np.int32) - 1
    return number[leader][where]


def _distinct(hashes: Hashes) -> tuple[Hashes, Places]:
    """Return the different hashes in order, and the place of each hash among them: `numpy.unique` in less memory."""
    order = np.argsort(hashes).astype(np.int32)
    ascending = hashes[order]
    begins = np.ones(len(hashes), dtype=bool)
    begins[1:] = ascending[1:] != ascending[:-1]
    where = np.empty(len(hashes), dtype=np.int32)
    where[order] = np.cumsum(begins, dtype=np.int32) - 1
    return ascending[begins], where


def _near(distinct: Hashes, bands: tuple[int, int]) -> tuple[Places, Places]:
    """Return the pairs of places of near-duplicates that agree in two bands."""
    parts = distinct.view(np.uint16).reshape(-1, BANDS)
    keys = parts[:, bands[0]].astype(np.uint32)
    keys <<= BITS
    keys |= parts[:, bands[1]]
    order = np.argsort(keys).astype(np.int32)
    keys = keys[order]
    firsts, seconds = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.int32)]
    at = np.flatnonzero(keys[1:] == keys[:-1])
    step = 1
    while len(at):
        one, other = order[at], order[at + step]
        near = np.bitwise_count(distinct[one] ^ distinct[other]) <= DISTANCE
        firsts.append(one[near])
        seconds.append(other[near])
        step += 1
        at = at[at + step < len(keys)]
        at = at[keys[at] == keys[at + step]]
    return np.concatenate(firsts), np.concatenate(seconds)


def repeated(group: Places) -> npt.NDArray[np.bool_]:
    """Return which images have a near-duplicate.

    Examples
    --------
    >>> repeated(np.array([0, 0, 1])).tolist()
    [True, True, False]
    """
    return np.asarray((np.bincount(group) > 1)[group])


def representatives(group: Places) -> npt.NDArray[np.bool_]:
    """Return a mask that keeps the first image of each group.

    Examples
    --------
    >>> representatives(np.array([0, 0, 1])).tolist()
    [True, False, True]
    """
    # The last assignment to a place stands, so going backwards the first image of each group does.
    first = np.empty(int(group.max(initial=-1)) + 1, dtype=np.int32)
    first[group[::-1]] = np.arange(len(group) - 1, -1, -1, dtype=np.int32)
    keep = np.zeros(len(group), dtype=bool)
    keep[first] = True
    return keep


def largest(group: Places, count: int) -> list[IntArray]:
    """Return the places of the images of the largest groups, largest first.

    Examples
    --------
    >>> [members.tolist() for members in largest(np.array([0, 1, 1]), 5)]
    [[1, 2]]
    """
    sizes = np.bincount(group)
    several = np.flatnonzero(sizes > 1)
    order = several[np.lexsort((several, -sizes[several]))][:count]
    return [np.flatnonzero(group == number) for number in order.tolist()]
