"""The aligner: where a face lies in a window, from one pass of a small network trained for nothing else."""

from __future__ import annotations

import cmath
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import onnxruntime

from labeler.decode import Pixels
from labeler.pack import described_session, models_folder

WINDOW = 48
"""Width and height in pixels of the window that the network sees."""

MARGIN = 1.3
"""The window's size as a multiple of the crop that `labeler.faces.TEMPLATE` frames."""

DESCRIPTION = "aligner.json"
STAGES = ("coarse", "fine")
_LOOKS = ((2, 0.6), (4, 0.02))
"""How often each network is asked at most, and what it must have moved the face by to be asked once more."""

_UPRIGHT_LOOKS = (0.3, 0.1, 0.1)
"""How far the fine network may move an upright face, look by look."""

_SETTLED = 0.05
Place = TypeVar("Place")

_OUTPUTS = ("pose",)
_INPUT = "window"


@dataclass(frozen=True)
class Pose:
    """Where a face lies in a window.

    Parameters
    ----------
    shift : complex
        From the window's middle to the middle of the face's crop, right and down, as fractions of the window.
    factor : complex
        The crop's size as a multiple of the size it should have, and its turn: ``size * exp(i * angle)``, the angle
        clockwise as the picture is seen. 1 where nothing is to be changed.
    """

    shift: complex
    factor: complex


class Aligner:
    """A loaded aligner; it may be used from several threads at once.

    Parameters
    ----------
    coarse, fine : onnxruntime.InferenceSession
        The networks of the first passes, which see faces in any turn, and of the last, which see them nearly right.
    digest : str
        What tells one aligner from another.
    """

    def __init__(self, coarse: onnxruntime.InferenceSession, fine: onnxruntime.InferenceSession, digest: str) -> None:
        self._coarse, self._fine = coarse, fine
        self.digest = digest

    @classmethod
    def load(cls, folder: str | os.PathLike[str] | None = None) -> Aligner:
        """Load the aligner from its folder, by default the one that comes with the package.

        Raises
        ------
        PackError
            If a file is missing, is not what its checksum says, or onnxruntime refuses it.
        """
        place = Path(folder) if folder is not None else models_folder() / "aligner"
        (coarse, first), (fine, second) = (described_session(place, DESCRIPTION, name) for name in STAGES)
        return cls(coarse, fine, hashlib.sha256((first + second).encode()).hexdigest())

    def settle(
        self,
        place: Place,
        view: Callable[[Place], Pixels],
        follow: Callable[[Place, Pose], Place],
        *,
        upright: bool = False,
        turned: bool = True,
    ) -> Place:
        """Return where a face lies, from where it was seen, by looking at one window after the other.

        The coarse network is asked first, then the fine one, each again where it moved the face far. What seems to
        stand upright is shown to the fine one alone, and where this moves it little that is all: upside down or far
        turned it would be moved far, and again the second time.

        Parameters
        ----------
        place : object
            Where the first window lies.
        view : callable
            Gives the window of a place: gray, shape (`WINDOW`, `WINDOW`), uint8.
        follow : callable
            Gives the place to which a pose seen in the window of a place leads.
        upright : bool
            Whether the detector was sure of the face, as it seldom is of those that are turned.
        turned : bool
            Whether the coarse network is asked at all; without it a face stays about as upright as it was seen.

        Raises
        ------
        ArithmeticError
            If a network gives no finite numbers.
        """
        nearer = self._settle_upright(place, view, follow) if upright else None
        if nearer is not None:
            return nearer
        stages = list(zip((self._coarse, self._fine), _LOOKS, strict=True))
        for runner, (most_looks, far) in stages if turned else stages[1:]:
            for _ in range(most_looks):
                pose = _pose(runner, view(place))
                place = follow(place, pose)
                if _distance(pose) < far:
                    break
        return place

    def _settle_upright(
        self, place: Place, view: Callable[[Place], Pixels], follow: Callable[[Place, Pose], Place]
    ) -> Place | None:
        """Return where the fine network alone sees a face, or None where it moves it too far."""
        for most in _UPRIGHT_LOOKS:
            pose = _pose(self._fine, view(place))
            if _distance(pose) >= most:
                return None
            place = follow(place, pose)
            if _distance(pose) < _SETTLED:
                break
        return place


def _distance(pose: Pose) -> float:
    """Return how far a pose moves a face, in windows and sizes of the face together."""
    return abs(pose.shift) + abs(pose.factor - 1)


def _pose(runner: onnxruntime.InferenceSession, window: Pixels) -> Pose:
    right, down, along, across = runner.run(_OUTPUTS, {_INPUT: window})[0][0].tolist()
    pose = Pose(complex(right, down), complex(along, across))
    if not (cmath.isfinite(pose.shift) and cmath.isfinite(pose.factor) and pose.factor):
        raise ArithmeticError("the aligner gives no finite numbers")
    return pose
