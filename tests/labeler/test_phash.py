"""Claims about the perceptual hash: near for copies of one picture, far for different ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from labeler.decode import decode, to_gray
from labeler.phash import perceptual_hash
from tests.labeler.pictures import save, scene

PICTURE = scene(224, 224)


def distance(one: int, other: int) -> int:
    """Return the number of bits in which two hashes differ."""
    return (one ^ other).bit_count()


@pytest.mark.parametrize(
    "copy",
    [
        cv2.resize(PICTURE, (96, 96), interpolation=cv2.INTER_AREA),
        cv2.resize(PICTURE, (500, 500), interpolation=cv2.INTER_CUBIC),
        decode(save(PICTURE, "JPEG", quality=50)).pixels,
        decode(save(PICTURE, "WEBP", quality=50)).pixels,
        np.clip(PICTURE.astype(np.int16) + 12, 0, 255).astype(np.uint8),
    ],
    ids=["smaller", "larger", "jpeg", "webp", "brighter"],
)
def test_a_copy_lies_near(copy: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    assert distance(perceptual_hash(copy), perceptual_hash(PICTURE)) <= 6


def test_different_pictures_lie_far_apart() -> None:
    hashes = [perceptual_hash(scene(224, 224, seed)) for seed in range(12)]
    distances = [distance(a, b) for k, a in enumerate(hashes) for b in hashes[:k]]
    assert min(distances) >= 14
    assert 26 <= float(np.mean(distances)) <= 38


def test_colour_is_no_part_of_the_hash() -> None:
    assert distance(perceptual_hash(PICTURE), perceptual_hash(to_gray(PICTURE))) <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 40_000), (32, 32)])
def test_any_size_has_a_hash_of_64_bits(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    assert 0 <= perceptual_hash(picture) < 2**64
    assert perceptual_hash(picture) == perceptual_hash(picture.copy())


def test_a_black_picture_has_no_frequency_above_another() -> None:
    assert perceptual_hash(np.zeros((50, 40, 3), np.uint8)) == 0
