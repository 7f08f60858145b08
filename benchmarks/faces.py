"""How many faces are found, how many detections are none, and what detection and alignment cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import pandas as pd

from audit.estimate import wilson
from labeler.decode import Pixels, decode, quiet_decoders
from labeler.faces import TEMPLATE, Networks, align, find, search

Boxes = npt.NDArray[np.float64]
MATCH = 0.4
"""Least intersection over union of a detection and the face it found."""


def overlaps(these: Boxes, those: Boxes) -> Boxes:
    """Return the intersection over union of every pair of boxes (left, top, width, height), shape (n, m)."""
    start = np.maximum(these[:, None, :2], those[None, :, :2])
    end = np.minimum((these[:, :2] + these[:, 2:])[:, None], (those[:, :2] + those[:, 2:])[None])
    shared = np.prod(np.clip(end - start, 0, None), axis=2)
    union = np.prod(these[:, 2:], 1)[:, None] + np.prod(those[:, 2:], 1)[None] - shared
    return np.asarray(shared / union, np.float64)


def recall_on_wider(folder: Path, detect: Callable[[Pixels], Boxes], least: int) -> Mapping[str, str]:
    """Return the recall of valid boxes of at least so many pixels, and the share of detections that lie on no box."""
    boxes = pd.read_csv(folder / "boxes.csv")
    hits = faces = strays = detections = 0
    for name, group in boxes.groupby("image"):
        found = detect(decode((folder / "images" / str(name)).read_bytes()).pixels)
        truth = group[["x", "y", "width", "height"]].to_numpy(np.float64)
        asked = ((group["invalid"] == 0) & (group[["width", "height"]].min(axis=1) >= least)).to_numpy()
        shared = overlaps(truth, found)
        hits += int((shared[asked].max(axis=1, initial=0) >= MATCH).sum())
        faces += int(asked.sum())
        strays += int((shared.max(axis=0, initial=0) < MATCH).sum())
        detections += len(found)
    return {"recall": _share(hits, faces), "detections on no box": _share(strays, detections)}


def _share(count: int, total: int) -> str:
    low, high = wilson(count, total)
    return f"{count / max(total, 1):.4f} ({low:.3f}-{high:.3f}, n = {total})"


def found_in(folder: Path, networks: Networks) -> str:
    """Return the share of a folder's pictures in which a face is found."""
    paths = sorted(folder.iterdir())
    found = sum(find(decode(path.read_bytes()).pixels, networks).face is not None for path in paths)
    return _share(found, len(paths))


def cost(folder: Path, networks: Networks, images: int, runs: int) -> str:
    """Return the CPU time of search and alignment a picture: the median of several runs."""
    pictures = [decode(path.read_bytes()).pixels for path in sorted(folder.iterdir())[:images]]
    times = []
    for _ in range(runs):
        started = time.thread_time()
        for pixels in pictures:
            face = find(pixels, networks).face
            if face is not None:
                align(pixels, face.landmarks, TEMPLATE, 48, 48, "gray")
        times.append((time.thread_time() - started) / len(pictures) * 1000)
    return f"{np.median(times):.2f} ms a picture (median of {runs} runs of {len(pictures)}; {min(times):.2f} at best)"


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--least", default=32, show_default=True, help="Pixels of the smallest face asked for.")
@click.option("--runs", default=5, show_default=True, help="Repetitions of the timing.")
@click.option("--nobody", type=click.Path(path_type=Path), help="Folder of pictures in which nobody is.")
def main(data: Path, least: int, runs: int, nobody: Path | None) -> None:
    """Measure on DATA, a folder with widerface/, fairface/val/ and utkface/test/."""
    quiet_decoders()
    networks = Networks.load()

    def native(pixels: Pixels) -> Boxes:
        return networks.detector.detect_pyramid(pixels).boxes.astype(np.float64)

    def default(pixels: Pixels) -> Boxes:
        return search(pixels, networks.detector).boxes.astype(np.float64)

    click.echo(f"WIDER FACE, faces of {least} pixels and more")
    click.echo(f"  native size      {dict(recall_on_wider(data / 'widerface', native, least))}")
    click.echo(f"  default settings {dict(recall_on_wider(data / 'widerface', default, least))}")
    for name in ("fairface/val", "utkface/test"):
        click.echo(f"{name}: a face found in {found_in(data / name, networks)}")
    if nobody:
        click.echo(f"{nobody}: a face found in {found_in(nobody, networks)}")
    click.echo(f"fairface/val, 224 x 224: {cost(data / 'fairface/val', networks, 500, runs)}")


if __name__ == "__main__":
    main()
