"""Training: epochs over augmented crops, moving-average weights, early stopping, and resumption from any checkpoint."""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from labeler.errors import LabelerError
from labeler.taxonomy import ATTRIBUTES, COLUMNS
from training.batches import Batch, epoch_order, plain_crops, training_batches
from training.curves import write_curves
from training.networks import EXPECTED_AGE, Answers, Labeler, build, start_rounding
from training.objective import Objective, Teachers
from training.parallel import Replicas, as_input
from training.pictures import Pictures, Pixels
from training.settings import Settings
from training.sources import Indices, TrainingData, merged_sources
from training.trained import (
    BEST,
    VALIDATION,
    Trained,
    answers,
    output_meaning,
    output_shape,
    read_checkpoint,
    start_from,
)

LAST = "last.pt"
SETTINGS = "settings.json"
HISTORY = "history.csv"
CURVES = "curves.svg"


def validation_cut(data: TrainingData, settings: Settings) -> tuple[Indices, Indices]:
    """Return the positions of the pictures for training and for validation, as the data says or else the settings."""
    if data.fixed_validation is not None:
        return np.flatnonzero(~data.fixed_validation), np.flatnonzero(data.fixed_validation)
    return cut_validation(data.labels, settings.validation, settings.seed)


def cut_validation(labels: Mapping[str, Indices], count: int, seed: int) -> tuple[Indices, Indices]:
    """Split pictures at random into training and validation, the same share of each gender × ethnicity.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Positions for training and for validation, ascending; about `count` for validation.
    """
    rng = np.random.default_rng((seed, 0))
    cells = labels["gender"] * 1000 + labels["ethnicity"]
    total = len(cells)
    if count >= total:
        raise LabelerError(f"validation is {count}, but there are only {total} training pictures; choose a smaller cut")
    order = rng.permutation(total)
    # Sorted by cell, random inside it: every (total / count)-th picture has each cell in its share.
    order = order[np.argsort(cells[order], kind="stable")]
    chosen = order[np.linspace(0, total, count, endpoint=False).astype(np.int64)]
    rest = np.setdiff1d(np.arange(total), chosen)
    return rest, np.sort(chosen)


def sampling_weights(labels: Mapping[str, Indices], balance: str, power: float) -> npt.NDArray[np.float64] | None:
    """Return how often each picture is drawn, shape (n,), so that groups are shown more equally; None for once each.

    A picture of a group of which there are m counts m to the power of ``-power``.
    """
    if balance == "none":
        return None
    attributes = [name for name in ATTRIBUTES if COLUMNS[name] in balance.split(",")]
    groups = np.stack([labels[name] for name in attributes], axis=1)
    _, inverse, counts = np.unique(groups, axis=0, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse.reshape(-1)] ** -power, np.float64)


def learning_rate(step: int, steps: int, warm_up: float, peak: float) -> float:
    """Return the learning rate of a step: up in a line over `warm_up` steps, down as half a cosine to 0."""
    if step < warm_up:
        return peak * (step + 1) / (warm_up + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1.0, steps - warm_up)))


class Run:
    """A training run and everything that a checkpoint must hold.

    Parameters
    ----------
    data : TrainingData
        What to learn from.
    settings : Settings
        How.
    folder : path
        Where the checkpoints and curves go; a run that is there already is continued.
    threads : int
        Replicas that share each batch, one a core. Another number gives slightly other weights.
    init : Trained, optional
        The run whose weights training starts from: its trunk, and its heads where their outputs mean the same.
    teachers : sequence of Trained
        Runs whose outputs are soft targets, for the attributes whose outputs mean the same.
    lessons : sequence of Pictures, optional
        For each teacher the pictures of `data` in its colour; those of `data` by default.

    Raises
    ------
    LabelerError
        If the folder holds a run with other settings, or the data cannot serve the settings.
    """

    def __init__(
        self,
        data: TrainingData,
        settings: Settings,
        folder: str | os.PathLike[str],
        *,
        threads: int = 1,
        init: Trained | None = None,
        teachers: Sequence[Trained] = (),
        lessons: Sequence[Pictures] | None = None,
    ) -> None:
        settings = replace(
            settings, init=init.name if init else "", teachers=",".join(teacher.name for teacher in teachers)
        )
        self.data = data
        self.settings = settings
        self.pictures = data.pictures.widened(settings.margin)
        self.sources = merged_sources(
            [dict(source) | {"images": 0} for source in data.sources],
            *(trained.sources for trained in (*([init] if init else []), *teachers)),
        )
        self.folder = Path(folder)
        self.training, self.validation = validation_cut(data, settings)
        if len(self.training) < settings.batch:
            raise LabelerError(f"batch is {settings.batch}, but there are only {len(self.training)} training pictures")
        for source in self.sources[: len(data.sources)]:
            source["images"] = len(self.training)
        for trained in (*([init] if init else []), *teachers):
            self._check_unseen(trained)
        if settings.age_years and data.years is None:
            raise LabelerError("age_years is set, but the data has no ages in years; set it to false")
        torch.manual_seed(settings.seed)
        network = build(settings.network, output_shape(settings, data.taxonomy))
        if init:
            start_from(network, settings, data.taxonomy, init)
        if settings.rounding:
            start_rounding(network)
        self.network = in_channels_last(network)
        self.average = copy.deepcopy(self.network)
        self.optimiser = _optimiser(self.network, settings)
        self.objective = Objective(
            data, settings, self._taught(teachers, lessons or [data.pictures] * len(teachers), threads)
        )
        self.history: list[dict[str, float]] = []
        self._open()
        self.replicas = Replicas(self.network, threads, mixed_precision=settings.mixed_precision)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the validation loss has stopped falling."""
        losses = [row["validation_loss"] for row in self.history]
        waited = len(losses) - 1 - int(np.argmin(losses)) if losses else 0
        return len(losses) >= self.settings.epochs or 0 < self.settings.patience <= waited

    def _check_unseen(self, other: Trained) -> None:
        """Refuse weights that have seen the pictures by which this run is to be judged."""
        names = {source["name"] for source in self.data.sources} & {source["name"] for source in other.sources}
        mine = {name: self.data.labels[name][self.validation] for name in other.labels}
        if names and not all(np.array_equal(mine[name], labels) for name, labels in other.labels.items()):
            raise LabelerError(
                f"{other.name}: was trained on pictures that are for validation here; choose a run with the same "
                "data, validation and seed"
            )

    def _taught(self, teachers: Sequence[Trained], lessons: Sequence[Pictures], threads: int) -> dict[str, Tensor]:
        """Return what the teachers say of every picture's undisturbed crop, shape (pictures, classes)."""
        if not teachers:
            return {}
        settings, taxonomy = self.settings, self.data.taxonomy
        taught = [
            {name for name in settings.names if output_meaning(settings, taxonomy, name) == teacher.meaning(name)}
            for teacher in teachers
        ]
        for teacher, names in zip(teachers, taught, strict=True):
            if not names:
                raise LabelerError(f"--teacher {teacher.name}: none of its outputs is learned here; leave it out")
        asked = Teachers(
            [in_channels_last(teacher.network) for teacher in teachers],
            taught,
            settings.distillation_temperature,
            flip=settings.teacher_flip,
            mixed_precision=settings.mixed_precision,
        )
        sides = [(teacher.settings.width, teacher.settings.height) for teacher in teachers]
        widened = [
            pictures.widened(teacher.settings.margin) for pictures, teacher in zip(lessons, teachers, strict=True)
        ]

        def ask(indices: Indices) -> dict[str, Tensor]:
            crops = [plain_crops(pictures, indices, side) for pictures, side in zip(widened, sides, strict=True)]
            return asked.targets([as_input(part) for part in crops])

        shares = np.array_split(np.arange(len(self.data.pictures)), len(self.data.pictures) // 256 + 1)
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            parts = list(pool.map(ask, shares))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def train(self, *, progress: bool = False) -> None:
        """Train until `finished`; a checkpoint after every epoch."""
        self.replicas.share_weights()
        while not self.finished:
            row = self._epoch(len(self.history), progress=progress)
            logits = self._validation_logits()
            row |= self._validate(logits)
            self.history.append(row)
            if row["validation_loss"] <= min(item["validation_loss"] for item in self.history):
                self._save_best(logits)
            self._save_last()
            if progress:
                tqdm.write(_summary(row))

    def _epoch(self, epoch: int, *, progress: bool) -> dict[str, float]:
        settings = self.settings
        # Everything random in an epoch hangs on its number, so that a resumed run repeats an undisturbed one.
        torch.manual_seed(settings.seed * 1_000_003 + epoch)
        weights = sampling_weights(
            {name: values[self.training] for name, values in self.data.labels.items()},
            settings.balance,
            settings.balance_power,
        )
        order = epoch_order(self.training, weights, np.random.default_rng((settings.seed, epoch, 1)))
        early = epoch < settings.early_epochs
        side = (settings.early_side, settings.early_side) if early else (settings.width, settings.height)
        batches = training_batches(
            self.pictures,
            order,
            settings.batch,
            side,
            settings.augmentation,
            (settings.seed, epoch, 2),
            groups=self.data.labels["ethnicity"],
            mix_up=settings.mix_up,
            views=settings.views,
        )
        steps = settings.views * len(order) // settings.batch
        losses: list[float] = []
        started = time.perf_counter()
        bar = tqdm(batches, f"epoch {epoch + 1}/{settings.epochs}", steps, disable=not progress, unit="step")
        for number, batch in enumerate(bar):
            losses.append(self._step(epoch * steps + number, steps, batch))
        seconds = time.perf_counter() - started
        return {
            "epoch": epoch + 1,
            "training_loss": float(np.mean(losses)),
            "images_per_second": steps * settings.batch / seconds,
        }

    def _step(self, step: int, steps: int, batch: Batch) -> float:
        settings = self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, steps * settings.epochs, settings.warm_up * steps, settings.learning_rate)
        loss = self.replicas.gradients(batch, self.objective)
        self.optimiser.step()
        self.replicas.share_weights()
        update_average(self.average, self.network, min(settings.averaging, (1 + step) / (10 + step)))
        return loss

    def _validation_logits(self) -> dict[str, npt.NDArray[np.float32]]:
        ready = answers(self.average, self.settings, self.data.taxonomy)
        return crop_logits(ready, self.validation_crops)

    def _validate(self, logits: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, float]:
        row = validation_row(logits, {name: self.data.labels[name][self.validation] for name in self.settings.names})
        if EXPECTED_AGE in logits and self.data.years is not None:
            row["age_mae"] = float(np.abs(logits[EXPECTED_AGE] - self.data.years[self.validation]).mean())
        return row

    def _open(self) -> None:
        document = self.settings.to_document()
        path = self.folder / SETTINGS
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        except (OSError, ValueError) as error:
            raise LabelerError(f"--out {self.folder}: cannot hold a run ({error}); choose another folder") from error
        if before is not None:
            before = Settings.from_document(before, os.fspath(path)).to_document()
        if before is not None and before != document:
            changed = sorted(key for key in {*before, *document} if before.get(key) != document.get(key))
            raise LabelerError(
                f"--out {self.folder}: holds a run with other settings ({', '.join(changed)}); choose another folder"
            )
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        side = (self.settings.width, self.settings.height)
        self.validation_crops = plain_crops(self.pictures, self.validation, side)
        years = np.zeros(0, np.float32) if self.data.years is None else self.data.years[self.validation]
        np.savez_compressed(self.folder / VALIDATION, crops=self.validation_crops, years=years)
        if (self.folder / LAST).exists():
            self._load(read_checkpoint(self.folder / LAST))

    def _load(self, checkpoint: Mapping[str, Any]) -> None:
        self.network.load_state_dict(checkpoint["network"])
        self.average.load_state_dict(checkpoint["average"])
        self.optimiser.load_state_dict(checkpoint["optimiser"])
        self.history = list(checkpoint["history"])

    def _save_last(self) -> None:
        frame = pd.DataFrame(self.history)
        frame.to_csv(self.folder / HISTORY, index=False, float_format="%.5f")
        write_curves(frame, self.folder / CURVES)
        checkpoint = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
        }
        save_checkpoint(checkpoint, self.folder / LAST)

    def _save_best(self, logits: Mapping[str, npt.NDArray[np.float32]]) -> None:
        best = {
            "weights": self.average.state_dict(),
            "settings": self.settings.to_document(),
            "taxonomy": self.data.taxonomy.name,
            "sources": self.sources,
            "epoch": len(self.history),
            "validation_logits": {name: torch.from_numpy(values) for name, values in logits.items()},
            "validation_labels": {
                name: torch.from_numpy(self.data.labels[name][self.validation]) for name in self.settings.names
            },
        }
        save_checkpoint(best, self.folder / BEST)


def validation_row(logits: Mapping[str, npt.NDArray[np.float32]], labels: Mapping[str, Indices]) -> dict[str, float]:
    """Return the sum of the attributes' cross entropies, ``validation_loss``, and the accuracy of each."""
    row = {"validation_loss": 0.0}
    for name, classes in labels.items():
        outputs, truth = torch.from_numpy(logits[name]), torch.from_numpy(classes)
        row["validation_loss"] += float(nn.functional.cross_entropy(outputs, truth))
        row[f"{name}_accuracy"] = float((outputs.argmax(dim=1) == truth).float().mean())
    return row


def crop_logits(ready: Answers, crops: Pixels) -> dict[str, npt.NDArray[np.float32]]:
    """Return what a network gives for crops (n, channels, height, width), uint8, in batches."""
    ready.eval()
    parts: dict[str, list[npt.NDArray[np.float32]]] = {}
    with torch.inference_mode():
        for start in range(0, len(crops), 256):
            for name, logits in ready(as_input(crops[start : start + 256])).items():
                parts.setdefault(name, []).append(logits.numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def in_channels_last(network: Labeler) -> Labeler:
    """Lay a network's 4-D weights out channels last, which its convolutions run fastest with, and return it."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move an average of the weights towards the network: ``average = decay * average + (1 - decay) * network``."""
    mine, theirs = average.state_dict(), network.state_dict()
    floating = [name for name, value in mine.items() if value.is_floating_point()]
    torch._foreach_lerp_([mine[name] for name in floating], [theirs[name] for name in floating], 1 - decay)
    for name in mine.keys() - set(floating):
        mine[name].copy_(theirs[name])


def prepare_process() -> None:
    """Leave the cores to the replicas: no threads inside an operation of torch or OpenCV."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _optimiser(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint so that it is there whole or not at all."""
    temporary = path.with_suffix(".tmp")
    torch.save(checkpoint, temporary)
    os.replace(temporary, path)


def _summary(row: Mapping[str, float]) -> str:
    accuracies = ", ".join(
        f"{name.removesuffix('_accuracy')} {value:.3f}"
        for name, value in row.items()
        if name.endswith("_accuracy") or name == "age_mae"
    )
    return (
        f"epoch {row['epoch']:.0f}: loss {row['training_loss']:.3f}, validation {row['validation_loss']:.3f}; "
        f"{accuracies}; {row['images_per_second']:.0f} images/s"
    )
