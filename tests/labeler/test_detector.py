"""The face detector: its files are checked, its boxes fit the pixels they were found in."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from labeler.detector import Detector, Faces, join, suppress
from labeler.errors import PackError
from labeler.pack import models_folder, session
from tests.labeler.photos import photo


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    values = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(values[:, :4], np.zeros((len(values), 5, 2), np.float32), values[:, 4])


def test_a_portrait_has_one_face_with_eyes_above_the_mouth(detector: Detector) -> None:
    found = detector.detect(photo("astronaut"))
    assert len(found) == 1
    right_eye, left_eye, nose, right_mouth, left_mouth = found.landmarks[0]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    left, top, width, height = found.boxes[0]
    assert np.all(found.landmarks[0] > [left, top])
    assert np.all(found.landmarks[0] < [left + width, top + height])


@pytest.mark.parametrize(("rows", "columns"), [(493, 501), (496, 496), (480, 496), (496, 480)])
def test_neither_padding_nor_odd_multiples_of_16_move_the_face(detector: Detector, rows: int, columns: int) -> None:
    portrait = photo("astronaut")
    trimmed = detector.detect(portrait[:rows, :columns])
    assert np.allclose(trimmed.boxes[0], detector.detect(portrait).boxes[0], atol=2)


def test_a_face_too_large_for_one_look_is_found_at_half_the_size(detector: Detector) -> None:
    portrait = photo("astronaut")[30:230, 120:320].repeat(6, 0).repeat(6, 1)
    assert len(detector.detect_pyramid(portrait)) == 1
    assert detector.detect_pyramid(portrait).boxes[0, 2] > 400


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (33, 31)])
def test_no_picture_is_too_small(detector: Detector, shape: tuple[int, int]) -> None:
    assert len(detector.detect(np.zeros((*shape, 3), np.uint8))) == 0


class NotANumber:
    def run(self, *_: object) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        return [np.full(21, np.nan, np.float32), np.zeros((14, 21), np.float32)]


def test_a_network_that_gives_no_numbers_has_not_found_that_there_is_no_face() -> None:
    broken = Detector(cast("Any", NotANumber()), "digest")
    with pytest.raises(ArithmeticError, match="no finite numbers"):
        broken.detect(np.zeros((32, 32, 3), np.uint8))


def test_of_overlapping_boxes_the_best_is_kept() -> None:
    kept = suppress(faces((0, 0, 10, 10, 0.8), (1, 1, 10, 10, 0.9), (40, 40, 10, 10, 0.7)))
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7])


def test_joining_nothing_gives_no_faces() -> None:
    assert len(join([])) == 0


def test_scaling_moves_boxes_and_keeps_scores() -> None:
    scaled = faces((1, 2, 3, 4, 0.5)).scaled(2)
    assert scaled.boxes.tolist() == [[2, 4, 6, 8]]
    assert scaled.scores.tolist() == [0.5]


def test_the_merged_network_computes_what_the_published_one_does(shared_data: Path) -> None:
    published = shared_data.parent / "models" / "yunet.onnx"
    if not published.exists():
        pytest.skip("the published network is not there")
    pixels = photo("astronaut")
    ours = session((models_folder() / "yunet" / "yunet.onnx").read_bytes(), Path("yunet.onnx"))
    scores, cells = ours.run(["scores", "cells"], {"pixels": pixels})
    blue_first = np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)[None], np.float32)
    classes, objects, boxes, points = (
        np.concatenate(parts, 1)[0]
        for parts in (
            session(published.read_bytes(), published).run([f"{kind}_{k}" for k in (8, 16, 32)], {"input": blue_first})
            for kind in ("cls", "obj", "bbox", "kps")
        )
    )
    assert np.allclose(scores**2, (classes * objects)[:, 0], atol=1e-5)
    assert np.allclose(cells.T, np.concatenate([boxes, points], 1), atol=1e-4)


@pytest.mark.parametrize("damage", ["network", "manifest", "missing", "refused"])
def test_a_damaged_detector_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "yunet"
    shutil.copytree(models_folder() / "yunet", folder)
    if damage == "network":
        (folder / "yunet.onnx").write_bytes(b"something else")
    elif damage == "manifest":
        (folder / "detector.json").write_text("{}")
    elif damage == "missing":
        (folder / "yunet.onnx").unlink()
    else:
        content = b"no network"
        (folder / "yunet.onnx").write_bytes(content)
        manifest = json.loads((folder / "detector.json").read_text())
        manifest["files"]["detector"]["sha256"] = hashlib.sha256(content).hexdigest()
        (folder / "detector.json").write_text(json.dumps(manifest))
    with pytest.raises(PackError, match=r"yunet.*;|onnxruntime refuses"):
        Detector.load(folder)
