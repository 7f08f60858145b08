"""What a crop looks like to a classifier, whoever is on it: how sharp, how much contrast, how large the face was."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from labeler.decode import Pixels, to_gray

FLAT = 1e-6
"""Standard deviation, of 0 to 255, below which a crop has one value only."""


def contrast(crop: Pixels) -> float:
    """Return the root-mean-square contrast: the standard deviation of the gray values, 0 to 0.5.

    Peli 1990, "Contrast in complex images", J. Optical Society of America A 7:2032.

    Parameters
    ----------
    crop : numpy.ndarray
        Gray (height, width) or RGB (height, width, 3), uint8.

    Examples
    --------
    >>> contrast(np.array([[0, 255], [255, 0]], np.uint8))
    0.5
    """
    return _spread(to_gray(crop)) / 255


def sharpness(crop: Pixels) -> float:
    """Return the standard deviation of the Laplacian over that of the gray values; 0 for a crop of one value.

    The measure of focus of Pech-Pacheco et al. 2000 ("Diatom autofocusing in brightfield microscopy", ICPR), divided by
    the contrast so that a pale picture is not taken for a blurred one. A crop blown up from a small face is low in it.

    Parameters
    ----------
    crop : numpy.ndarray
        Gray (height, width) or RGB (height, width, 3), uint8.

    Examples
    --------
    >>> fine = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (8, 8))
    >>> coarse = fine.repeat(4, axis=0).repeat(4, axis=1)
    >>> sharpness(coarse) < sharpness(fine), sharpness(np.zeros((8, 8), np.uint8))
    (True, 0.0)
    """
    gray = to_gray(crop)
    return _detail(gray, _spread(gray))


def _detail(gray: Pixels, spread: float) -> float:
    return _spread(np.asarray(cv2.Laplacian(gray, cv2.CV_16S), np.int16)) / spread if spread > FLAT else 0.0


def _spread(values: npt.NDArray[np.uint8] | npt.NDArray[np.int16]) -> float:
    """Return the standard deviation."""
    return float(cv2.meanStdDev(values)[1][0, 0])


def face_size(box: tuple[float, float, float, float], crop_width: int, crop_height: int) -> float:
    """Return the side of a face's box in the picture over the side of the crop, by their areas.

    Below 1 the crop shows less than it has pixels for.

    Parameters
    ----------
    box : (x, y, width, height)
        In pixels of the picture.
    crop_width, crop_height : int
        In pixels.

    Examples
    --------
    >>> face_size((10.0, 10.0, 32.0, 18.0), 48, 48)
    0.5
    """
    return math.sqrt(box[2] * box[3] / (crop_width * crop_height))


def looks(crops: Pixels) -> npt.NDArray[np.float32]:
    """Return sharpness and contrast of each crop of shape (n, height, width) or (n, height, width, 3), shape (n, 2)."""
    grays = [to_gray(crop) for crop in crops]
    found = [(_detail(gray, spread), spread / 255) for gray, spread in zip(grays, map(_spread, grays), strict=True)]
    return np.array(found, np.float32).reshape(-1, 2)
