"""The verifier: its files are checked, and it tells faces from what else the aligner comes to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from labeler.aligner import MARGIN, WINDOW
from labeler.decode import Pixels
from labeler.errors import PackError
from labeler.faces import TEMPLATE, Networks, align, find
from labeler.pack import models_folder
from labeler.verifier import Verifier
from tests.labeler.photos import photo

FRAMING = tuple((0.5 + (x - 0.5) / MARGIN, 0.5 + (y - 0.5) / MARGIN) for x, y in TEMPLATE)


@pytest.fixture(scope="module")
def window() -> Pixels:
    """Return the portrait's face as the aligner lays it."""
    portrait = photo("astronaut")
    face = find(portrait, Networks.load()).face
    assert face is not None
    return align(portrait, face.landmarks, FRAMING, WINDOW, WINDOW, "gray")


def test_a_face_has_high_odds_and_a_cat_and_its_own_parts_in_disorder_have_low_ones(window: Pixels) -> None:
    verifier = Verifier.load()
    assert verifier.odds(window) > 6
    half = WINDOW // 2
    assert verifier.odds(np.ascontiguousarray(window[::-1])) < 0
    assert verifier.odds(np.vstack([window[half:], window[:half]])) < 0
    cat = photo("chelsea")
    landmarks = np.array([(175, 105), (265, 110), (215, 155), (185, 180), (245, 185)])
    assert verifier.odds(align(cat, landmarks, FRAMING, WINDOW, WINDOW, "gray")) < 2


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_window_of_one_value_is_no_face(value: int) -> None:
    assert Verifier.load().odds(np.full((WINDOW, WINDOW), value, np.uint8)) < 0


def test_a_network_that_gives_no_number_is_an_error() -> None:
    class SaysNothing:
        def run(self, _: object, __: object) -> list[np.ndarray]:
            return [np.array([[np.nan]], np.float32)]

    with pytest.raises(ArithmeticError, match="verifier"):
        Verifier(cast("Any", SaysNothing()), "digest").odds(np.zeros((WINDOW, WINDOW), np.uint8))


@pytest.mark.parametrize("damage", ["network", "missing", "description"])
def test_a_damaged_verifier_is_refused(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "verifier"
    shutil.copytree(models_folder() / "verifier", folder)
    if damage == "network":
        (folder / "verifier.onnx").write_bytes(b"something else")
    elif damage == "missing":
        (folder / "verifier.onnx").unlink()
    else:
        (folder / "verifier.json").write_text(json.dumps({"files": {}}))
    with pytest.raises(PackError, match=r"verifier.* anew"):
        Verifier.load(folder)
