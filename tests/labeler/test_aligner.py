"""The aligner: its files are checked, and from wherever a window starts it comes to the same place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from labeler.aligner import STAGES, WINDOW, Aligner, Pose
from labeler.decode import Pixels
from labeler.errors import PackError
from labeler.faces import Networks, find
from labeler.pack import models_folder
from tests.labeler.photos import photo


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks.load()


def moved_photo(angle: float, scale: float, right: float, down: float) -> tuple[Pixels, np.ndarray]:
    """Return the portrait turned (degrees), scaled and shifted (pixels), and the matrix that did it, shape (2, 3)."""
    matrix = cv2.getRotationMatrix2D((224, 120), -angle, scale)
    matrix[:, 2] += np.array([right, down])
    picture = cv2.warpAffine(photo("astronaut"), matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(picture, np.uint8), matrix


@pytest.mark.parametrize(
    ("angle", "scale", "right", "down"),
    [(0, 0.8, 20, 60), (15, 1.3, 10, 40), (-20, 1.0, -30, 80), (28, 0.9, 0, 100), (180, 1, 30, 130), (95, 1, 30, 130)],
)
def test_a_moved_face_is_followed_exactly(
    networks: Networks, angle: float, scale: float, right: float, down: float
) -> None:
    still = find(photo("astronaut"), networks).face
    picture, matrix = moved_photo(angle, scale, right, down)
    face = find(picture, networks).face
    assert still is not None
    assert face is not None
    expected = still.landmarks @ matrix[:, :2].T + matrix[:, 2]
    width = scale * np.linalg.norm(still.landmarks[1] - still.landmarks[0]) / 0.42
    assert np.linalg.norm(face.landmarks - expected, axis=1).mean() / width < 0.05


class Says:
    """A network that answers with poses from a list."""

    def __init__(self, *poses: tuple[float, float, float, float]) -> None:
        self.poses = list(poses)

    def run(self, _: object, __: object) -> list[np.ndarray]:
        return [np.array([self.poses.pop(0)], np.float32)]


def settled(coarse: Says, fine: Says, *, upright: bool = False, turned: bool = True) -> list[Pose]:
    """Return the poses that an aligner of two networks follows."""
    aligner = Aligner(cast("Any", coarse), cast("Any", fine), "digest")
    start: list[Pose] = []
    window = np.zeros((WINDOW, WINDOW), np.uint8)
    return aligner.settle(start, lambda _: window, lambda poses, pose: [*poses, pose], upright=upright, turned=turned)


def test_each_network_is_asked_again_where_it_moved_the_face_far() -> None:
    still, turned, moved = (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, -1.0, 0.0), (0.05, 0.0, 1.0, 0.0)
    assert len(settled(Says(still), Says(still))) == 2
    assert len(settled(Says(moved), Says(moved, still))) == 3
    assert len(settled(Says(turned, turned), Says(moved, moved, moved, moved))) == 6


def test_what_stands_upright_is_shown_to_the_fine_network_alone_unless_that_moves_it_far() -> None:
    still, near, moved, turned = (
        (0.0, 0.0, 1.0, 0.0),
        (0.06, 0.0, 1.0, 0.0),
        (0.2, 0.0, 1.0, 0.0),
        (0.0, 0.0, -1.0, 0.0),
    )
    nobody = Says()
    assert len(settled(nobody, Says(still), upright=True)) == 1
    assert len(settled(nobody, Says(moved, still), upright=True)) == 2
    assert len(settled(nobody, Says(moved, near, near), upright=True)) == 3
    # What the fine network saw of a face upside down is forgotten: the coarse one starts where the detector saw it.
    assert settled(Says(turned, still), Says(turned, still), upright=True) == [Pose(0, -1), Pose(0, 1), Pose(0, 1)]
    assert len(settled(Says(still), Says(moved, moved, still), upright=True)) == 2


def test_a_face_that_is_not_to_be_turned_is_never_shown_to_the_coarse_network() -> None:
    moved, still = (0.5, 0.0, 1.0, 0.0), (0.0, 0.0, 1.0, 0.0)
    assert settled(Says(), Says(moved, still), turned=False) == [Pose(0.5, 1), Pose(0, 1)]


@pytest.mark.parametrize("answer", [(np.nan, 0.0, 1.0, 0.0), (0.0, 0.0, np.inf, 0.0), (0.0, 0.0, 0.0, 0.0)])
def test_a_network_that_gives_no_pose_is_an_error(answer: tuple[float, float, float, float]) -> None:
    with pytest.raises(ArithmeticError, match="aligner"):
        settled(Says(answer), Says())


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("damage", ["network", "missing", "description"])
def test_a_damaged_aligner_is_refused(tmp_path: Path, stage: str, damage: str) -> None:
    folder = tmp_path / "aligner"
    shutil.copytree(models_folder() / "aligner", folder)
    if damage == "network":
        (folder / f"{stage}.onnx").write_bytes(b"something else")
    elif damage == "missing":
        (folder / f"{stage}.onnx").unlink()
    else:
        about = json.loads((folder / "aligner.json").read_text())
        del about["files"][stage]
        (folder / "aligner.json").write_text(json.dumps(about))
    with pytest.raises(PackError, match=r"aligner.* anew"):
        Aligner.load(folder)
