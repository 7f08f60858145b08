"""Photos that scikit-image carries, by name."""

from __future__ import annotations

import numpy as np
from skimage import data

from labeler.decode import Pixels


def photo(name: str) -> Pixels:
    """Return a picture of scikit-image as it is; a black and white one as 0 and 255."""
    picture = np.asarray(getattr(data, name)())
    return np.asarray(255 * picture if picture.dtype == bool else picture, np.uint8)
