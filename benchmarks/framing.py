"""How far framing decides the label: faces pasted, scaled, turned and compressed, against the same ones untouched."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import pandas as pd

from audit.estimate import wilson
from labeler.decode import Pixels, decode, quiet_decoders, to_gray
from labeler.faces import Cropper
from labeler.pack import Pack, models_folder
from labeler.taxonomy import ATTRIBUTES

Disturbance = Callable[[Pixels, np.random.Generator], Pixels]


def pasted(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Paste a picture at a random place of a canvas that is 2 to 6 times as large along each side."""
    rows, columns = picture.shape[:2]
    factor = rng.uniform(2, 6)
    canvas = background(round(rows * factor), round(columns * factor), rng)
    top = int(rng.integers(0, canvas.shape[0] - rows + 1))
    left = int(rng.integers(0, canvas.shape[1] - columns + 1))
    canvas[top : top + rows, left : left + columns] = picture
    return canvas


def background(rows: int, columns: int, rng: np.random.Generator) -> Pixels:
    """Return a plain, a smoothly shaded or a noisy background."""
    kind = rng.integers(3)
    if kind == 0:
        return np.full((rows, columns, 3), rng.integers(0, 256, 3), np.uint8)
    coarse = rng.integers(0, 256, (4, 4, 3) if kind == 1 else (rows // 8 + 1, columns // 8 + 1, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC), np.uint8)


def scaled(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Scale a picture by 0.5 to 2."""
    factor = 2 ** rng.uniform(-1, 1)
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=method), np.uint8)


def rotated(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn a picture by up to 30 degrees either way on a canvas that holds all of it."""
    rows, columns = picture.shape[:2]
    angle = rng.uniform(-30, 30)
    side = math.ceil(math.hypot(rows, columns))
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), angle, 1.0)
    matrix[:, 2] += ((side - columns) / 2, (side - rows) / 2)
    canvas = background(side, side, rng)
    return np.asarray(
        cv2.warpAffine(picture, matrix, (side, side), dst=canvas, borderMode=cv2.BORDER_TRANSPARENT), np.uint8
    )


def compressed(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Compress a picture as a JPEG of quality 50 to 95."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))])
    return decode(data.tobytes()).pixels


def on_its_side(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn a picture by a quarter either way, without saying so in EXIF."""
    return np.ascontiguousarray(np.rot90(picture, int(rng.choice([1, 3]))))


DISTURBANCES: Mapping[str, Sequence[Disturbance]] = {
    "untouched": (),
    "pasted into 2-6x canvas": (pasted,),
    "scaled 0.5-2x": (scaled,),
    "rotated up to 30 degrees": (rotated,),
    "JPEG quality 50-95": (compressed,),
    "on its side without EXIF": (on_its_side,),
    "all but the side": (rotated, scaled, pasted, compressed),
    "all together": (rotated, scaled, pasted, on_its_side, compressed),
}


@dataclass(frozen=True)
class Labels:
    """Class numbers by attribute, shape (n,); -1 where no face was found."""

    classes: Mapping[str, np.ndarray[tuple[int], np.dtype[np.int64]]]


def disturb(pictures: Iterable[Pixels], steps: Sequence[Disturbance], rng: np.random.Generator) -> Iterator[Pixels]:
    """Yield each picture after some disturbances."""
    for picture in pictures:
        yield functools.reduce(lambda pixels, step: step(pixels, rng), steps, picture)


def label(pictures: Iterable[Pixels], cropper: Cropper, pack: Pack) -> Labels:
    """Label pictures as label-images does."""
    crops = [cropper.crop(picture)[1] for picture in pictures]
    found = np.array([crop is not None for crop in crops])
    prediction = pack.predict(np.stack([crop for crop in crops if crop is not None]))
    classes = {}
    for name in ATTRIBUTES:
        classes[name] = np.full(len(crops), -1)
        classes[name][found] = prediction.probabilities[name].argmax(1)
    return Labels(classes)


def agreement(labels: Labels, untouched: Labels) -> dict[str, str]:
    """Return the shares of equal labels, with 95 % Wilson intervals, among pictures whose untouched face was found."""
    asked = untouched.classes["gender"] >= 0
    seen = labels.classes["gender"][asked] >= 0
    age = np.abs(labels.classes["age"] - untouched.classes["age"])[asked]
    agreed = {
        "face found": seen,
        "gender": (labels.classes["gender"] == untouched.classes["gender"])[asked],
        "ethnicity": (labels.classes["ethnicity"] == untouched.classes["ethnicity"])[asked],
        "age group": (age == 0) & seen,
        "within one": (age <= 1) & seen,
    }
    return {name: with_interval(values) for name, values in agreed.items()}


def with_interval(values: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    """Return a share with its 95 % Wilson interval."""
    low, high = wilson(int(values.sum()), len(values))
    return f"{values.mean():.3f} ({low:.3f}-{high:.3f})"


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--models", type=click.Path(path_type=Path), help="Folder of the pack; the default pack if not given.")
@click.option("--images", type=click.IntRange(1), help="Pictures, drawn at random; all if not given.")
@click.option("--seed", default=1, show_default=True, help="Of the draw and of the disturbances.")
@click.option("--darkest", is_flag=True, help="Also print the same for the darkest tenth.")
def main(store: Path, models: Path | None, images: int | None, seed: int, darkest: bool) -> None:
    """Print, for each disturbance, how often the label stays that of the untouched picture."""
    quiet_decoders()
    pack = Pack.load(models or models_folder() / "fairface")
    cropper = Cropper.of(pack.manifest)
    paths = sorted(store.iterdir())
    chosen = np.random.default_rng(seed).choice(len(paths), min(images or len(paths), len(paths)), replace=False)
    pictures = [decode(paths[k].read_bytes()).pixels for k in chosen]
    print_table(pictures, cropper, pack, seed, f"{len(pictures)} pictures")
    if darkest:
        brightness = np.array([to_gray(picture).mean() for picture in pictures])
        dark = [pictures[k] for k in np.argsort(brightness)[: max(1, len(pictures) // 10)]]
        print_table(dark, cropper, pack, seed, f"the darkest {len(dark)}")


def print_table(pictures: Sequence[Pixels], cropper: Cropper, pack: Pack, seed: int, title: str) -> None:
    """Print one row a disturbance."""
    untouched = label(pictures, cropper, pack)
    rows = {}
    for name, steps in DISTURBANCES.items():
        disturbed = disturb(pictures, steps, np.random.default_rng(seed))
        rows[name] = agreement(label(disturbed, cropper, pack), untouched)
    click.echo(f"Agreement with the untouched picture, {title}, pack {pack.manifest.name} {pack.manifest.version}")
    click.echo(pd.DataFrame(rows).T.to_string())


if __name__ == "__main__":
    main()
