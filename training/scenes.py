"""Pictures in which nobody is, made by chance: shapes, textures and letters that lie over each other."""

from __future__ import annotations

import math

import cv2
import numpy as np

from training.pictures import Pictures, Pixels

SIDE = 192
"""Width and height of a scene in pixels."""

_LARGEST_PATCH = 0.33
_LETTERS = range(33, 127)


def draw_scene(pictures: Pictures, rng: np.random.Generator) -> Pixels:
    """Return a scene, gray, shape (`SIDE`, `SIDE`): leaves that fell on each other, blurred, pale or noisy at times.

    The "dead leaves" of Lee, Mumford & Huang 2001 ("Occlusion models for natural images", IJCV 41:35) share the
    statistics of photos; that networks learn from them is shown by Baradad et al. 2021 ("Learning to see by looking at
    noise").

    Parameters
    ----------
    pictures : Pictures
        Square and gray; pieces of them, each too small to show a face, are the textures.
    rng : numpy.random.Generator
        Source of chance.
    """
    scene = _texture(pictures, SIDE, SIDE, rng).copy()
    for _ in range(int(between(2, 90, rng))):
        _lay_leaf(scene, pictures, rng)
        chance = rng.random(2)
        if chance[0] < 0.06:
            _write(scene, rng)
        if chance[1] < 0.08:
            start, end = rng.integers(0, SIDE, (2, 2)).tolist()
            cv2.line(scene, start, end, _gray(rng), int(rng.integers(1, 6)))
    chance = rng.random(3)
    if chance[0] < 0.4:
        scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), between(0.6, 8, rng)), np.uint8)
    if chance[1] < 0.25:
        noisy = scene + rng.normal(0, rng.uniform(2, 25), scene.shape)
        scene = np.clip(noisy, 0, 255).astype(np.uint8)
    if chance[2] < 0.4:
        pale = 128 + (scene - 128.0) * rng.uniform(0.1, 0.7) + rng.uniform(-60, 60)
        scene = np.clip(pale, 0, 255).astype(np.uint8)
    return scene


def scramble(window: Pixels, pictures: Pictures, rng: np.random.Generator) -> Pixels:
    """Return a window that shows a face with its parts in disorder: tiles, halves or a turn, or another upper half."""
    side = len(window)
    kind = int(rng.integers(4))
    if kind == 0:
        count = int(rng.choice([2, 3, 4]))
        step = side // count
        tiles = [window[i * step : (i + 1) * step, j * step : (j + 1) * step] for i, j in np.ndindex(count, count)]
        # By one tile at least, so that none stays where it was even where chance would leave them.
        order = np.roll(np.arange(count**2), int(rng.integers(1, count**2)))
        if rng.random() < 0.5:
            order = order[::-1]
        rows = [np.hstack([tiles[order[i * count + j]] for j in range(count)]) for i in range(count)]
        return np.ascontiguousarray(np.vstack(rows))
    if kind == 1:
        half = side // 2
        return np.vstack([window[half:], window[:half]]) if rng.random() < 0.5 else np.ascontiguousarray(window[::-1])
    if kind == 2:
        height = int(rng.integers(side // 2, side * 5 // 8))
        other = cv2.resize(_patch(pictures, rng), (side, side), interpolation=cv2.INTER_LINEAR)
        return np.vstack([other[:height], window[height:]]).astype(np.uint8)
    return np.ascontiguousarray(np.rot90(window, int(rng.integers(1, 4))))


def _lay_leaf(scene: Pixels, pictures: Pictures, rng: np.random.Generator) -> None:
    radius, aspect = between(3, 70, rng), math.sqrt(rng.uniform(0.4, 2.5))
    height, width = (min(max(2, int(2 * radius * factor)), SIDE) for factor in (aspect, 1 / aspect))
    leaf, shape = _texture(pictures, height, width, rng).copy(), _shape(height, width, rng)
    if rng.random() < 0.35:
        outline, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(leaf, outline, -1, _gray(rng), int(rng.integers(1, 4)))
    angle = rng.uniform(0, 360) if rng.random() < 0.6 else 0.0
    way = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    across, down = rng.uniform(0, SIDE, 2).tolist()
    way[:, 2] += (across - width / 2, down - height / 2)
    covered = cv2.warpAffine(shape, way, (SIDE, SIDE))
    laid = cv2.warpAffine(leaf, way, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.2:
        covered = cv2.GaussianBlur(covered, (0, 0), rng.uniform(1, 5))
        share = covered.astype(np.float32) / 255
        scene[:] = (scene * (1 - share) + laid * share).astype(np.uint8)
    else:
        cv2.copyTo(laid, covered, scene)


def _shape(height: int, width: int, rng: np.random.Generator) -> Pixels:
    """Return an ellipse, a rectangle or a polygon: 255 inside."""
    shape = np.zeros((height, width), np.uint8)
    chance = rng.random()
    if chance < 0.4:
        middle = (width // 2, height // 2)
        cv2.ellipse(shape, middle, middle, 0, 0, 360, 255, -1)
    elif chance < 0.6:
        shape[:] = 255
    else:
        corners = int(rng.integers(3, 9))
        angles, reach = np.sort(rng.uniform(0, 2 * math.pi, corners)), rng.uniform(0.4, 1, corners)
        across, down = width / 2 * (1 + reach * np.cos(angles)), height / 2 * (1 + reach * np.sin(angles))
        cv2.fillPoly(shape, [np.stack([across, down], 1).astype(np.int32)], 255)
    return shape


def _texture(pictures: Pictures, height: int, width: int, rng: np.random.Generator) -> Pixels:
    """Return one gray, a shade, stripes or squares, or a piece of a picture, perhaps with its mirror image."""
    chance = rng.random()
    if chance < 0.4:
        return np.full((height, width), _gray(rng), np.uint8)
    if chance < 0.55:
        corners = rng.integers(0, 256, (2, 2)).astype(np.uint8)
        return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if chance < 0.65:
        down, across = np.mgrid[:height, :width] // int(rng.integers(2, 20))
        odd = (across, down, across + down)[int(rng.integers(3))] % 2
        return np.where(odd == 1, _gray(rng), _gray(rng)).astype(np.uint8)
    piece = np.rot90(_patch(pictures, rng), int(rng.integers(4)))
    if rng.random() < 0.4:
        piece = np.hstack([piece, piece[:, ::-1]])
        if rng.random() < 0.5:
            piece = np.vstack([piece, piece[::-1]])
    smooth = cv2.resize(np.ascontiguousarray(piece), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth, np.uint8)


def _patch(pictures: Pictures, rng: np.random.Generator) -> Pixels:
    picture = pictures.pixels[int(rng.integers(len(pictures)))]
    side = max(2, int(len(picture) * rng.uniform(0.06, _LARGEST_PATCH)))
    top, left = rng.integers(0, len(picture) - side + 1, 2)
    return np.asarray(picture[top : top + side, left : left + side], np.uint8)


def _write(scene: Pixels, rng: np.random.Generator) -> None:
    text = "".join(chr(int(code)) for code in rng.choice(_LETTERS, int(rng.integers(1, 9))))
    place = (int(rng.integers(-20, SIDE - 20)), int(rng.integers(0, SIDE)))
    size, thickness = float(rng.uniform(0.3, 3)), int(rng.integers(1, 5))
    cv2.putText(scene, text, place, int(rng.integers(8)), size, _gray(rng), thickness)


def _gray(rng: np.random.Generator) -> int:
    return int(rng.integers(256))


def between(least: float, most: float, rng: np.random.Generator) -> float:
    """Return a number whose logarithm is drawn evenly between those of two others."""
    return math.exp(rng.uniform(math.log(least), math.log(most)))
