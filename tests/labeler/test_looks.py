"""Sharpness falls with blur and not with contrast; contrast falls with paleness and not with blur alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from labeler.looks import contrast, face_size, looks, sharpness

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


def test_a_blurred_crop_is_less_sharp_and_a_pale_one_as_sharp() -> None:
    blurred = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 2), np.uint8)
    pale = (NOISE // 4 + 90).astype(np.uint8)
    assert sharpness(blurred) < 0.3 * sharpness(NOISE)
    assert sharpness(pale) == pytest.approx(sharpness(NOISE), rel=0.02)
    assert contrast(pale) == pytest.approx(contrast(NOISE) / 4, rel=0.02)


def test_a_small_face_blown_up_is_less_sharp() -> None:
    small = cv2.resize(NOISE, (16, 16), interpolation=cv2.INTER_AREA)
    blown_up = np.asarray(cv2.resize(small, (64, 64), interpolation=cv2.INTER_LINEAR), np.uint8)
    assert sharpness(blown_up) < 0.3 * sharpness(NOISE)
    assert face_size((0, 0, 16, 16), 64, 64) == 0.25


def test_gray_and_the_same_in_colour_look_alike() -> None:
    colour = np.repeat(NOISE[..., None], 3, axis=2)
    assert looks(np.stack([colour]))[0] == pytest.approx(looks(NOISE[None])[0], rel=0.02)


def test_a_crop_of_one_value_has_neither() -> None:
    assert looks(np.full((2, 8, 8), 77, np.uint8)).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert looks(np.zeros((0, 8, 8), np.uint8)).shape == (0, 2)
