"""Training of the aligner: windows moved off the face at random, and a network that says where it went."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from labeler.aligner import DESCRIPTION, MARGIN, WINDOW, Aligner, Pose
from labeler.detector import Detector
from labeler.errors import LabelerError
from labeler.faces import TEMPLATE
from labeler.pack import session
from training.augment import Augmentation, disturbed_pixels
from training.batches import Batch, channels_first
from training.consensus import consensus_landmarks
from training.datasets import read_fairface
from training.export import exported
from training.fitting import Fit
from training.merge import merge_averages
from training.networks import Convolution, Labeler, NormaliseContrast, ResidualBlock
from training.parallel import Loss
from training.pictures import Matrix, Pictures, Pixels, cut, draw_surroundings, read_aligned_pictures
from training.quantise import quantise
from training.sources import PROVENANCE, STORED_SIDE, Indices, picture_paths

OUTPUT = "pose"
INPUT = "window"
VALIDATION = 2000
BATCH = 256
AMONG_PICTURES, AMONG_SHADES = 0.4, 0.4
"""Shares of windows in which another picture, and in which shades, lie around the training picture. In what remains its
border is repeated, as labelling does past the edge of an image. What is around must not tell where the face lies: had
it always been a border or an upright face, the network would see the picture's edge and not the face alone."""

ROUNDING = 0.01
"""Distance, as a share of the crop, below which the loss grows as the square (pseudo-Huber)."""

ROUNDED = "sums in int8, full range"
"""Of `training.quantise.VARIANTS`."""

PIXELS = Augmentation(contrast=0.4, gamma=0.4, jpeg=0.3, blur=0.15, sharpen=0.1, reduce=0.3)

_MIDDLE = 0.5 + 0.5j
_SHAPE = np.array([complex(x, y) for x, y in TEMPLATE]) - _MIDDLE


@dataclass(frozen=True)
class Offsets:
    """How far windows lie off the face.

    Parameters
    ----------
    turn : float
        Largest angle in degrees, either way.
    size : float
        Largest natural logarithm of the factor of size, either way.
    shift : float
        Largest shift along each axis, as a fraction of the crop.
    share : float
        Of the windows; those of a stage add to 1.
    """

    turn: float
    size: float
    shift: float
    share: float


@dataclass(frozen=True)
class Stage:
    """One of the aligner's networks.

    Parameters
    ----------
    widths : (int, int, int)
        Channels at a half, a quarter and an eighth of the window's resolution.
    offsets : tuple of Offsets
        What it learns from.
    epochs : int
        Passes over the training pictures.
    agreement : float
        What the distance between the answers to two windows of one picture counts, against that from the consensus.
        Where the turn is in doubt it must not count: answers that make every face tiny agree best.
    """

    widths: tuple[int, int, int]
    offsets: tuple[Offsets, ...]
    epochs: int
    agreement: float


STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        "fine": Stage((16, 32, 64), (Offsets(50.0, 0.35, 0.18, 0.75), Offsets(20.0, 0.15, 0.08, 0.25)), 24, 2.0),
        "coarse": Stage((12, 24, 48), (Offsets(180.0, 0.45, 0.25, 0.65), Offsets(60.0, 0.4, 0.22, 0.35)), 12, 0.0),
    }
)
"""The fine network sees faces as the detector shows them, the coarse one those in any turn. Offsets are drawn evenly:
the places that a network learns from have errors, and where windows near the face are more likely it learns to say
that they are right already."""


INNER = Pose(0j, 1 / MARGIN + 0j)
"""Leads from the frame of a window to that of the crop in its middle."""

NEAR = Offsets(45.0, 0.25, 0.12, 1.0)
"""How far off the windows start by which the aligner is judged."""


class PoseFactor(nn.Module):
    """From five numbers (right, down, logarithm of size, cosine and sine of any length) to `labeler.aligner.Pose`."""

    def forward(self, values: Tensor) -> Tensor:
        """Return shift and factor, shape (n, 4), from shape (n, 5)."""
        direction = values[:, 3:5]
        length = (direction * direction).sum(dim=1, keepdim=True).sqrt() + 1e-6
        return torch.cat([values[:, :2], torch.exp(values[:, 2:3]) * direction / length], dim=1)


def window_network(widths: tuple[int, int, int], outputs: Mapping[str, int]) -> Labeler:
    """Build a small network with fresh weights that sees windows, shape (n, 1, `WINDOW`, `WINDOW`).

    Parameters
    ----------
    widths : (int, int, int)
        Channels at a half, a quarter and an eighth of the window's resolution.
    outputs : mapping of str to int
        How many numbers each output has.
    """
    half, quarter, eighth = widths
    side = WINDOW // 8
    trunk = nn.Sequential(
        NormaliseContrast(),
        Convolution(1, half, stride=2),
        Convolution(half, quarter, stride=2),
        ResidualBlock(quarter, quarter),
        ResidualBlock(quarter, eighth, 2),
        ResidualBlock(eighth, eighth),
        Convolution(eighth, 16, 1),
        nn.Flatten(),
        nn.Linear(16 * side * side, 64),
        nn.ReLU(inplace=True),
    )
    return Labeler(trunk, 64, outputs)


def build_aligner(widths: tuple[int, int, int]) -> Labeler:
    """Build a network with fresh weights: crops (n, 1, `WINDOW`, `WINDOW`) to a pose, shape (n, 4)."""
    network = window_network(widths, {OUTPUT: 5})
    head = network.heads[OUTPUT]
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        # It starts by saying that the face lies where it should.
        head.weight.mul_(0.1)
        head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0]))
    network.heads[OUTPUT] = nn.Sequential(head, PoseFactor())
    return network


@dataclass(frozen=True)
class Offset:
    """Where one window lies against the face's crop: turned (radians, clockwise), sized and shifted."""

    turn: float
    size: float
    right: float
    down: float

    def window(self, frame: Matrix) -> Matrix:
        """Return the window's frame, as in `training.pictures.Pictures.frames`, given the crop's."""
        return moved(frame, Pose(complex(self.right, self.down), MARGIN * self.factor))

    @property
    def factor(self) -> complex:
        """The window's size and turn against those at which the face lies as it should."""
        return math.exp(self.size) * complex(math.cos(self.turn), math.sin(self.turn))


def draw_offset(offsets: Sequence[Offsets], rng: np.random.Generator) -> Offset:
    """Return a window's offset, drawn from one of several kinds by their shares."""
    kind = offsets[int(rng.choice(len(offsets), p=[kind.share for kind in offsets]))]
    turn, size = rng.uniform(-kind.turn, kind.turn), rng.uniform(-kind.size, kind.size)
    right, down = rng.uniform(-kind.shift, kind.shift, 2)
    return Offset(math.radians(turn), size, right, down)


def moved(frame: Matrix, pose: Pose) -> Matrix:
    """Return the frame of the window that a pose asks for, given that of the window it was seen in."""
    turn = np.array([[pose.factor.real, -pose.factor.imag], [pose.factor.imag, pose.factor.real]])
    shift = np.array([pose.shift.real, pose.shift.imag]) + 0.5 - turn @ [0.5, 0.5]
    return np.column_stack([frame[:, :2] @ turn, frame[:, :2] @ shift + frame[:, 2]])


@dataclass(frozen=True)
class Windows(Batch):
    """Windows, two of each picture side by side, and where they lie.

    Parameters
    ----------
    offsets : numpy.ndarray
        Shape (n, 2), complex: the shift of the window's middle from the crop's in crops, and ``size * exp(i * turn)``.
    mirrored : numpy.ndarray
        Which windows show the mirror image, shape (n,).
    """

    views: int = 2
    offsets: npt.NDArray[np.complex64] = field(default_factory=lambda: np.zeros((0, 2), np.complex64))
    mirrored: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))


def training_windows(pictures: Pictures, order: Indices, stage: Stage, seed: tuple[int, ...]) -> Iterator[Windows]:
    """Yield full batches of disturbed windows, two of each picture; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    for start in range(0, len(order) - BATCH // 2 + 1, BATCH // 2):
        indices = np.repeat(order[start : start + BATCH // 2], 2)
        made = [_window(pictures, int(k), stage, rng) for k in indices]
        crops = channels_first(np.ascontiguousarray(np.stack([crop for crop, _, _ in made])))
        places = [(complex(offset.right, offset.down), offset.factor) for _, offset, _ in made]
        mirrored = np.array([mirrored for _, _, mirrored in made])
        yield Windows(crops, indices, offsets=np.array(places, np.complex64), mirrored=mirrored)


def _window(pictures: Pictures, k: int, stage: Stage, rng: np.random.Generator) -> tuple[Pixels, Offset, bool]:
    offset = draw_offset(stage.offsets, rng)
    around = draw_surroundings(pictures, AMONG_PICTURES, AMONG_SHADES, rng)
    crop = cut(pictures.pixels[k], offset.window(pictures.frames[k]), WINDOW, WINDOW, around)
    crop = disturbed_pixels(crop, PIXELS, rng)
    mirrored = bool(rng.random() < 0.5)
    return crop[:, ::-1] if mirrored else crop, offset, mirrored


def deviations(poses: Tensor, windows: Windows) -> Tensor:
    """Return by how much the landmarks to which poses, shape (n, 4), lead miss those of the crop.

    Returns
    -------
    torch.Tensor
        Shape (n, 5), complex: right and down, in crop's widths, as the picture itself is seen.
    """
    shift, factor = torch.complex(poses[:, 0], poses[:, 1]), torch.complex(poses[:, 2], poses[:, 3])
    mirrored = torch.from_numpy(windows.mirrored)
    shift, factor = torch.where(mirrored, -shift.conj(), shift), torch.where(mirrored, factor.conj(), factor)
    moved_by, window = torch.from_numpy(windows.offsets).unbind(1)
    shape = torch.tensor(_SHAPE, dtype=torch.complex64)
    return (moved_by + MARGIN * window * shift)[:, None] + (window * factor - 1)[:, None] * shape


def alignment_loss(outputs: Mapping[str, Tensor], windows: Batch, agreement: float) -> Tensor:
    """Return how far poses lead from the consensus and, for two windows of a picture, from each other.

    The consensus has errors, which two answers to one face need not share: what they differ by is all their own.
    """
    assert isinstance(windows, Windows)
    missed = deviations(outputs[OUTPUT], windows)
    return _rounded(missed) + agreement * _rounded(missed[::2] - missed[1::2])


def _rounded(missed: Tensor) -> Tensor:
    """Return the mean pseudo-Huber loss of distances."""
    parts = torch.view_as_real(missed)
    return (torch.sqrt((parts * parts).sum(-1) + ROUNDING**2) - ROUNDING).mean()


class AlignerRun(Fit):
    """The training of one stage.

    Parameters
    ----------
    pictures : Pictures
        Gray, each with the frame of its face's crop.
    training : numpy.ndarray
        Which of them to learn from.
    stage : Stage
        What to learn.
    folder, threads
        As `training.fitting.Fit` takes them.
    seed : int
        Of everything.
    """

    def __init__(
        self, pictures: Pictures, training: Indices, stage: Stage, folder: Path, *, threads: int, seed: int
    ) -> None:
        if len(training) < BATCH // 2:
            raise LabelerError(f"only {len(training)} pictures to train on; the aligner needs {BATCH // 2} or more")
        self.pictures, self.training, self.stage, self.seed = pictures, training, stage, seed
        torch.manual_seed(seed)
        super().__init__(build_aligner(stage.widths), stage.epochs, folder, threads=threads)

    @property
    def steps(self) -> int:
        """Batches in an epoch: two windows of each picture."""
        return len(self.training) // (BATCH // 2)

    @property
    def loss(self) -> Loss:
        """That of the stage."""
        return partial(alignment_loss, agreement=self.stage.agreement)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the windows of an epoch."""
        order = np.random.default_rng((self.seed, epoch, 1)).permutation(self.training)
        return training_windows(self.pictures, order, self.stage, (self.seed, epoch, 2))


class OneWindow(nn.Module):
    """A network as it is shipped: one window of pixels, shape (height, width), uint8, to one output, shape (1, n)."""

    def __init__(self, network: nn.Module, output: str) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, window: Tensor) -> Tensor:
        """Return the output."""
        said: Tensor = self.network(window.to(torch.float32)[None, None] / 255.0)[self.output]
        return said


def window_network_bytes(network: nn.Module, output: str) -> bytes:
    """Return a network that sees one window as an ONNX file; the same weights give the same bytes."""
    window = torch.zeros(WINDOW, WINDOW, dtype=torch.uint8)
    return merge_averages(exported(OneWindow(network, output), window, INPUT, [output]))


def rounded_aligner(content: bytes, pictures: Pictures, stage: Stage, seed: int) -> tuple[bytes, float]:
    """Return a network as `window_network_bytes` gives it in int8, and how far rounding moves the face.

    That is the median over one window of each picture of a batch, in widths of the crop; the other one tells the ranges
    of the activations.
    """
    order = np.arange(BATCH // 2) % len(pictures)
    windows = next(training_windows(pictures, order, stage, (seed, 3)))
    small = quantise(content, (crop[0] for crop in windows.crops[::2]), ROUNDED)
    runners = [session(network, Path(OUTPUT)) for network in (content, small)]
    poses = [
        torch.from_numpy(np.concatenate([runner.run([OUTPUT], {INPUT: crop[0]})[0] for crop in windows.crops]))
        for runner in runners
    ]
    apart = deviations(poses[0], windows) - deviations(poses[1], windows)
    return small, float(apart.abs().mean(1)[1::2].median())


def repeatability(aligner: Aligner, pictures: Pictures, chosen: Indices, seed: int) -> dict[str, Any]:
    """Return how nearly two windows of one picture lead to the same crop, over pictures that were not trained on.

    Both start up to 45 degrees, a quarter of the size and an eighth of the crop off. Also returned is the share of
    windows started at any turn that end more than 45 degrees off the consensus of the detector's looks.
    """
    rng = np.random.default_rng(seed)
    ends = {
        name: np.array([_end(aligner, pictures, int(k), draw_offset([offsets], rng)) for k in chosen])
        for name, offsets in (("one", NEAR), ("other", NEAR), ("any", replace(NEAR, turn=180.0)))
    }
    true = np.array([frame_landmarks(frame) for frame in pictures.frames[chosen]])
    width = np.abs(true[:, 0] - true[:, 1]) / (TEMPLATE[1][0] - TEMPLATE[0][0])
    apart = np.abs(ends["one"] - ends["other"]).mean(axis=1) / width
    eyes = [points[:, 1] - points[:, 0] for points in (ends["any"], true)]
    wrong = np.abs(np.angle(eyes[0] / eyes[1])) > math.pi / 4
    return {
        "pictures": len(chosen),
        "distance_median": round(float(np.median(apart)), 4),
        "distance_95": round(float(np.quantile(apart, 0.95)), 4),
        "wrong_way_up": round(float(wrong.mean()), 4),
    }


def frame_landmarks(frame: Matrix) -> npt.NDArray[np.complex128]:
    """Return the places of the landmarks, shape (5,), right + 1j * down, as `TEMPLATE` lies in a crop's frame."""
    places = frame @ np.array([(x, y, 1.0) for x, y in TEMPLATE]).T
    return np.asarray(places[0] + 1j * places[1])


def _end(aligner: Aligner, pictures: Pictures, k: int, offset: Offset) -> npt.NDArray[np.complex128]:
    """Return the landmarks to which the aligner comes from a window, in pixels of the picture."""

    def view(frame: Matrix) -> Pixels:
        return cut(pictures.pixels[k], frame, WINDOW, WINDOW)

    return frame_landmarks(moved(aligner.settle(offset.window(pictures.frames[k]), view, moved), INNER))


def consensus_pictures(
    source: str | os.PathLike[str], side: int, limit: int | None, seed: int, *, progress: bool = False
) -> tuple[Pictures, Indices, Indices]:
    """Return FairFace's training pictures, each framed where the detector's looks settle.

    Parameters
    ----------
    source, limit, seed, progress
        As in `train_aligner`.
    side : int
        Width and height in pixels to which they are reduced.

    Returns
    -------
    (Pictures, numpy.ndarray, numpy.ndarray)
        The pictures, gray; which of them to learn from; and which to keep out, the same for the same seed.
    """
    detector = Detector.load()
    pictures, _ = read_aligned_pictures(
        picture_paths(source, read_fairface(source, "train")[:limit]),
        side,
        "gray",
        TEMPLATE,
        lambda pixels: consensus_landmarks(pixels, detector),
        progress=progress,
    )
    order = np.random.default_rng((seed, 0)).permutation(len(pictures))
    count = min(VALIDATION, len(order) // 4)
    return pictures, np.sort(order[count:]), np.sort(order[:count])


def train_aligner(
    source: str | os.PathLike[str],
    runs: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    limit: int | None = None,
    epochs: int | None = None,
    threads: int = 2,
    seed: int = 1,
    progress: bool = False,
) -> dict[str, Any]:
    """Train both stages on FairFace's training pictures and write them with their description.

    Parameters
    ----------
    source : path
        FairFace's label file, whose images lie beside it.
    runs : path
        Folder for the checkpoints; training goes on from those that are there.
    folder : path
        Where the aligner is written, such as ``models/aligner``.
    limit : int, optional
        Take only the first so many pictures, to try something out.
    epochs : int, optional
        Of each stage; by default those of `STAGES`.
    threads, seed
        As in `AlignerRun`.
    progress : bool
        Print a line an epoch.

    Returns
    -------
    dict
        The description, as written to ``aligner.json``.

    Raises
    ------
    LabelerError
        If the data cannot be read, a checkpoint is damaged, or the folder cannot be written.
    """
    pictures, training, validation = consensus_pictures(source, STORED_SIDE, limit, seed, progress=progress)
    target = Path(folder)
    files = {}
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, stage in STAGES.items():
            asked = replace(stage, epochs=epochs or stage.epochs)
            run = AlignerRun(pictures, training, asked, Path(runs) / name, threads=threads, seed=seed)
            trained = window_network_bytes(run.train(progress=progress), OUTPUT)
            content, rounding = rounded_aligner(trained, pictures, asked, seed)
            (target / f"{name}.onnx").write_bytes(content)
            files[name] = network_file(name, content, asked.epochs, "int8")
            files[name]["rounding_distance_median"] = round(rounding, 4)
        about = {
            "format": 1,
            "name": "aligner",
            "licence": PROVENANCE["fairface"]["licence"],
            "source": "train-labelers aligner, from where YuNet's landmarks settle in FairFace's training pictures",
            "training": {"data": [dict(PROVENANCE["fairface"]) | {"images": len(training)}], "seed": seed},
            "files": files,
        }
        write_description(about, target / DESCRIPTION)
        about["validation"] = repeatability(Aligner.load(target), pictures, validation, seed)
        write_description(about, target / DESCRIPTION)
    except OSError as error:
        raise LabelerError(f"{error.filename}: cannot be written ({error.strerror}); choose another folder") from error
    return about


def network_file(name: str, content: bytes, epochs: int, precision: str) -> dict[str, Any]:
    """Return what a description says of a network's file, as `labeler.pack.described_session` reads it."""
    return {
        "file": f"{name}.onnx",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "epochs": epochs,
        "precision": precision,
    }


def write_description(about: Mapping[str, Any], path: Path) -> None:
    """Write what describes networks."""
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
