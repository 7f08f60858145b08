"""What each step of the recipe gives: whole pictures, aligned faces, disturbed frames, contrast normalisation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

from audit.estimate import wilson
from benchmarks.framing import DISTURBANCES, Labels, disturb, label
from labeler.decode import Pixels, decode, quiet_decoders, to_gray
from labeler.faces import Cropper
from labeler.pack import Pack
from labeler.taxonomy import ATTRIBUTES
from training.augment import Augmentation
from training.export import export_pack
from training.settings import Settings
from training.sources import TrainingData, read_training_data
from training.train import Run, crop_logits, prepare_process
from training.trained import read_trained

STILL = Augmentation(rotation=0.0, scale=0.0, shift=0.0)
MOVED = Augmentation(rotation=14.0, scale=0.12, shift=0.05, surroundings=0.5)
TOGETHER = "all together"


@dataclass(frozen=True)
class Variant:
    """One step of the recipe."""

    framing: str
    network: str
    augmentation: Augmentation


VARIANTS: Mapping[str, Variant] = {
    "whole crop": Variant("whole", "residual-plain", STILL),
    "aligned": Variant("landmarks", "residual-plain", STILL),
    "+ surroundings and jitter": Variant("landmarks", "residual-plain", MOVED),
    "+ contrast normalisation": Variant("landmarks", "residual", MOVED),
}


def share(values: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    """Return a share with its 95 % Wilson interval and n."""
    low, high = wilson(int(values.sum()), len(values))
    return f"{values.mean():.3f} ({low:.3f}–{high:.3f}, n={len(values)})"


def darkest(brightness: np.ndarray[tuple[int], np.dtype[np.floating]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the positions of the darkest tenth."""
    return np.argsort(brightness)[: max(1, len(brightness) // 10)]


def accuracies(run: Path, data: TrainingData, validation: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[str, str]:
    """Return the accuracy on the validation cut, overall and in the darkest tenth of its crops."""
    trained = read_trained(run)
    assert trained.crops is not None
    logits = crop_logits(trained.answers(), trained.crops)
    dark = darkest(trained.crops.mean(axis=(1, 2, 3)))
    row = {}
    for name in ATTRIBUTES:
        right = logits[name].argmax(1) == data.labels[name][validation]
        row[name] = share(right)
        row[f"{name}, darkest"] = share(right[dark])
    return row


def agreements(
    untouched: Labels, disturbed: Labels, dark: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> dict[str, str]:
    """Return how often labels stay under all disturbances together, overall and in the darkest tenth."""
    row = {}
    for name in ("gender", "ethnicity"):
        same = untouched.classes[name] == disturbed.classes[name]
        asked = untouched.classes[name] >= 0
        row[f"{name} kept"] = share(same[asked])
        row[f"{name} kept, darkest"] = share(same[dark][asked[dark]])
    return row


def framing_row(run: Path, pictures: Sequence[Pixels], folder: Path, seed: int) -> dict[str, str]:
    """Return the framing test's figures for a run."""
    export_pack(read_trained(run), folder, name="ablation", version="0", description="For the ablation.")
    pack = Pack.load(folder)
    cropper = Cropper.of(pack.manifest)
    touched = disturb(pictures, DISTURBANCES[TOGETHER], np.random.default_rng(seed))
    brightness = np.array([to_gray(picture).mean() for picture in pictures])
    return agreements(label(pictures, cropper, pack), label(touched, cropper, pack), darkest(brightness))


@click.command()
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the runs.")
@click.option("--pictures", default=12_000, show_default=True, help="Training pictures, 2,000 of them for validation.")
@click.option("--epochs", default=6, show_default=True, help="Passes over them.")
@click.option("--images", default=500, show_default=True, help="Pictures of the validation split in the framing test.")
@click.option("--seed", default=1, show_default=True, help="Of everything.")
@click.option("--threads", default=2, show_default=True, help="Cores.")
def main(labels: Path, out: Path, pictures: int, epochs: int, images: int, seed: int, threads: int) -> None:
    """Train each variant on the first pictures of FairFace and print accuracy and framing agreement."""
    prepare_process()
    quiet_decoders()
    paths = sorted((labels.parent / "val").iterdir())
    chosen = np.random.default_rng(seed).choice(len(paths), min(images, len(paths)), replace=False)
    photos = [decode(paths[k].read_bytes()).pixels for k in chosen]
    data: dict[str, TrainingData] = {}
    rows = {}
    for name, variant in VARIANTS.items():
        if variant.framing not in data:
            data = {
                variant.framing: read_training_data(
                    "fairface", labels, colour="gray", framing=variant.framing, limit=pictures
                )
            }
        settings = Settings(
            network=variant.network,
            framing=variant.framing,
            epochs=epochs,
            averaging=0.99,
            augmentation=variant.augmentation,
            validation=min(2000, pictures // 4),
            seed=seed,
        )
        folder = out / name.strip("+ ").replace(" ", "-")
        run = Run(data[variant.framing], settings, folder, threads=threads)
        run.train()
        rows[name] = accuracies(folder, data[variant.framing], run.validation)
        rows[name] |= framing_row(folder, photos, folder / "pack", seed)
        click.echo(json.dumps({name: rows[name]}))
    click.echo(f"{pictures} pictures, {epochs} epochs, seed {seed}; kept = same label after {TOGETHER}")
    click.echo(pd.DataFrame(rows).to_string())


if __name__ == "__main__":
    main()
