"""Training of the verifier: windows to which the aligner comes, at faces and where none is."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from labeler.aligner import MARGIN, WINDOW, Aligner, Pose
from labeler.errors import LabelerError
from labeler.verifier import DESCRIPTION, NAME, Verifier
from training.aligner import (
    INNER,
    NEAR,
    PIXELS,
    consensus_pictures,
    draw_offset,
    frame_landmarks,
    moved,
    network_file,
    window_network,
    window_network_bytes,
    write_description,
)
from training.augment import disturbed_pixels
from training.batches import Batch, channels_first
from training.fitting import Fit
from training.parallel import Loss
from training.pictures import Matrix, Pictures, Pixels, cut, draw_surroundings
from training.quantise import quantise
from training.scenes import SIDE, between, draw_scene, scramble
from training.sources import PROVENANCE, Indices

OUTPUT = "face"
WIDTHS = (32, 64, 128)
EPOCHS = 6
BATCH = 256
PICTURE_SIDE = 128
"""Width and height in pixels to which pictures are reduced."""

RIGHT, WRONG = 0.2, 0.5
"""Distances of the eyes that a face's landmarks are off at most, and of what is none at least."""

SCENES = 0.45
SCRAMBLED = 0.6
"""Scenes without a face, and faces in disorder, for a picture of a face."""

NEARBY = (NEAR, NEAR, replace(NEAR, turn=180.0), replace(NEAR, turn=180.0))
"""Windows near each face from which the aligner looks, two of them perhaps on their side or upside down."""

ANYWHERE = 3
"""Windows from which it looks anywhere in each picture of a face."""

AMONG_PICTURES, AMONG_SHADES = 0.5, 0.2
"""Shares of pictures of a face around which another picture lies, and shades."""

UNSETTLED = 0.2
"""Share of the windows anywhere that stay where they are."""

STARTS = 8
"""Windows from which the aligner looks into a scene."""

AT_MOST_OTHERS = 0.001
"""Share of windows without a face above whose odds the description says how many faces lie."""

CALIBRATION = 200
"""Pictures whose windows tell the ranges of the activations in int8."""

ROUNDED = "sums in int8, outermost values cut"
"""Of `training.quantise.VARIANTS`."""

DISTURBANCES = replace(PIXELS, reduce=0.45)

_CHUNK = 200


@dataclass(frozen=True)
class Examples:
    """Windows, and which of them show a face as the aligner would lay it.

    Parameters
    ----------
    windows : numpy.ndarray
        Gray, shape (n, `WINDOW`, `WINDOW`), uint8.
    faces : numpy.ndarray
        Shape (n,), bool.
    """

    windows: Pixels
    faces: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.windows)

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """Return all of several."""
        return cls(np.concatenate([part.windows for part in parts]), np.concatenate([part.faces for part in parts]))


@dataclass(frozen=True)
class Shown(Batch):
    """Windows of a batch, and which of them show a face, shape (n,)."""

    faces: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))


def face_examples(pictures: Pictures, k: int, aligner: Aligner, rng: np.random.Generator) -> Examples:
    """Return where the aligner comes to in one picture from `NEARBY` windows and from `ANYWHERE` others.

    What lies around the picture is another one, turned so that its face is none, a shade, or the picture's border. A
    window that ends neither at the face nor clearly beside it is left out.
    """
    picture, true = pictures.pixels[k], frame_landmarks(pictures.frames[k])
    eyes = abs(true[1] - true[0])
    windows, faces = [], []
    for offsets in (*NEARBY, *[None] * ANYWHERE):
        around = draw_surroundings(pictures, AMONG_PICTURES, AMONG_SHADES, rng)
        frame = draw_offset([offsets], rng).window(pictures.frames[k]) if offsets else _anywhere(len(picture), rng)
        if offsets or rng.random() >= UNSETTLED:
            frame = _settled(picture, frame, aligner, around)
        off = float(np.abs(frame_landmarks(moved(frame, INNER)) - true).mean() / eyes)
        if not RIGHT <= off < WRONG:
            windows.append(cut(picture, frame, WINDOW, WINDOW, around))
            faces.append(off < RIGHT)
    return Examples(np.array(windows, np.uint8).reshape(-1, WINDOW, WINDOW), np.array(faces, np.bool_))


def scene_examples(pictures: Pictures, aligner: Aligner, rng: np.random.Generator) -> Examples:
    """Return where the aligner comes to in a scene without a face."""
    scene = draw_scene(pictures, rng)
    frames = [_settled(scene, _anywhere(SIDE, rng), aligner, None) for _ in range(STARTS)]
    windows = np.array([cut(scene, frame, WINDOW, WINDOW) for frame in frames])
    return Examples(windows, np.zeros(STARTS, np.bool_))


def scrambled_example(pictures: Pictures, k: int, rng: np.random.Generator) -> Examples:
    """Return a window of a face in disorder."""
    pose = Pose(complex(*rng.normal(0, 0.03, 2)), MARGIN * math.exp(rng.normal(0, 0.08)) + 0j)
    window = scramble(cut(pictures.pixels[k], moved(pictures.frames[k], pose), WINDOW, WINDOW), pictures, rng)
    return Examples(window[None], np.zeros(1, np.bool_))


def _settled(picture: Pixels, frame: Matrix, aligner: Aligner, around: Pixels | None) -> Matrix:
    return aligner.settle(frame, lambda place: cut(picture, place, WINDOW, WINDOW, around), moved)


def _anywhere(side: int, rng: np.random.Generator) -> Matrix:
    """Return the frame of a window at any place of a square picture, turned by any angle, of about any size."""
    size = side * between(0.1, 1.4, rng)
    angle = rng.uniform(-math.pi, math.pi)
    turn = size * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.column_stack([turn, rng.uniform(-0.1, 1.1, 2) * side - turn @ [0.5, 0.5]])


def make_examples(
    pictures: Pictures, chosen: Indices, aligner: Aligner, seed: int, *, threads: int = 2, progress: bool = False
) -> Examples:
    """Return examples from some of the pictures; the same seed gives the same, on any number of threads.

    Parameters
    ----------
    pictures : Pictures
        Square and gray, each with the frame of its face's crop.
    chosen : numpy.ndarray
        Which of them to use.
    aligner : Aligner
        What looks into them.
    seed : int
        Of everything.
    threads : int
        Chunks made at once.
    progress : bool
        Show a progress bar on stderr.
    """
    own = Pictures(pictures.pixels[chosen], pictures.frames[chosen])
    kinds: tuple[tuple[float, Callable[[int, np.random.Generator], Examples]], ...] = (
        (1.0, lambda k, rng: face_examples(own, k, aligner, rng)),
        (SCENES, lambda _, rng: scene_examples(own, aligner, rng)),
        (SCRAMBLED, lambda k, rng: scrambled_example(own, k, rng)),
    )

    def chunk(task: tuple[int, int]) -> Examples:
        kind, start = task
        share, make = kinds[kind]
        rng = np.random.default_rng((seed, kind, start))
        return Examples.joined([make(k, rng) for k in range(start, min(start + _CHUNK, math.ceil(share * len(own))))])

    tasks = [
        (kind, start)
        for kind, (share, _) in enumerate(kinds)
        for start in range(0, math.ceil(share * len(own)), _CHUNK)
    ]
    with ThreadPoolExecutor(threads) as pool:
        return Examples.joined(list(tqdm(pool.map(chunk, tasks), "windows", len(tasks), disable=not progress)))


class VerifierRun(Fit):
    """The training of the verifier.

    Parameters
    ----------
    examples : Examples
        What to learn from.
    epochs, folder, threads
        As `training.fitting.Fit` takes them.
    seed : int
        Of everything.
    """

    def __init__(self, examples: Examples, epochs: int, folder: Path, *, threads: int, seed: int) -> None:
        if len(examples) < BATCH:
            raise LabelerError(f"only {len(examples)} windows to train on; the verifier needs {BATCH} or more")
        self.examples, self.seed = examples, seed
        torch.manual_seed(seed)
        network = window_network(WIDTHS, {OUTPUT: 1})
        super().__init__(network, epochs, folder, threads=threads, mixed_precision=True)

    @property
    def steps(self) -> int:
        """Full batches in an epoch."""
        return len(self.examples) // BATCH

    @property
    def loss(self) -> Loss:
        """Binary cross-entropy."""
        return face_loss

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the disturbed windows of an epoch."""
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.examples))
        for start in range(0, self.steps * BATCH, BATCH):
            indices = order[start : start + BATCH]
            windows = [nudged(self.examples.windows[k], rng) for k in indices]
            crops = np.stack([disturbed_pixels(window, DISTURBANCES, rng) for window in windows])
            yield Shown(channels_first(np.ascontiguousarray(crops)), indices, faces=self.examples.faces[indices])


def nudged(window: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a window turned, scaled and shifted by little, perhaps its mirror image; no window is learned by heart."""
    side = len(window)
    way = cv2.getRotationMatrix2D((side / 2, side / 2), rng.normal(0, 5), math.exp(rng.normal(0, 0.06)))
    right, down = rng.normal(0, 0.03 * side, 2).tolist()
    way[:, 2] += (right, down)
    turned = cv2.warpAffine(window, way, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned[:, ::-1] if rng.random() < 0.5 else turned, np.uint8)


def face_loss(outputs: Mapping[str, Tensor], shown: Batch) -> Tensor:
    """Return the mean binary cross-entropy of the odds."""
    assert isinstance(shown, Shown)
    return binary_cross_entropy_with_logits(outputs[OUTPUT][:, 0].float(), torch.from_numpy(shown.faces).float())


def separation(verifier: Verifier, examples: Examples) -> dict[str, Any]:
    """Return how well the odds tell faces from the rest, over examples that were not trained on."""
    odds = np.array([verifier.odds(window) for window in examples.windows])
    least = float(np.quantile(odds[~examples.faces], 1 - AT_MOST_OTHERS))
    return {
        "faces": int(examples.faces.sum()),
        "others": int((~examples.faces).sum()),
        "odds_exceeded_by_others": {"share": AT_MOST_OTHERS, "log_odds": round(least, 2)},
        "faces_above": round(float((odds[examples.faces] > least).mean()), 4),
    }


def train_verifier(
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
    """Train the verifier on FairFace's training pictures and write it with its description.

    Parameters
    ----------
    source : path
        FairFace's label file, whose images lie beside it.
    runs : path
        Folder for the checkpoint; training goes on from one that is there.
    folder : path
        Where the verifier is written, such as ``models/verifier``.
    limit : int, optional
        Take only the first so many pictures, to try something out.
    epochs : int, optional
        Passes over the windows; `EPOCHS` if not given.
    threads, seed
        As in `VerifierRun`.
    progress : bool
        Show what is done on stderr.

    Returns
    -------
    dict
        The description, as written to ``verifier.json``.

    Raises
    ------
    LabelerError
        If the data cannot be read, a checkpoint is damaged, or the folder cannot be written.
    """
    pictures, training, validation = consensus_pictures(source, PICTURE_SIDE, limit, seed, progress=progress)
    epochs, aligner = epochs or EPOCHS, Aligner.load()
    known, unknown, ranges = (
        make_examples(pictures, chosen, aligner, number, threads=threads, progress=progress)
        for chosen, number in ((training, seed), (validation, seed), (training[:CALIBRATION], seed + 1))
    )
    run = VerifierRun(known, epochs, Path(runs), threads=threads, seed=seed)
    content = quantise(window_network_bytes(run.train(progress=progress), OUTPUT), ranges.windows, ROUNDED)
    target = Path(folder)
    about = {
        "format": 1,
        "name": NAME,
        "licence": PROVENANCE["fairface"]["licence"],
        "source": "train-labelers verifier, from where the aligner comes to in FairFace's training pictures and scenes",
        "training": {
            "data": [dict(PROVENANCE["fairface"]) | {"images": len(training)}],
            "windows": len(known),
            "aligner": aligner.digest,
            "seed": seed,
        },
        "files": {NAME: network_file(NAME, content, epochs, "int8")},
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{NAME}.onnx").write_bytes(content)
        write_description(about, target / DESCRIPTION)
        about["validation"] = separation(Verifier.load(target), unknown)
        write_description(about, target / DESCRIPTION)
    except OSError as error:
        raise LabelerError(f"{error.filename}: cannot be written ({error.strerror}); choose another folder") from error
    return about
