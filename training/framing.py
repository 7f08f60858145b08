"""Where a data set's own framing puts the landmarks of a face: measured, so that any portrait can be framed so."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from labeler.decode import quiet_decoders
from labeler.errors import LabelerError
from labeler.table import check_output
from training.pictures import decoded_picture, upright_face
from training.sources import checked_data_set

LANDMARKS = 5
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class MeasuredFraming:
    """Median places of the landmarks in a data set's pictures.

    Parameters
    ----------
    data_set : str
        Which.
    points : sequence of (x, y)
        As fractions of the pictures' width and height, in the order of `labeler.pack.Framing`.
    found, pictures : int
        Pictures with an upright face, and all.
    """

    data_set: str
    points: Sequence[tuple[float, float]]
    found: int
    pictures: int


def measure_framing(
    data_set: str, folder: str | os.PathLike[str], *, threads: int = 2, progress: bool = False
) -> MeasuredFraming:
    """Find the face in every picture of a folder, as labelling does, and return the landmarks' median places.

    Raises
    ------
    LabelerError
        If the folder holds no picture, or no face is found.
    """
    checked_data_set(data_set)
    root = Path(folder)
    paths = sorted(path for path in root.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise LabelerError(f"{root}: holds no {', '.join(SUFFIXES)} files; give a folder of the data set's pictures")
    locate = upright_face()
    quiet_decoders()

    def places(path: Path) -> list[tuple[float, float]] | None:
        pixels = decoded_picture(path)
        landmarks = locate(pixels)
        if landmarks is None:
            return None
        rows, columns = pixels.shape[:2]
        return [(x / columns, y / rows) for x, y in landmarks]

    with ThreadPoolExecutor(threads) as pool:
        bar = tqdm(pool.map(places, paths), "faces", len(paths), disable=not progress, unit="img")
        found = [landmarks for landmarks in bar if landmarks is not None]
    if not found:
        raise LabelerError(f"{root}: no face was found in any of {len(paths)} pictures; check the folder")
    medians = np.median(np.array(found), axis=0)
    points = [(round(float(x), 4), round(float(y), 4)) for x, y in medians]
    return MeasuredFraming(data_set, points, len(found), len(paths))


def write_framing(measured: MeasuredFraming, path: str | os.PathLike[str]) -> None:
    """Write a measured framing as JSON.

    Raises
    ------
    LabelerError
        If the file cannot be written.
    """
    check_output(path).write_text(json.dumps(asdict(measured), indent=2) + "\n", encoding="utf-8")


def read_framing(path: str | os.PathLike[str]) -> list[tuple[float, float]]:
    """Read the points of a measured framing.

    Raises
    ------
    LabelerError
        If the file is missing or does not hold five points.
    """
    name = os.fspath(path)
    try:
        points = [(float(x), float(y)) for x, y in json.loads(Path(name).read_text(encoding="utf-8"))["points"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabelerError(f"{name}: not a framing ({error}); write it with train-labelers framing") from error
    if len(points) != LANDMARKS:
        raise LabelerError(f"{name}: {len(points)} points, expected {LANDMARKS}; write it with train-labelers framing")
    return points
