"""Claims about damage in a JPEG's scan that its decoder accepts: it is seen, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from labeler.damage import UNITS, brightness_jumps
from labeler.decode import Limits, Pixels, check, decode, decode_checked
from labeler.errors import DecodeError
from tests.labeler.photos import photo
from tests.labeler.pictures import save

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "page", "text", "camera", "retina")
CODES = {"444": 0, "422": 1, "420": 2}


def picture(name: str, width: int = 320, height: int = 280) -> Pixels:
    """Return a photo of scikit-image in RGB, at a size."""
    pixels = photo(name)
    colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2)
    return np.asarray(cv2.resize(colour, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def shifted(pixels: Pixels, subsampling: str, row: int, column: int, jump: int, reduction: int = 1) -> Pixels:
    """Return a picture whose brightness is shifted from one unit of its scan on."""
    width, height = (side // reduction for side in UNITS[subsampling])
    values = pixels.astype(int)
    values[row * height : (row + 1) * height, column * width :] += jump
    values[(row + 1) * height :] += jump
    return np.asarray(np.clip(values, 0, 255), np.uint8)


@pytest.mark.parametrize("subsampling", CODES)
@pytest.mark.parametrize("jump", [-25, 25, 60])
@pytest.mark.parametrize(("row", "column"), [(4, 3), (8, 9), (6, 14)])
def test_a_shift_from_one_place_of_the_scan_on_is_seen(subsampling: str, jump: int, row: int, column: int) -> None:
    for name in ("astronaut", "chelsea", "coffee"):
        assert brightness_jumps(shifted(picture(name), subsampling, row, column, jump), subsampling)


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_shift_is_seen_in_a_picture_reduced_in_decoding(reduction: int) -> None:
    content = save(picture("astronaut", 2400, 1800), "JPEG", quality=90)
    reduced = simplejpeg.decode_jpeg(content, "RGB", min_height=1800 // reduction, min_width=2400 // reduction)
    assert not brightness_jumps(reduced, "420", reduction)
    assert brightness_jumps(shifted(reduced, "420", 40, 70, 30, reduction), "420", reduction)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("subsampling", CODES)
@pytest.mark.parametrize("quality", [40, 90])
def test_a_photo_is_not_taken_for_damaged(name: str, subsampling: str, quality: int) -> None:
    for width, height in ((320, 280), (203, 331)):
        content = save(picture(name, width, height), "JPEG", quality=quality, subsampling=CODES[subsampling])
        assert decode(content).pixels.shape == (height, width, 3)


@pytest.mark.parametrize(("top", "bottom"), [(16, 264), (32, 240), (48, 248)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_bars_and_frames_on_the_edges_of_blocks_are_not_taken_for_damage(top: int, bottom: int, level: int) -> None:
    for name in PHOTOS:
        framed = picture(name)
        framed[:top] = framed[bottom:] = level
        assert not brightness_jumps(framed, "420")
        framed[:, :16] = framed[:, -16:] = level
        assert not brightness_jumps(framed, "420")


def test_a_picture_of_few_units_is_not_judged() -> None:
    for width, height in ((8, 8), (96, 96), (600, 40), (1, 600), (600, 1)):
        assert not brightness_jumps(np.zeros((height, width, 3), np.uint8), "420")


def test_most_jpegs_with_a_changed_byte_are_refused_or_hardly_differ() -> None:
    whole = picture("astronaut", 400, 400)
    content = save(whole, "JPEG", quality=90)
    reference = decode(content).pixels.astype(int)
    rng = np.random.default_rng(3)
    start = content.rindex(b"\xff\xda") + 14
    accepted = []
    for _ in range(100):
        data = bytearray(content)
        position = int(rng.integers(start, len(data) - 2))
        data[position] = (data[position] + int(rng.integers(1, 256))) % 256
        try:
            accepted.append(np.abs(decode(bytes(data)).pixels - reference).mean())
        except DecodeError as error:
            assert error.status == "corrupt"
    assert (np.array(accepted) > 8).sum() <= 10


def test_a_scene_that_looks_damaged_when_reduced_is_judged_in_full(shared_data: Path) -> None:
    data = (shared_data / "fairface" / "val" / "1917.jpg").read_bytes()
    assert decode_checked(data, check(data, Limits()), 2).pixels.shape == (112, 112, 3)
