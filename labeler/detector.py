"""YuNet in onnxruntime: pixels into face boxes, scores and five landmarks."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from labeler.decode import Pixels
from labeler.errors import PackError
from labeler.pack import models_folder, session

MANIFEST = "detector.json"
THRESHOLD = 0.7
"""Least score of a face. At OpenCV's default of 0.9 half of the 48-pixel faces are missed."""

OVERLAP = 0.3
"""Of two boxes with a larger intersection over union only the better one is kept."""

VOTE_THRESHOLD = 0.3
VOTE_OVERLAP = 0.5
"""Detections of at least this score and this overlap with a kept one vote on its landmarks. One cell of the network's
grid alone puts them up to a quarter of the distance of the eyes off, depending on how the face lies on the grid."""

_STRIDES = (8, 16, 32)
_MULTIPLE = 32
_OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in _STRIDES)

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Faces:
    """Faces found in a picture, best first.

    Parameters
    ----------
    boxes : numpy.ndarray
        Shape (n, 4): left, top, width, height in pixels of the picture.
    landmarks : numpy.ndarray
        Shape (n, 5, 2): right eye, left eye, nose, right and left corner of the mouth (the person's own right).
    scores : numpy.ndarray
        Shape (n,), 0 to 1.
    """

    boxes: Array
    landmarks: Array
    scores: Array

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.scores)

    def scaled(self, factor: float) -> Faces:
        """Return the faces in the pixels of a picture that is `factor` times as large."""
        return Faces(self.boxes * np.float32(factor), self.landmarks * np.float32(factor), self.scores)


class Detector:
    """A loaded face detector; it may be used from several threads at once."""

    def __init__(self, runner: onnxruntime.InferenceSession, digest: str) -> None:
        self._runner = runner
        self.digest = digest

    @classmethod
    def load(cls, folder: str | os.PathLike[str] | None = None) -> Detector:
        """Load the detector from its folder, by default the one that comes with the package.

        Raises
        ------
        PackError
            If a file is missing, is not what its checksum says, or onnxruntime refuses it.
        """
        place = Path(folder) if folder is not None else models_folder() / "yunet"
        try:
            entry = json.loads((place / MANIFEST).read_bytes())
            path = place / entry["file"]
            content = path.read_bytes()
            expected = entry["sha256"]
        except OSError as error:
            raise PackError(f"{error.filename}: cannot be read ({error.strerror}); copy the detector anew") from error
        except (ValueError, KeyError, TypeError) as error:
            raise PackError(f"{place / MANIFEST}: damaged ({error}); copy the detector anew") from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != expected:
            raise PackError(f"{path}: its SHA-256 is not the one that {MANIFEST} states; copy the detector anew")
        return cls(session(content, path), digest)

    def detect(self, pixels: Pixels, threshold: float = THRESHOLD) -> Faces:
        """Find the faces in a picture at its own size.

        The cost grows with the number of pixels; faces between about 10 and 300 pixels are found.

        Parameters
        ----------
        pixels : numpy.ndarray
            RGB, shape (height, width, 3), uint8. Colour matters: on gray pictures fewer faces are found.
        threshold : float
            Least score.
        """
        rows, columns = pixels.shape[:2]
        height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in (rows, columns))
        if (height, width) != (rows, columns):
            bottom, right = height - rows, width - columns
            pixels = np.asarray(cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_CONSTANT), np.uint8)
        blob = cv2.dnn.blobFromImage(np.ascontiguousarray(pixels), swapRB=True)
        values = self._runner.run(_OUTPUTS, {"input": blob})
        return suppress(_decode(values, height, width, min(threshold, VOTE_THRESHOLD)), threshold)

    def detect_pyramid(self, pixels: Pixels, threshold: float = THRESHOLD) -> Faces:
        """Find the faces at the picture's own size and at half of it, where faces too large for `detect` fit.

        Returns
        -------
        Faces
            In pixels of the picture, overlaps suppressed across both sizes.
        """
        size = max(1, pixels.shape[1] // 2), max(1, pixels.shape[0] // 2)
        half = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        return suppress(join([self.detect(pixels, threshold), self.detect(half, threshold).scaled(2)]), threshold)


def _decode(values: Sequence[Array], height: int, width: int, threshold: float) -> Faces:
    """Turn the network's outputs into boxes and landmarks, as OpenCV's FaceDetectorYN does.

    At each stride, cell (row, column) scores sqrt(cls x obj), both clipped to 0..1; the box is centred at
    (column + b0, row + b1) x stride and measures exp(b2) x exp(b3) x stride; landmarks are offsets from the cell.
    """
    classes, objects, boxes, points = (
        np.concatenate([value[0] for value in values[start : start + len(_STRIDES)]])
        for start in range(0, len(_OUTPUTS), len(_STRIDES))
    )
    product = np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1)
    chosen = np.flatnonzero(product >= threshold * threshold)
    if not len(chosen):
        return join([])
    cells, strides = (part[chosen] for part in _grid(height, width))
    size = np.exp(boxes[chosen, 2:]) * strides
    corner = (cells + boxes[chosen, :2]) * strides - size / 2
    landmarks = (points[chosen].reshape(-1, 5, 2) + cells[:, None]) * strides[:, None]
    return Faces(np.concatenate([corner, size], 1), landmarks, np.sqrt(product[chosen]))


@functools.lru_cache(maxsize=64)
def _grid(height: int, width: int) -> tuple[Array, Array]:
    """Return column and row, shape (cells, 2), and stride, shape (cells, 1), of every cell of the network's outputs."""
    cells, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float32))
        strides.append(np.full((rows.size, 1), stride, np.float32))
    return np.concatenate(cells), np.concatenate(strides)


def join(parts: list[Faces]) -> Faces:
    """Return several lists of faces as one."""
    empty = Faces(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32))
    everything = [empty, *parts]
    return Faces(
        np.concatenate([part.boxes for part in everything]).astype(np.float32),
        np.concatenate([part.landmarks for part in everything]).astype(np.float32),
        np.concatenate([part.scores for part in everything]).astype(np.float32),
    )


def suppress(faces: Faces, threshold: float = THRESHOLD) -> Faces:
    """Keep the best of each cluster of overlapping boxes (greedy non-maximum suppression), best first.

    The landmarks of a kept face are the mean over those of its cluster that overlap it by `VOTE_OVERLAP`, weighted by
    the square of the score.

    Parameters
    ----------
    faces : Faces
        Detections in any order.
    threshold : float
        Least score of a face that is kept; weaker ones only vote.
    """
    left, top = faces.boxes[:, 0], faces.boxes[:, 1]
    right, bottom = left + faces.boxes[:, 2], top + faces.boxes[:, 3]
    area = faces.boxes[:, 2] * faces.boxes[:, 3]
    order = np.argsort(-faces.scores, kind="stable")
    kept: list[int] = []
    landmarks: list[Array] = []
    while len(order) and faces.scores[order[0]] >= threshold:
        best = order[0]
        across = np.minimum(right[best], right[order]) - np.maximum(left[best], left[order])
        down = np.minimum(bottom[best], bottom[order]) - np.maximum(top[best], top[order])
        shared = np.maximum(across, 0) * np.maximum(down, 0)
        overlap = shared / (area[best] + area[order] - shared)
        voters = order[overlap >= VOTE_OVERLAP]
        kept.append(int(best))
        weights = faces.scores[voters] ** 2
        landmarks.append(np.tensordot(weights / weights.sum(), faces.landmarks[voters], 1))
        order = order[overlap <= OVERLAP]
    if not kept:
        return join([])
    return Faces(faces.boxes[kept], np.stack(landmarks).astype(np.float32), faces.scores[kept])
