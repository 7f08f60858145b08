"""Augmentation: each crop of an epoch is cut, turned, lit and damaged a little differently, from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.pictures import Matrix, Pixels, cut


@dataclass(frozen=True)
class Augmentation:
    """How far each disturbance goes; 0 turns it off.

    Parameters
    ----------
    flip, jpeg, blur, sharpen, reduce, cut_out, surroundings : float
        Probabilities: mirror; JPEG of quality 30 to 95; Gaussian blur of up to 1.2 pixels; a picture up to 1.5 times
        as sharp, as crops of larger photos are; reduction to half the size or more and back; a gray rectangle;
        another picture instead of a replicated border.
    rotation : float
        Largest angle in degrees, either way.
    scale : float
        Largest natural logarithm of the factor of size, either way.
    shift : float
        Largest shift along each axis, as a fraction of the crop.
    brightness, contrast, gamma : float
        Largest change of brightness as a fraction of the range; largest natural logarithms of the factor of contrast
        and of the exponent.
    """

    flip: float = 0.5
    rotation: float = 10.0
    scale: float = 0.1
    shift: float = 0.05
    brightness: float = 0.15
    contrast: float = 0.3
    gamma: float = 0.3
    jpeg: float = 0.2
    blur: float = 0.1
    sharpen: float = 0.0
    reduce: float = 0.1
    cut_out: float = 0.2
    surroundings: float = 0.0


NONE = Augmentation(
    flip=0.0,
    rotation=0.0,
    scale=0.0,
    shift=0.0,
    brightness=0.0,
    contrast=0.0,
    gamma=0.0,
    jpeg=0.0,
    blur=0.0,
    reduce=0.0,
    cut_out=0.0,
)
"""No disturbance at all."""


def disturbed_frame(frame: Matrix, aspect: float, augmentation: Augmentation, rng: np.random.Generator) -> Matrix:
    """Return a frame mirrored, turned, scaled and shifted about the crop's centre.

    Parameters
    ----------
    frame : numpy.ndarray
        As in `training.pictures.Pictures.frames`, shape (2, 3).
    aspect : float
        Width of the crop divided by its height.
    augmentation : Augmentation
        How far.
    rng : numpy.random.Generator
        Source of chance.
    """
    angle = math.radians(rng.uniform(-augmentation.rotation, augmentation.rotation))
    size = math.exp(rng.uniform(-augmentation.scale, augmentation.scale))
    shift = rng.uniform(-augmentation.shift, augmentation.shift, 2)
    mirror = -1.0 if rng.random() < augmentation.flip else 1.0
    cosine, sine = size * math.cos(angle), size * math.sin(angle)
    turn = np.array([[mirror * cosine, -sine / aspect], [mirror * sine * aspect, cosine]])
    disturbed = np.empty((2, 3))
    disturbed[:, :2] = frame[:, :2] @ turn
    disturbed[:, 2] = frame[:, :2] @ (shift + 0.5 - turn @ [0.5, 0.5]) + frame[:, 2]
    return disturbed


def disturbed_pixels(crop: Pixels, augmentation: Augmentation, rng: np.random.Generator) -> Pixels:
    """Return a crop with its light, sharpness and compression changed, and a part hidden."""
    height, width = crop.shape[:2]
    chance = rng.random(5)
    if chance[0] < augmentation.reduce:
        factor = rng.uniform(0.35, 0.8)
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        reduced = cv2.resize(crop, small, interpolation=cv2.INTER_AREA)
        crop = np.asarray(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if chance[1] < augmentation.blur:
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.4, 1.2)), np.uint8)
    if chance[4] < augmentation.sharpen:
        amount = rng.uniform(0.0, 0.5)
        blurred = cv2.GaussianBlur(crop, (0, 0), 1.0)
        crop = np.asarray(cv2.addWeighted(crop, 1 + amount, blurred, -amount, 0), np.uint8)
    crop = np.asarray(cv2.LUT(crop, tone_curve(augmentation, rng)), np.uint8)
    if chance[2] < augmentation.jpeg:
        _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))])
        crop = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)
    if chance[3] < augmentation.cut_out:
        crop = _hide_part(crop, rng)
    return crop


def tone_curve(augmentation: Augmentation, rng: np.random.Generator) -> Pixels:
    """Return the new value of each of the 256 pixel values: gamma, then contrast about the middle, then brightness."""
    gamma = math.exp(rng.uniform(-augmentation.gamma, augmentation.gamma))
    contrast = math.exp(rng.uniform(-augmentation.contrast, augmentation.contrast))
    brightness = rng.uniform(-augmentation.brightness, augmentation.brightness)
    values = (np.linspace(0.0, 1.0, 256) ** gamma - 0.5) * contrast + 0.5 + brightness
    return np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)


def augmented_crop(
    picture: Pixels,
    frame: Matrix,
    width: int,
    height: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    others: npt.NDArray[np.uint8],
) -> Pixels:
    """Cut one disturbed crop out of a picture.

    Parameters
    ----------
    picture, frame, width, height
        As in `training.pictures.cut`.
    augmentation : Augmentation
        What may happen to the crop.
    rng : numpy.random.Generator
        Source of chance: the same state gives the same crop.
    others : numpy.ndarray
        Pictures, shape (n, side, side[, 3]), of which one may become the surroundings.
    """
    surroundings = None
    if rng.random() < augmentation.surroundings:
        surroundings = others[int(rng.integers(len(others)))]
    crop = cut(picture, disturbed_frame(frame, width / height, augmentation, rng), width, height, surroundings)
    return disturbed_pixels(crop, augmentation, rng)


def _hide_part(crop: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = crop.shape[:2]
    part_width, part_height = (max(1, round(side * rng.uniform(0.15, 0.4))) for side in (width, height))
    left = int(rng.integers(0, width - part_width + 1))
    top = int(rng.integers(0, height - part_height + 1))
    hidden = crop.copy()
    hidden[top : top + part_height, left : left + part_width] = int(rng.integers(0, 256))
    return hidden
