"""Whether a JPEG that decodes without an error still shows the trace of damage in its scan."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

UNITS = {"444": (8, 8), "422": (16, 8), "420": (16, 16), "440": (8, 16), "411": (32, 8), "441": (8, 32), "Gray": (8, 8)}
"""Width and height in pixels of the unit that a JPEG's scan codes at a time, by chroma subsampling."""

_FEWEST_COLUMNS = 8
_LEVELS = np.array([5, 9, 16, 28])
_FINE_ENOUGH = 2
_CONTRAST = 0.7
_LEAST_SHARE = 0.5
_EDGE_CONTRAST = 0.85
_EDGE_CORRELATION = 0.9
_EDGE_SPREAD = 0.25

Floats = npt.NDArray[np.float32]


def brightness_jumps(pixels: Pixels, subsampling: str, reduction: int = 1) -> bool:
    """Tell whether a picture's brightness jumps at one unit of its scan and stays shifted for all that follows.

    Each unit's mean brightness is coded as the difference to the unit before. Where bytes of the scan are changed and
    the decoder falls into step again, all later units, in the order of reading, are shifted by one constant. Its edge
    runs under the units of a row that lie before the damage and above those behind it: a stair of one step whose places
    are exactly those of units, with the same jump along as many units as a row has. Pictures hold no such stair. Where
    it is not told from a straight line (damage at the beginning or end of a row), the pixels above and below must
    besides agree once the jump is taken away, as those of a frame or a bar do not.

    Damage in the first row of units or the last two is not seen, nor in pictures of fewer than eight units a row.

    Parameters
    ----------
    pixels : numpy.ndarray
        RGB as decoded, not yet turned upright, shape (rows, columns, 3), uint8.
    subsampling : str
        A key of `UNITS`.
    reduction : int
        1, 2, 4 or 8, as the picture was reduced in decoding.
    """
    width, height = (side // reduction for side in UNITS[subsampling])
    edges = _edges(pixels, height)
    columns = -(-pixels.shape[1] // width)
    if columns < _FEWEST_COLUMNS or edges.shape[1] < 3:
        return False
    jumps = _jumps(edges, width)
    if not _many(jumps, columns):
        return False
    stair = _clearest(jumps, columns)
    short = max(2, columns // 8)
    inside = short <= stair.column <= columns - short
    if inside and not (stair.contrast >= _CONTRAST and min(stair.shares) >= _LEAST_SHARE):
        return False
    if reduction > _FINE_ENOUGH:
        return inside and _agree(edges, stair, width)
    return inside or (stair.contrast >= _EDGE_CONTRAST and _agree(edges, stair, width))


def _edges(pixels: Pixels, height: int) -> Floats:
    """Return the brightness of the two pixel rows above and the two below each edge between rows of units.

    Shape (4, edges, columns).
    """
    rows, columns = pixels.shape[:2]
    below = np.arange(max(height, 2), rows - 1, height)
    chosen = pixels[(below + np.arange(-2, 2)[:, None]).ravel()]
    gray = cv2.cvtColor(chosen, cv2.COLOR_RGB2GRAY) if len(chosen) else np.zeros((0, columns), np.uint8)
    return np.asarray(gray, np.float32).reshape(4, len(below), columns)


def _jumps(edges: Floats, width: int) -> Floats:
    """Return by how much the brightness jumps at the upper edge of each unit, beyond how it changes beside it.

    Shape (edges, units).
    """
    jumps = 1.5 * (edges[2] - edges[1]) + 0.5 * (edges[0] - edges[3])
    whole = jumps.shape[1] // width
    # A sum for each place in a unit: over so short an axis numpy is slow.
    means = sum(jumps[:, k : whole * width : width] for k in range(width)) / np.float32(width)
    rest = jumps[:, whole * width :]
    return np.column_stack([means, rest.mean(axis=1)]) if rest.shape[1] else np.asarray(means, np.float32)


def _many(jumps: Floats, columns: int) -> bool:
    """Tell whether two neighbouring edges have as many units that jump as a stair needs, which few pictures have."""
    counts = np.count_nonzero(np.abs(jumps) >= _LEVELS[0], axis=1)
    return bool((counts[1:] + counts[:-1]).max() >= _CONTRAST * columns)


class _Stair(NamedTuple):
    """Where the clearest stair lies.

    Parameters
    ----------
    row, column : int
        The edge, as `_edges` counts, and the unit from which on it lies there; before that unit it is one edge lower.
    contrast : float
        Share of the stair's units that jump, less that of the other units of both edges.
    shares : tuple of float
        Share of the units that jump in the upper and in the lower part.
    """

    row: int
    column: int
    contrast: float
    shares: tuple[float, float]


def _clearest(jumps: Floats, columns: int) -> _Stair:
    """Return the stair with the highest contrast, at the best of some levels and signs."""
    flat = jumps.ravel()
    levels = _LEVELS[:, None]
    beyond = np.concatenate([flat >= levels, flat <= -levels])
    sums = np.zeros((len(beyond), flat.size + 1), np.int32)
    np.cumsum(beyond, axis=1, out=sums[:, 1:])
    count = flat.size - columns
    rows = sums[:, ::columns]
    both = np.repeat(rows[:, 2:] - rows[:, :-2], columns, axis=1)
    contrast = 2 * (sums[:, columns : columns + count] - sums[:, :count]) - both
    level, first = np.unravel_index(int(contrast.argmax()), contrast.shape)
    row, column = divmod(int(first), columns)
    middle = (row + 1) * columns
    upper = sums[level, middle] - sums[level, first]
    lower = sums[level, first + columns] - sums[level, middle]
    shares = float(upper / (columns - column)), float(lower / max(column, 1))
    return _Stair(row, column, float(contrast[level, first] / columns), shares)


def _agree(edges: Floats, stair: _Stair, width: int) -> bool:
    """Tell whether the pixels above and below a stair differ by little more than one constant."""
    cut = stair.column * width
    above, below = (np.concatenate([edges[k, stair.row + 1, :cut], edges[k, stair.row, cut:]]) for k in (1, 2))
    clear = (np.minimum(above, below) > 4) & (np.maximum(above, below) < 251)
    if clear.sum() * 3 < clear.size:
        return False
    above, below = above[clear], below[clear]
    if min(above.std(), below.std()) < 1:
        return False
    jump = float(np.median(below - above))
    spread = float(np.median(np.abs(below - above - jump)))
    alike = float(np.corrcoef(above, below)[0, 1])
    return alike >= _EDGE_CORRELATION and spread <= _EDGE_SPREAD * abs(jump)
