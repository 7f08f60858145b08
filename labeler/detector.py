"""YuNet in onnxruntime: pixels into face boxes, scores and five landmarks."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from labeler.decode import Pixels
from labeler.pack import described_session, models_folder

DESCRIPTION = "detector.json"
THRESHOLD = 0.7
"""Least score of a face. At OpenCV's default of 0.9 half of the 48-pixel faces are missed."""

OVERLAP = 0.3
"""Of two boxes with a larger intersection over union only the better one is kept."""

VOTE_THRESHOLD = 0.3
VOTE_OVERLAP = 0.5
"""Detections of at least this score and this overlap with a kept one vote on its landmarks. One cell of the network's
grid alone puts them up to a quarter of the distance of the eyes off, depending on how the face lies on the grid."""

_STRIDES = (8, 16, 32)
_MULTIPLE = 16
_INPUT = "pixels"
_OUTPUTS = ("scores", "cells")

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

    def holding(self, x: float, y: float) -> npt.NDArray[np.bool_]:
        """Return which faces' boxes hold a place, shape (n,)."""
        start, size = self.boxes[:, :2], self.boxes[:, 2:]
        return np.asarray(np.all((start <= (x, y)) & (start + size >= (x, y)), axis=1))

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
        return cls(*described_session(place, DESCRIPTION, "detector"))

    def detect(self, pixels: Pixels, threshold: float = THRESHOLD) -> Faces:
        """Find the faces in a picture at its own size.

        The cost grows with the number of pixels; faces between about 10 and 300 pixels are found.

        Parameters
        ----------
        pixels : numpy.ndarray
            RGB, shape (height, width, 3), uint8. Colour matters: on gray pictures fewer faces are found.
        threshold : float
            Least score.

        Raises
        ------
        ArithmeticError
            If the network gives no finite numbers.
        """
        rows, columns = pixels.shape[:2]
        height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in (rows, columns))
        if (height, width) != (rows, columns):
            bottom, right = height - rows, width - columns
            pixels = np.asarray(cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_CONSTANT), np.uint8)
        scores, cells = self._runner.run(_OUTPUTS, {_INPUT: np.ascontiguousarray(pixels)})
        return suppress(_decode(scores, cells, height, width, min(threshold, VOTE_THRESHOLD)), threshold)

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


def _decode(scores: Array, cells: Array, height: int, width: int, threshold: float) -> Faces:
    """Turn the network's outputs into boxes and landmarks, as OpenCV's FaceDetectorYN does.

    At each stride, cell (row, column) scores sqrt(cls x obj); the box is centred at (column + b0, row + b1) x stride
    and measures exp(b2) x exp(b3) x stride; landmarks are offsets from the cell.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape (cells,).
    cells : numpy.ndarray
        Shape (14, cells): b0 to b3, then x and y of five landmarks.
    """
    if not np.isfinite(scores).all():
        raise ArithmeticError("the face detector gives no finite numbers")
    chosen = np.flatnonzero(scores >= threshold)
    values, grid, strides = (part[:, chosen] for part in (cells, *_grid(height, width)))
    size = np.exp(values[2:4]) * strides
    corner = (grid + values[:2]) * strides - size / 2
    landmarks = (values[4:].reshape(5, 2, -1) + grid) * strides
    return Faces(np.concatenate([corner, size]).T, landmarks.transpose(2, 0, 1), scores[chosen])


@functools.lru_cache(maxsize=64)
def _grid(height: int, width: int) -> tuple[Array, Array]:
    """Return column and row, shape (2, cells), and stride, shape (1, cells), of every cell of the network's outputs."""
    cells, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: -(-height // stride), : -(-width // stride)]
        cells.append(np.stack([columns.ravel(), rows.ravel()]).astype(np.float32))
        strides.append(np.full((1, rows.size), stride, np.float32))
    return np.concatenate(cells, 1), np.concatenate(strides, 1)


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
    order = np.argsort(-faces.scores, kind="stable")
    start, size, scores = faces.boxes[order, :2], faces.boxes[order, 2:], faces.scores[order]
    end, area = start + size, size[:, 0] * size[:, 1]
    left = np.ones(len(order), np.bool_)
    kept: list[int] = []
    landmarks: list[Array] = []
    for best in range(int(np.count_nonzero(scores >= threshold))):
        if not left[best]:
            continue
        sides = np.maximum(np.minimum(end[best], end) - np.maximum(start[best], start), 0)
        shared = sides[:, 0] * sides[:, 1]
        overlap = shared / (area[best] + area - shared)
        voters = np.flatnonzero(left & (overlap >= VOTE_OVERLAP))
        weights = scores[voters] ** 2
        votes = faces.landmarks[order[voters]].reshape(-1, 10)
        landmarks.append((weights @ votes / weights.sum()).reshape(5, 2))
        kept.append(int(order[best]))
        left &= overlap <= OVERLAP
    if not kept:
        return join([])
    return Faces(faces.boxes[kept], np.stack(landmarks), faces.scores[kept])
