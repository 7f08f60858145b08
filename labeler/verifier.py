"""The verifier: whether a window that the aligner came to shows a face, from a small network made for that alone."""

from __future__ import annotations

import math
import os
from pathlib import Path

import onnxruntime

from labeler.decode import Pixels
from labeler.pack import described_session, models_folder

DESCRIPTION = "verifier.json"
NAME = "verifier"
_OUTPUTS = ("face",)
_INPUT = "window"


class Verifier:
    """A loaded verifier; it may be used from several threads at once.

    Parameters
    ----------
    runner : onnxruntime.InferenceSession
        The network.
    digest : str
        What tells one verifier from another.
    """

    def __init__(self, runner: onnxruntime.InferenceSession, digest: str) -> None:
        self._runner = runner
        self.digest = digest

    @classmethod
    def load(cls, folder: str | os.PathLike[str] | None = None) -> Verifier:
        """Load the verifier from its folder, by default the one that comes with the package.

        Raises
        ------
        PackError
            If a file is missing, is not what its checksum says, or onnxruntime refuses it.
        """
        place = Path(folder) if folder is not None else models_folder() / NAME
        return cls(*described_session(place, DESCRIPTION, NAME))

    def odds(self, window: Pixels) -> float:
        """Return the logarithm of the odds that a face lies in a window as the aligner would lay it.

        Parameters
        ----------
        window : numpy.ndarray
            Gray, shape (`labeler.aligner.WINDOW`, `labeler.aligner.WINDOW`), uint8.

        Raises
        ------
        ArithmeticError
            If the network gives no finite number.
        """
        said = float(self._runner.run(_OUTPUTS, {_INPUT: window})[0][0, 0])
        if not math.isfinite(said):
            raise ArithmeticError("the verifier gives no finite number")
        return said
