"""Training of the aligner: poses fit their windows, a run goes on where it stopped, one command makes it all."""

from __future__ import annotations

import cmath
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from labeler.aligner import MARGIN, WINDOW, Aligner, Pose
from labeler.detector import Detector
from labeler.errors import LabelerError
from labeler.faces import TEMPLATE, similarity
from tests.labeler.photos import photo
from training.consensus import consensus_landmarks
from training.pictures import Pictures, cut, whole_frame

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402 (only where torch is there)

training = pytest.importorskip("training.aligner")
save_checkpoint = pytest.importorskip("training.train").save_checkpoint

NEAR, FAR = training.Offsets(20.0, 0.2, 0.1, 0.5), training.Offsets(180.0, 0.4, 0.2, 0.5)
STAGE = training.Stage((4, 8, 8), (NEAR, FAR), 2, 1.0)


def pose_in(offset: Any) -> Pose:
    """Return where the face lies in a window that lies off it."""
    return Pose(-complex(offset.right, offset.down) / (MARGIN * offset.factor), 1 / offset.factor)


def windows_of(offsets: Sequence[Any], mirrored: Sequence[bool]) -> Any:
    """Return windows without pixels."""
    places = [(complex(offset.right, offset.down), offset.factor) for offset in offsets]
    crops = np.zeros((len(offsets), 1, 1, 1), np.uint8)
    return training.Windows(
        crops,
        np.arange(len(offsets)),
        offsets=np.array(places, np.complex64),
        mirrored=np.array(mirrored),
    )


def numbers(poses: Sequence[Pose]) -> Tensor:
    """Return poses as a network gives them."""
    values: Tensor = torch.tensor([[p.shift.real, p.shift.imag, p.factor.real, p.factor.imag] for p in poses])
    return values


@pytest.fixture
def pictures() -> Pictures:
    """Pictures of a disc, a bar and noise, each with the disc in the middle of its frame."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(training.BATCH):
        picture = rng.integers(60, 90, (96, 96)).astype(np.uint8)
        cv2.circle(picture, (48, 48), int(rng.integers(12, 16)), 220, -1)
        cv2.line(picture, (48, 48), (48, 76), 20, 5)
        made.append(picture)
    return Pictures(np.stack(made), np.repeat(whole_frame(96, 96)[None], len(made), axis=0))


def test_following_the_pose_of_a_window_leads_back_to_the_face(pictures: Pictures) -> None:
    rng = np.random.default_rng(1)
    frame = pictures.frames[0]
    for _ in range(50):
        offset = training.draw_offset((NEAR, FAR), rng)
        followed = training.moved(training.moved(offset.window(frame), pose_in(offset)), training.INNER)
        assert followed == pytest.approx(frame, abs=1e-6)


def test_a_pose_says_where_the_crop_lies_in_the_window() -> None:
    frame = whole_frame(100, 100)
    offset = training.Offset(turn=math.pi / 2, size=math.log(2), right=0.1, down=0.0)
    pose = pose_in(offset)
    assert abs(pose.factor) == pytest.approx(0.5)
    assert cmath.phase(pose.factor) == pytest.approx(-math.pi / 2)
    middle = np.array([0.5 + pose.shift.real, 0.5 + pose.shift.imag, 1.0])
    assert offset.window(frame) @ middle == pytest.approx([50, 50])


def test_a_right_pose_deviates_by_nothing_from_any_window_and_mirror_image() -> None:
    rng = np.random.default_rng(4)
    offsets = [training.draw_offset((NEAR, FAR), rng) for _ in range(40)]
    mirrored = rng.random(40) < 0.5
    poses = [
        Pose(-pose.shift.conjugate(), pose.factor.conjugate()) if flipped else pose
        for pose, flipped in zip(map(pose_in, offsets), mirrored, strict=True)
    ]
    missed = training.deviations(numbers(poses), windows_of(offsets, mirrored.tolist()))
    assert missed.shape == (40, 5)
    assert missed.abs().max() < 1e-5


def test_a_pose_deviates_as_far_as_its_landmarks_lie_off() -> None:
    offset = training.Offset(turn=0.5, size=0.2, right=0.1, down=-0.05)
    right = pose_in(offset)
    shifted = Pose(right.shift + 0.1, right.factor)
    (missed,) = training.deviations(numbers([shifted]), windows_of([offset], [False])).numpy()
    assert missed == pytest.approx(np.full(5, 0.1 * MARGIN * offset.factor), abs=1e-5)
    (missed,) = training.deviations(numbers([Pose(right.shift, -right.factor)]), windows_of([offset], [False])).numpy()
    assert np.abs(missed) == pytest.approx([2 * math.hypot(x - 0.5, y - 0.5) for x, y in TEMPLATE], abs=1e-5)


def test_two_answers_to_one_picture_cost_what_they_differ_by() -> None:
    still = training.Offset(0.0, 0.0, 0.0, 0.0)
    windows = windows_of([still, still], [False, False])
    right, left = Pose(0.1 + 0j, 1 + 0j), Pose(-0.1 + 0j, 1 + 0j)
    apart, together = (
        [float(training.alignment_loss({training.OUTPUT: numbers(poses)}, windows, weight)) for weight in (0.0, 1.0)]
        for poses in ([right, left], [right, right])
    )
    assert apart[0] == pytest.approx(together[0]) == pytest.approx(together[1])
    assert apart[1] > apart[0] + 0.2


def test_the_same_seed_gives_the_same_windows_and_a_share_keeps_pairs(pictures: Pictures) -> None:
    order = np.arange(len(pictures))
    first, again = (next(training.training_windows(pictures, order, STAGE, (3,))) for _ in range(2))
    assert np.array_equal(first.crops, again.crops)
    assert np.array_equal(first.offsets, again.offsets)
    assert len(first.crops) == training.BATCH
    parts = first.split(3)
    assert sum(len(part.crops) for part in parts) == training.BATCH
    for part in parts:
        assert np.array_equal(part.indices[::2], part.indices[1::2])
        assert len(part.offsets) == len(part.mirrored) == len(part.crops)


def test_windows_show_the_face_where_their_offsets_say(pictures: Pictures) -> None:
    first = next(training.training_windows(pictures, np.arange(len(pictures)), STAGE, (3,)))
    # A little above the middle of the crop, wherever it lies in the window, is the bright disc, and below it the bar.
    shift, window = first.offsets[:, 0], MARGIN * first.offsets[:, 1]

    def seen(place: complex) -> np.ndarray:
        places = (place - shift) / window
        places = np.where(first.mirrored, -places.conj(), places)
        pixels = np.clip(WINDOW * (0.5 + np.stack([places.real, places.imag])), 0, WINDOW - 1).astype(int)
        return np.asarray(first.crops[np.arange(len(places)), 0, pixels[1], pixels[0]], np.int64)

    assert np.mean(seen(-0.07j) > seen(0.07j) + 20) > 0.9


def test_a_run_goes_on_where_it_stopped_and_learns(pictures: Pictures, tmp_path: Path) -> None:
    order = np.arange(len(pictures))
    whole = training.AlignerRun(pictures, order, replace(STAGE, epochs=6), tmp_path / "whole", threads=1, seed=1)
    straight = whole.train().state_dict()
    half = training.AlignerRun(pictures, order, replace(STAGE, epochs=6), tmp_path / "half", threads=1, seed=1)
    half.losses.append(half.run_epoch(0))
    save_checkpoint(half.checkpoint(), half.path)
    later = training.AlignerRun(pictures, order, replace(STAGE, epochs=6), tmp_path / "half", threads=1, seed=1)
    resumed = later.train().state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())
    assert whole.losses[-1] < whole.losses[0]


def test_too_few_pictures_are_refused(pictures: Pictures, tmp_path: Path) -> None:
    with pytest.raises(LabelerError, match="only 10 pictures"):
        training.AlignerRun(pictures, np.arange(10), STAGE, tmp_path, threads=1, seed=1)


def test_the_shipped_form_takes_one_window_and_gives_the_networks_pose(tmp_path: Path) -> None:
    network = training.build_aligner((4, 8, 8)).eval()
    content = training.window_network_bytes(network, training.OUTPUT)
    assert content == training.window_network_bytes(network, training.OUTPUT)
    window = np.random.default_rng(2).integers(0, 256, (WINDOW, WINDOW)).astype(np.uint8)
    from labeler.pack import session

    given = session(content, tmp_path).run(None, {training.INPUT: window})[0]
    with torch.no_grad():
        expected = network(torch.from_numpy(window)[None, None] / 255)[training.OUTPUT]
    assert given == pytest.approx(expected.numpy(), abs=1e-5)


def test_the_detector_alone_settles_where_the_face_is() -> None:
    landmarks = consensus_landmarks(photo("astronaut"), Detector.load())
    assert landmarks is not None
    assert landmarks.mean(0) == pytest.approx([222, 118], abs=15)
    assert similarity(landmarks, TEMPLATE)[1] < 0.2
    assert consensus_landmarks(photo("coffee"), Detector.load()) is None


def test_the_command_trains_and_writes_an_aligner(shared_data: Path, tmp_path: Path) -> None:
    from training.cli import main

    labels, out = shared_data / "fairface" / "fairface_labels.csv", tmp_path / "aligner"
    asked = [
        "aligner",
        str(labels),
        "--run",
        str(tmp_path / "run"),
        "--out",
        str(out),
        "--limit",
        "400",
        "--epochs",
        "1",
    ]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    about = json.loads((out / "aligner.json").read_text())
    assert about["licence"] == "CC-BY-4.0"
    assert about["validation"]["pictures"] > 90
    crop = cut(np.zeros((96, 96), np.uint8), whole_frame(96, 96), WINDOW, WINDOW)
    assert Aligner.load(out).settle(0, lambda _: crop, lambda place, _: place + 1) >= 2
