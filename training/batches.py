"""Batches of augmented crops, made in a background thread so that the network never waits for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from training.augment import Augmentation, augmented_crop
from training.pictures import Pictures, Pixels, cut

AHEAD = 4
"""Batches made before they are asked for."""


@dataclass(frozen=True)
class Batch:
    """Crops and which pictures they are of.

    Parameters
    ----------
    crops : numpy.ndarray
        Shape (n, channels, height, width), uint8.
    indices : numpy.ndarray
        Shape (n,): position of each in `Pictures`.
    partners, shares : numpy.ndarray, optional
        Where crops are mixed: position of the other picture, and the first one's share in the mixture, shape (n,).
    views : int
        So many crops that follow one another are of one picture; a split keeps them together.
    """

    crops: Pixels
    indices: npt.NDArray[np.int64]
    partners: npt.NDArray[np.int64] | None = None
    shares: npt.NDArray[np.float32] | None = None
    views: int = 1

    def split(self, count: int) -> list[Batch]:
        """Return `count` batches of nearly equal size with the same crops in the same order."""
        arrays: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        pictures = np.arange(len(self.crops)).reshape(-1, self.views)
        return [
            replace(self, **{name: value[chosen.reshape(-1)] for name, value in arrays.items()})
            for chosen in np.array_split(pictures, count)
        ]


SomeBatch = TypeVar("SomeBatch", bound=Batch)


def epoch_order(
    indices: npt.NDArray[np.int64], weights: npt.NDArray[np.float64] | None, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the order in which an epoch shows pictures.

    Parameters
    ----------
    indices : numpy.ndarray
        The pictures to show, shape (n,).
    weights : numpy.ndarray, optional
        Shape (n,). Drawn with replacement in proportion to these; without them each is shown once.
    rng : numpy.random.Generator
        Source of chance.
    """
    if weights is None:
        return rng.permutation(indices)
    return rng.choice(indices, len(indices), replace=True, p=weights / weights.sum())


def mixed(batch: Batch, groups: npt.NDArray[np.int64], concentration: float, rng: np.random.Generator) -> Batch:
    """Return a batch in which each crop is mixed with one of another group, where the batch has any.

    Parameters
    ----------
    batch : Batch
        Crops of single pictures.
    groups : numpy.ndarray
        The group of every picture in `Pictures`.
    concentration : float
        Of the symmetric beta distribution of the shares, above 0; the larger share stays with the crop's own picture.
    rng : numpy.random.Generator
        Source of chance.
    """
    by_group = np.argsort(groups[batch.indices], kind="stable")
    partner = np.empty_like(by_group)
    partner[by_group] = np.roll(by_group, len(by_group) // 2)
    shares = rng.beta(concentration, concentration, len(by_group)).astype(np.float32)
    shares = np.maximum(shares, 1 - shares)
    weight = shares.reshape(-1, 1, 1, 1)
    crops = np.rint(weight * batch.crops + (1 - weight) * batch.crops[partner]).astype(np.uint8)
    return Batch(crops, batch.indices, batch.indices[partner], shares)


def training_batches(
    pictures: Pictures,
    order: npt.NDArray[np.int64],
    size: int,
    side: tuple[int, int],
    augmentation: Augmentation,
    seed: tuple[int, ...],
    *,
    groups: npt.NDArray[np.int64] | None = None,
    mix_up: float = 0.0,
    views: int = 1,
) -> Iterator[Batch]:
    """Yield batches of augmented crops; what falls short of a full batch at the end is left out.

    Parameters
    ----------
    pictures : Pictures
        Where crops are cut from.
    order : numpy.ndarray
        Which pictures, in order.
    size : int
        Crops in a batch.
    side : (int, int)
        Width and height of a crop in pixels.
    augmentation : Augmentation
        How crops are disturbed.
    seed : tuple of int
        The same seed gives the same batches.
    groups : numpy.ndarray, optional
        The group of every picture; needed for `mix_up`.
    mix_up : float
        As in `training.settings.Settings`.
    views : int
        Crops of each picture, one after the other; `size` must be a multiple of it.
    """
    repeated = np.repeat(order, views)

    def make() -> Iterator[Batch]:
        rng = np.random.default_rng(seed)
        for start in range(0, len(repeated) - size + 1, size):
            chosen = repeated[start : start + size]
            crops = [
                augmented_crop(pictures.pixels[i], pictures.frames[i], *side, augmentation, rng, pictures.pixels)
                for i in chosen
            ]
            batch = Batch(channels_first(np.stack(crops)), chosen, views=views)
            yield batch if groups is None or mix_up == 0 else mixed(batch, groups, mix_up, rng)

    yield from in_background(make())


def plain_crops(pictures: Pictures, indices: npt.NDArray[np.int64], side: tuple[int, int]) -> Pixels:
    """Return undisturbed crops, shape (n, channels, height, width)."""
    return channels_first(np.stack([cut(pictures.pixels[i], pictures.frames[i], *side) for i in indices]))


def channels_first(crops: Pixels) -> Pixels:
    """Return crops (n, height, width[, 3]) as (n, channels, height, width)."""
    if crops.ndim == 3:
        return crops[:, None]
    return np.ascontiguousarray(np.moveaxis(crops, 3, 1))


def in_background(batches: Iterator[SomeBatch]) -> Iterator[SomeBatch]:
    """Yield the same batches in the same order, made ahead of time in a thread.

    An error in making one is raised where it would have been yielded; leaving early ends the thread.
    """
    ready: queue.Queue[SomeBatch | BaseException | None] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def put(item: SomeBatch | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
