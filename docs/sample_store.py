"""Make the sample store of ``make demo`` from pictures that the package scikit-image carries."""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import cv2
import cv2.typing
import numpy as np
import numpy.typing as npt
import skimage.data

Pixels = npt.NDArray[np.uint8]

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "astronaut.png": "portrait of Eileen Collins by NASA; public domain",
        "camera.png": "a man with a camera, by Lav Varshney; CC0",
        "chelsea.png": "a cat, by Stefan van der Walt; CC0",
        "coffee.png": "a cup of coffee, by Rachel Michetti; CC0",
        "horse.png": "outline of a horse, by Andreas Preuss; CC0",
        "rocket.jpg": "a rocket on its pad, by SpaceX; public domain",
    }
)
"""The pictures used, with author and licence as the package states them."""

ORIENTATION_TURN_RIGHT = 6
"""EXIF orientation of a picture that is shown turned a quarter to the right."""


def sources_text() -> str:
    """Return what the sample store is made of, one picture a line."""
    lines = [f"{name}: {text}" for name, text in SOURCES.items()]
    return "Pictures from the package scikit-image, and copies derived from them:\n" + "\n".join(lines) + "\n"


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Return a JPEG file with an EXIF segment that states how to turn it.

    Parameters
    ----------
    jpeg : bytes
        A JPEG file without EXIF.
    orientation : int
        1 to 8, the tag 0x0112 of EXIF 2.32.
    """
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<IH", 8, 1) + tag + struct.pack("<I", 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def derived(portrait: Pixels) -> dict[str, bytes]:
    """Return the files derived from the portrait, by their path in the store.

    Parameters
    ----------
    portrait : numpy.ndarray
        Shape (height, width, 3), BGR.
    """
    gray = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)
    jpeg = encode(".jpg", portrait)
    on_its_side = encode(".jpg", np.ascontiguousarray(np.rot90(portrait)))
    return {
        "people/portrait.jpg": jpeg,
        "people/portrait, dark.webp": encode(".webp", (portrait * 0.4).astype(np.uint8)),
        "people/portrait, gray.png": encode(".png", gray),
        "people/portrait, on its side.jpg": with_orientation(on_its_side, ORIENTATION_TURN_RIGHT),
        "people/portrait, 16 bit.tiff": encode(".tiff", gray.astype(np.uint16) * 257),
        "people/face only.png": encode(".png", portrait[40:200, 140:300]),
        "damaged/broken off.jpg": jpeg[: len(jpeg) // 3],
        "damaged/empty.jpg": b"",
    }


def encode(suffix: str, pixels: cv2.typing.MatLike) -> bytes:
    """Return pixels as an image file of the format that a suffix names."""
    return cv2.imencode(suffix, pixels)[1].tobytes()


def make(folder: Path) -> Path:
    """Write the sample store and its sources, and return the store.

    Parameters
    ----------
    folder : Path
        Gets ``store/`` and ``SOURCES.txt``; what is there under these names is replaced.
    """
    shipped = Path(skimage.data.__file__).parent
    files = {
        ("people/" if name in {"astronaut.png", "camera.png"} else "things/") + name: (shipped / name).read_bytes()
        for name in SOURCES
    }
    portrait = cv2.imread(str(shipped / "astronaut.png"), cv2.IMREAD_COLOR)
    files |= derived(np.asarray(portrait, dtype=np.uint8))
    store = folder / "store"
    for name, data in files.items():
        target = store / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (folder / "SOURCES.txt").write_text(sources_text(), encoding="utf-8")
    return store


if __name__ == "__main__":
    print(f"Sample store: {make(Path(sys.argv[1]))} ({Path(sys.argv[1]) / 'SOURCES.txt'} names sources and licences)")
