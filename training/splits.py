"""Splits that keep near-duplicates on one side, and what the labels of near-duplicates say about the labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from labeler.errors import LabelerError
from labeler.phash import perceptual_hash
from labeler.table import check_output
from labeler.taxonomy import UTKFACE, group_of_age
from training.datasets import read_age_csv, read_age_pixels, read_fairface, read_utkface
from training.metrics import wilson
from training.pictures import decoded_picture
from training.sources import checked_data_set

DISTANCE = 2
"""Bits in which the perceptual hashes of near-duplicates differ at most."""

HASH_BITS = 64

Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Conflict:
    """How often the two pictures of a near-duplicate pair are labelled differently.

    Parameters
    ----------
    label : str
        ``age_group``, ``gender`` or ``ethnicity``; ``age`` for years.
    value, low, high : float
        The share of pairs and its 95 % interval (Wilson); for ``age`` the mean absolute difference in years, without
        an interval.
    pairs : int
        Pairs it rests on.
    """

    label: str
    value: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Split:
    """A data set split in two.

    Parameters
    ----------
    frame : pandas.DataFrame
        ``img_name``, ``split`` (``train`` or ``val``) and ``duplicate_group``.
    duplicates : int
        Pictures that have a near-duplicate.
    conflicts : sequence of Conflict
        The noise ceiling: no classifier can agree with both labels of such a pair.
    """

    frame: pd.DataFrame
    duplicates: int
    conflicts: Sequence[Conflict]


def near_duplicates(hashes: Hashes, distance: int = DISTANCE) -> Pairs:
    """Return the pairs of hashes that differ in few bits, shape (m, 2), each once, the smaller position first.

    Two hashes that differ in `distance` bits agree in at least one of ``distance + 1`` bands of bits, so only hashes
    that share a band are compared (Manku et al. 2007, "Detecting near-duplicates for web crawling").

    Parameters
    ----------
    hashes : numpy.ndarray
        Shape (n,), uint64.
    distance : int
        Largest Hamming distance.

    Examples
    --------
    >>> near_duplicates(np.array([0b111, 0b1111, 0xFFFF0000], np.uint64)).tolist()
    [[0, 1]]
    """
    edges = np.linspace(0, HASH_BITS, distance + 2).astype(int)
    found: list[Pairs] = [np.empty((0, 2), np.int64)]
    for low, high in pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(band[order]) != 0])
        found += [_close_pairs(hashes, members, distance) for members in np.split(order, starts[1:])]
    return np.unique(np.concatenate(found), axis=0)


def _close_pairs(hashes: Hashes, members: Pairs, distance: int) -> Pairs:
    close = [np.empty((0, 2), np.int64)]
    for number, one in enumerate(members[:-1]):
        others = members[number + 1 :]
        near = others[np.bitwise_count(hashes[others] ^ hashes[one]) <= distance]
        close.append(np.sort(np.stack([np.full(len(near), one), near], axis=1), axis=1))
    return np.concatenate(close)


def duplicate_groups(count: int, pairs: Pairs) -> npt.NDArray[np.int64]:
    """Return the group of each of `count` pictures, numbered from 0: those that pairs connect are in one."""
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def validation_mask(
    groups: npt.NDArray[np.int64], strata: npt.NDArray[np.int64], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Choose whole groups for validation, about the same share of each stratum.

    Parameters
    ----------
    groups, strata : numpy.ndarray
        Of each picture, shape (n,); a group counts in the stratum of its first picture.
    share : float
        Of the groups that go to validation, between 0 and 1.
    seed : int
        Of the choice.

    Returns
    -------
    numpy.ndarray
        True for validation, shape (n,).
    """
    rng = np.random.default_rng(seed)
    numbers, first = np.unique(groups, return_index=True)
    order = rng.permutation(len(numbers))
    order = order[np.argsort(strata[first][order], kind="stable")]
    start = rng.uniform(0, 1 / share)
    chosen = order[np.arange(start, len(order), 1 / share).astype(np.int64)]
    return np.isin(groups, numbers[chosen])


def label_conflicts(frame: pd.DataFrame, pairs: Pairs) -> list[Conflict]:
    """Return how often near-duplicates are labelled differently, and by how many years where ages are known."""
    one, other = frame.iloc[pairs[:, 0]], frame.iloc[pairs[:, 1]]
    conflicts = []
    for label in ("gender", "ethnicity", "age_group"):
        differ = int(np.sum(one[label].to_numpy() != other[label].to_numpy()))
        share = differ / len(pairs) if len(pairs) else float("nan")
        conflicts.append(Conflict(label, share, *wilson(differ, len(pairs)), len(pairs)))
    if frame["age"].notna().all() and len(pairs):
        years = float(np.abs(one["age"].to_numpy() - other["age"].to_numpy()).mean())
        conflicts.append(Conflict("age", years, float("nan"), float("nan"), len(pairs)))
    return conflicts


def split_data_set(
    data_set: str, source: str | os.PathLike[str], *, share: float = 0.1, seed: int = 1, threads: int = 2
) -> Split:
    """Split a data set into training and validation.

    Parameters
    ----------
    data_set : str
        One of `training.sources.DATA_SETS`.
    source : path
        For ``fairface`` the label file, whose training images lie beside it; for ``utkface`` the CSV file of the AGE
        data set or a folder of images.
    share : float
        Of the pictures that go to validation, between 0 and 1.
    seed : int
        Of the choice.
    threads : int
        Files decoded at once.

    Raises
    ------
    LabelerError
        If the data set cannot be read or the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise LabelerError(f"--share {share}: expected more than 0 and less than 1")
    frame, hashes = _hashed(checked_data_set(data_set), Path(source), threads)
    pairs = near_duplicates(hashes)
    groups = duplicate_groups(len(frame), pairs)
    mask = validation_mask(groups, _strata(frame), share, seed)
    table = pd.DataFrame(
        {"img_name": frame["path"], "split": np.where(mask, "val", "train"), "duplicate_group": groups}
    )
    return Split(table, len(np.unique(pairs)), label_conflicts(frame, pairs))


def write_split(split: Split, path: str | os.PathLike[str]) -> None:
    """Write a split as CSV, as ``train-labelers train --splits`` reads it.

    Raises
    ------
    LabelerError
        If the file cannot be written.
    """
    split.frame.to_csv(check_output(path), index=False, lineterminator="\n")


def _hashed(data_set: str, source: Path, threads: int) -> tuple[pd.DataFrame, Hashes]:
    if data_set == "utkface" and not source.is_dir():
        frame = read_age_csv(source)
        return frame, np.array([perceptual_hash(pixels) for pixels in read_age_pixels(source)], np.uint64)
    frame = read_fairface(source, "train") if data_set == "fairface" else read_utkface(source)
    root = source.parent if data_set == "fairface" else source
    paths = [root / path for path in frame["path"]]
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda path: perceptual_hash(decoded_picture(path)), paths))
    return frame, np.array(found, np.uint64)


def _strata(frame: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return a number for each gender, ethnicity and decade, or FairFace group where only that is known."""
    ages = frame["age_group"]
    if frame["age"].notna().all():
        ages = pd.Series([group_of_age(age, UTKFACE.classes["age"]) for age in frame["age"]], index=frame.index)
    cells = frame["gender"].astype(str) + "/" + frame["ethnicity"].astype(str) + "/" + ages.astype(str)
    return np.asarray(pd.factorize(cells, sort=True)[0], np.int64)
