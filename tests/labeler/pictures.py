"""Pictures for tests: one smooth scene, written in every format, depth and orientation by Pillow and tifffile."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from labeler.decode import Pixels, upright

WIDTH, HEIGHT = 56, 40
UNDO = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The orientation that undoes another."""


def scene(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Pixels:
    """Return an RGB picture without symmetry, smooth enough for lossy formats."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def gray_of(rgb: Pixels) -> Pixels:
    """Return the luma of an RGB picture as Pillow computes it."""
    return np.asarray(Image.fromarray(rgb).convert("L"), np.uint8)


def ramp() -> Pixels:
    """Return an alpha channel from transparent on the left to opaque on the right."""
    return np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))


def over_white(colours: Pixels, alpha: Pixels) -> npt.NDArray[np.float64]:
    """Return straight colours over white, shape (height, width, 3)."""
    share = alpha[..., None] / 255
    rgb = colours if colours.ndim == 3 else np.repeat(colours[..., None], 3, 2)
    return np.asarray(np.rint(rgb * share + 255 * (1 - share)), np.float64)


def save(picture: Pixels | Image.Image, kind: str, **options: Any) -> bytes:
    """Return a picture as a file that Pillow writes."""
    sink = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(sink, kind, **options)
    return sink.getvalue()


def tiff(values: npt.NDArray[Any], **options: Any) -> bytes:
    """Return values as a TIFF file that tifffile writes."""
    sink = io.BytesIO()
    tifffile.imwrite(sink, values, **options)
    return sink.getvalue()


def bmp32(rgb: Pixels, *, top_down: bool = False) -> bytes:
    """Return a 32-bit BMP whose fourth byte is 0 and means nothing, as Windows writes it."""
    height, width = rgb.shape[:2]
    rows = np.dstack([rgb[..., ::-1], np.zeros((height, width), np.uint8)])
    body = (rows if top_down else rows[::-1]).tobytes()
    about = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, 32, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + about + body


def with_orientation(rgb: Pixels, kind: str, orientation: int, **options: Any) -> bytes:
    """Return a file that shows `rgb` once its EXIF orientation is applied."""
    exif = Image.Exif()
    exif[274] = orientation
    return save(upright(rgb, UNDO[orientation]), kind, exif=exif, **options)


WRITERS: dict[str, Callable[[Pixels], bytes]] = {
    "jpeg": lambda rgb: save(rgb, "JPEG", quality=90),
    "jpeg progressive": lambda rgb: save(rgb, "JPEG", quality=90, progressive=True),
    "png": lambda rgb: save(rgb, "PNG"),
    "webp": lambda rgb: save(rgb, "WEBP"),
    "webp lossless": lambda rgb: save(rgb, "WEBP", lossless=True),
    "tiff": lambda rgb: save(rgb, "TIFF"),
    "tiff lzw": lambda rgb: save(rgb, "TIFF", compression="tiff_lzw"),
    "tiff of jpeg": lambda rgb: save(rgb, "TIFF", compression="jpeg"),
    "tiff header first": lambda rgb: tiff(rgb, photometric="rgb", rowsperstrip=8),
    "tiff 16-bit": lambda rgb: tiff(rgb.astype(np.uint16) * 257, photometric="rgb", rowsperstrip=8),
    "bmp": lambda rgb: save(rgb, "BMP"),
    "avif": lambda rgb: save(rgb, "AVIF", quality=90),
}
"""Every format and the ways it lies in a file; the first word is the format."""
