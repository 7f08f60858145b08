"""A perceptual hash, under which copies of a picture stay close whatever their size and compression."""

from __future__ import annotations

import cv2
import numpy as np

from labeler.decode import Pixels, to_gray

_SIDE = 32
_LOW = 8


def perceptual_hash(pixels: Pixels) -> int:
    """Return the 64-bit DCT hash of a picture.

    The gray picture, averaged down to 32 x 32, is cosine-transformed; bit k tells whether the k-th of the 8 x 8 lowest
    frequencies lies above their median (Zauner 2010, "Implementation and benchmarking of perceptual image hash
    functions"). Two copies of one picture differ in few bits.

    Parameters
    ----------
    pixels : numpy.ndarray
        RGB (height, width, 3) or gray (height, width), uint8.

    Returns
    -------
    int
        0 to 2**64 - 1, the lowest frequency in the highest bit.
    """
    small = cv2.resize(to_gray(pixels), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_LOW, :_LOW].ravel()
    middle = np.partition(low, (low.size // 2 - 1, low.size // 2))[low.size // 2 - 1 : low.size // 2 + 1].mean()
    return int.from_bytes(np.packbits(low > middle).tobytes(), "big")
