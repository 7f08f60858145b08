"""Training of the verifier: what it learns from, a run goes on where it stopped, one command makes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from labeler.aligner import WINDOW, Aligner
from labeler.errors import LabelerError
from labeler.faces import TEMPLATE, Networks, find
from labeler.verifier import Verifier
from tests.labeler.photos import photo
from training.pictures import Pictures, landmark_frame
from training.scenes import SIDE, draw_scene, scramble

torch = pytest.importorskip("torch")

training = pytest.importorskip("training.verifier")
save_checkpoint = pytest.importorskip("training.train").save_checkpoint


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """Return the portrait's face and its mirror image, with where the crop lies."""
    portrait = photo("astronaut")[:256, 96:352]
    pixels, frames = [], []
    for picture in (portrait, np.ascontiguousarray(portrait[:, ::-1])):
        face = find(picture, Networks.load()).face
        assert face is not None
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        pixels.append(cv2.resize(gray, (128, 128), interpolation=cv2.INTER_AREA))
        frames.append(landmark_frame(face.landmarks / 2, TEMPLATE))
    return Pictures(np.stack(pixels).astype(np.uint8), np.stack(frames))


@pytest.fixture(scope="module")
def examples() -> Any:
    """Return windows with a bright disc, which stand for faces, and without."""
    rng = np.random.default_rng(0)
    windows = rng.integers(60, 90, (2 * training.BATCH, WINDOW, WINDOW)).astype(np.uint8)
    faces = rng.random(len(windows)) < 0.5
    for k in np.flatnonzero(faces):
        cv2.circle(windows[k], (24, 24), 10, 220, -1)
    return training.Examples(windows, faces)


def test_windows_from_near_a_face_show_it_and_those_from_anywhere_mostly_do_not(pictures: Pictures) -> None:
    rng, aligner = np.random.default_rng(3), Aligner.load()
    found = training.Examples.joined([training.face_examples(pictures, k % 2, aligner, rng) for k in range(30)])
    assert found.windows.shape == (len(found), WINDOW, WINDOW)
    assert 25 <= found.faces.sum() < len(found) - 20
    verifier = Verifier.load()
    odds = np.array([verifier.odds(window) for window in found.windows])
    assert odds[found.faces].min() > odds[~found.faces].mean()


def test_scenes_and_faces_in_disorder_are_no_faces(pictures: Pictures) -> None:
    rng = np.random.default_rng(4)
    scenes = training.scene_examples(pictures, Aligner.load(), rng)
    assert scenes.windows.shape == (training.STARTS, WINDOW, WINDOW)
    disorder = training.scrambled_example(pictures, 0, rng)
    assert not scenes.faces.any()
    assert not disorder.faces.any()


def test_scenes_differ_and_the_same_seed_gives_the_same(pictures: Pictures) -> None:
    first, again, other = (draw_scene(pictures, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (SIDE, SIDE)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_scrambled_windows_are_never_the_window_itself(pictures: Pictures) -> None:
    rng = np.random.default_rng(5)
    window = rng.integers(0, 256, (WINDOW, WINDOW)).astype(np.uint8)
    for _ in range(60):
        scrambled = scramble(window, pictures, rng)
        assert scrambled.shape == window.shape
        assert not np.array_equal(scrambled, window)


def test_examples_do_not_depend_on_the_number_of_threads(pictures: Pictures) -> None:
    many = Pictures(np.repeat(pictures.pixels, 3, 0), np.repeat(pictures.frames, 3, 0))
    one, two = (training.make_examples(many, np.arange(6), Aligner.load(), 1, threads=threads) for threads in (1, 2))
    assert np.array_equal(one.windows, two.windows)
    assert np.array_equal(one.faces, two.faces)


def test_a_run_goes_on_where_it_stopped_and_learns(examples: Any, tmp_path: Path) -> None:
    def run(name: str) -> Any:
        return training.VerifierRun(examples, 4, tmp_path / name, threads=1, seed=1)

    whole, half = run("whole"), run("half")
    straight = whole.train().state_dict()
    half.losses.append(half.run_epoch(0))
    save_checkpoint(half.checkpoint(), half.path)
    resumed = run("half").train().state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())
    assert whole.losses[-1] < whole.losses[0]


def test_too_few_windows_are_refused(examples: Any, tmp_path: Path) -> None:
    few = training.Examples(examples.windows[:10], examples.faces[:10])
    with pytest.raises(LabelerError, match="only 10 windows"):
        training.VerifierRun(few, 1, tmp_path, threads=1, seed=1)


def test_the_command_trains_and_writes_a_verifier(shared_data: Path, tmp_path: Path) -> None:
    from training.cli import main

    labels, out = shared_data / "fairface" / "fairface_labels.csv", tmp_path / "verifier"
    asked = [
        "verifier",
        str(labels),
        "--run",
        str(tmp_path / "run"),
        "--out",
        str(out),
        "--limit",
        "160",
        "--epochs",
        "1",
    ]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    about = json.loads((out / "verifier.json").read_text())
    assert about["licence"] == "CC-BY-4.0"
    assert about["validation"]["faces"] > 30
    assert np.isfinite(Verifier.load(out).odds(np.zeros((WINDOW, WINDOW), np.uint8)))
