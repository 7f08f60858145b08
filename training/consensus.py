"""Where a face lies by the detector alone, looked at until its landmarks settle: what the aligner learns from."""

from __future__ import annotations

import cmath
import math

import cv2
import numpy as np
import numpy.typing as npt

from labeler.decode import Pixels
from labeler.detector import Detector, Faces
from labeler.faces import TEMPLATE, Points, sample, search, similarity

LARGEST_ROLL = 60.0
"""Degrees. Training pictures are upright, so a face that seems turned further was misread."""

TURN_GAIN = 2.6
"""The network's landmarks turn by a third of a face's turn only (0.32 of it between -25 and 25 degrees). This is the
factor with the least squared error; it is below 1 / 0.32, for what the landmarks show is partly noise."""

LEAST_SCORE = 0.5
LOOKS = 4
SETTLED = 0.05
LATER_SHARE = 0.6
LARGEST_TURN = math.pi / 4

WINDOW = 96
SHARE = 0.7
"""Of the window's width that the crop of `labeler.faces.TEMPLATE` takes."""

_TARGET = WINDOW * np.array([(0.5 + (x - 0.5) * SHARE, 0.52 + (y - 0.535) * SHARE) for x, y in TEMPLATE])


def consensus_landmarks(pixels: Pixels, detector: Detector) -> Points | None:
    """Return the landmarks of the largest face of an upright picture, shape (5, 2), or None where there is none.

    The face is detected again in a window that is turned, scaled and shifted to its landmarks, and again from there,
    until they move by less than `SETTLED` of the crop's width. A later look moves them by `LATER_SHARE` only, which
    averages the looks.

    Parameters
    ----------
    pixels : numpy.ndarray
        RGB, shape (height, width, 3), uint8.
    detector : Detector
        The face detector.
    """
    faces = search(pixels, detector)
    if not len(faces):
        return None
    largest = int(np.argmax(faces.boxes[:, 2] * faces.boxes[:, 3]))
    landmarks = turned_on(faces.landmarks[largest])
    for look in range(LOOKS):
        matrix, _ = similarity(landmarks, _TARGET)
        window = sample(pixels, matrix, WINDOW, WINDOW, border=cv2.BORDER_CONSTANT, finest=1)
        seen = _central(detector.detect(window, LEAST_SCORE))
        if seen is None:
            break
        moved = np.linalg.solve(matrix[:, :2], (turned_on(seen) - matrix[:, 2]).T).T - landmarks
        landmarks = landmarks + (LATER_SHARE if look else 1.0) * moved
        scale = math.hypot(matrix[0, 0], matrix[1, 0])
        if scale * math.sqrt(float(np.mean(np.sum(moved**2, 1)))) < SETTLED * SHARE * WINDOW:
            break
    matrix, _ = similarity(landmarks, TEMPLATE)
    return landmarks if abs(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))) <= LARGEST_ROLL else None


def turned_on(landmarks: npt.ArrayLike) -> Points:
    """Return a detection's landmarks, shape (5, 2), turned about their middle as far as the face is (`TURN_GAIN`)."""
    points = np.asarray(landmarks, np.float64)
    matrix, _ = similarity(TEMPLATE, points)
    seen = math.atan2(matrix[1, 0], matrix[0, 0])
    turn = min(max(TURN_GAIN * seen, -LARGEST_TURN), LARGEST_TURN) if abs(seen) < LARGEST_TURN else seen
    factor = cmath.exp(1j * (turn - seen))
    middle = points.mean(0)
    rotation = np.array([[factor.real, factor.imag], [-factor.imag, factor.real]])
    return np.asarray((points - middle) @ rotation + middle, np.float64)


def _central(faces: Faces) -> Points | None:
    """Return the landmarks of the best face whose box holds the middle of the window, if one does."""
    holds = faces.holding(WINDOW / 2, WINDOW / 2)
    return faces.landmarks[int(np.argmax(holds))].astype(np.float64) if holds.any() else None
