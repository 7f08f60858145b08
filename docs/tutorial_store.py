"""Make the store of the tutorial from two pictures that the package scikit-image carries, and answer its sheets.

``python docs/tutorial_store.py make faces`` writes 130 files: crops of a portrait of Eileen Collins by NASA (public
domain) and of a man with a camera by Lav Varshney (CC0), brighter or darker, larger or smaller; a few pictures without
a face; and two broken files. ``python docs/tutorial_store.py answer sheet.csv`` fills a sheet with what a person sees.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

Pixels = npt.NDArray[np.uint8]

PEOPLE: Mapping[str, tuple[str, int, tuple[int, int, int]]] = MappingProxyType(
    {"woman": ("astronaut.png", 62, (222, 110, 190)), "man": ("camera.png", 58, (232, 130, 230))}
)
"""For each person the picture, how many crops of it, and the face's middle and the crop's side, in pixels."""
THINGS = ("chelsea.png", "coffee.png", "horse.png", "rocket.jpg")
SEEN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "woman": {"age_group": "30-39", "gender": "female", "ethnicity": "White"},
        "man": {"age_group": "can't tell", "gender": "male", "ethnicity": "can't tell"},
    }
)
"""What a person says of each: of somebody seen from the side and from afar, not much."""


def make(store: Path) -> None:
    """Write the store.

    Parameters
    ----------
    store : Path
        The folder; it is made where it is missing.
    """
    shipped = Path(skimage.data.__file__).parent
    rng = np.random.default_rng(1)
    for person, (file, count, (x, y, side)) in PEOPLE.items():
        picture = np.asarray(cv2.imread(str(shipped / file), cv2.IMREAD_COLOR), np.uint8)
        for number in range(count):
            write(store / person / f"{number:03d}.jpg", varied(picture, x, y, side, rng))
    for number, file in enumerate(THINGS * 2):
        picture = np.asarray(cv2.imread(str(shipped / file), cv2.IMREAD_COLOR), np.uint8)
        write(store / "things" / f"{number:03d}.jpg", picture[number:, number:])
    (store / "things" / "empty.jpg").write_bytes(b"")
    (store / "things" / "broken off.jpg").write_bytes((store / "woman" / "000.jpg").read_bytes()[:2000])


def varied(picture: Pixels, x: int, y: int, side: int, rng: np.random.Generator) -> Pixels:
    """Return a crop around a face: shifted, larger or smaller, brighter or darker, and half of them mirrored."""
    half = int(side * rng.uniform(0.9, 1.25) / 2)
    x, y = x + int(rng.integers(-12, 13)), y + int(rng.integers(-12, 13))
    crop = picture[max(0, y - half) : y + half, max(0, x - half) : x + half]
    size = int(rng.integers(180, 420))
    resized = cv2.resize(crop, (size, round(size * crop.shape[0] / crop.shape[1])), interpolation=cv2.INTER_AREA)
    bright = np.clip(resized * rng.uniform(0.7, 1.25) + rng.uniform(-15, 15), 0, 255).astype(np.uint8)
    return np.asarray(bright[:, ::-1] if rng.random() < 0.5 else bright, np.uint8)


def write(path: Path, pixels: Pixels) -> None:
    """Write a JPEG file, and the folder above it where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def answer(sheet: Path) -> int:
    """Fill every open line of a sheet with what a person sees, and return how many lines that were."""
    with sheet.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    still = [line for line in lines if not line["gender"]]
    for line in still:
        line |= {**SEEN[line["path"].split("/")[0]], "annotator": "tutorial"}
    with sheet.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return len(still)


if __name__ == "__main__":
    verb, target = sys.argv[1], Path(sys.argv[2])
    if verb == "make":
        make(target)
        print(f"{sum(path.is_file() for path in target.rglob('*'))} files in {target}")
    else:
        print(f"{answer(target)} lines of {target} filled")
