"""Near-duplicates: images whose perceptual hashes differ in at most two bits, found without comparing all with all."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from audit.estimate import IntArray

Hashes = npt.NDArray[np.uint64]

DISTANCE = 2
BANDS = 4
BITS = 16


def groups(hashes: Hashes) -> IntArray:
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
    distinct, where = np.unique(hashes, return_inverse=True)
    pairs = [_near(distinct, bands) for bands in combinations(range(BANDS), 2)]
    first, second = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    size = len(distinct)
    graph = coo_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return np.asarray(component, dtype=np.int64)[where]


def _near(distinct: Hashes, bands: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """Return the pairs of places of near-duplicates that agree in two bands."""
    mask = np.uint64(sum((2**BITS - 1) << (BITS * band) for band in bands))
    keys = distinct & mask
    order = np.argsort(keys, kind="stable")
    keys, ordered = keys[order], distinct[order]
    firsts, seconds = [], []
    at = np.arange(len(keys) - 1)
    step = 1
    while True:
        at = at[at + step < len(keys)]
        at = at[keys[at] == keys[at + step]]
        if len(at) == 0:
            break
        near = np.bitwise_count(ordered[at] ^ ordered[at + step]) <= DISTANCE
        firsts.append(order[at[near]])
        seconds.append(order[at[near] + step])
        step += 1
    empty = np.empty(0, dtype=np.int64)
    return np.concatenate([empty, *firsts]), np.concatenate([empty, *seconds])


def repeated(group: IntArray) -> npt.NDArray[np.bool_]:
    """Return which images have a near-duplicate.

    Examples
    --------
    >>> repeated(np.array([0, 0, 1])).tolist()
    [True, True, False]
    """
    return np.asarray(np.bincount(group)[group] > 1)


def representatives(group: IntArray) -> npt.NDArray[np.bool_]:
    """Return a mask that keeps the first image of each group.

    Examples
    --------
    >>> representatives(np.array([0, 0, 1])).tolist()
    [True, False, True]
    """
    keep = np.zeros(len(group), dtype=bool)
    keep[np.unique(group, return_index=True)[1]] = True
    return keep


def largest(group: IntArray, count: int) -> list[IntArray]:
    """Return the places of the images of the largest groups, largest first.

    Examples
    --------
    >>> [members.tolist() for members in largest(np.array([0, 1, 1]), 5)]
    [[1, 2]]
    """
    sizes = np.bincount(group)
    order = np.lexsort((np.arange(len(sizes)), -sizes))[:count]
    return [np.flatnonzero(group == number) for number in order.tolist() if sizes[number] > 1]
