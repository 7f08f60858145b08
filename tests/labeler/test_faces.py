"""From picture to crop: the face is found however the photo lies, and lands where the pack wants it."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labeler import faces
from labeler.aligner import WINDOW, Aligner
from labeler.decode import Pixels
from labeler.detector import Detector, Faces
from labeler.faces import (
    TEMPLATE,
    Cropper,
    Face,
    Finding,
    Networks,
    Points,
    Similarity,
    align,
    find,
    fit,
    frontality,
    sample,
    search,
    similarity,
    whole_crop,
)
from labeler.pack import Pack, read_manifest
from labeler.pipeline import Options, label_store
from tests.labeler.photos import photo
from tests.packs import write_pack


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks.load()


@pytest.fixture(scope="module")
def portrait() -> Pixels:
    return photo("astronaut")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return Pack.load(write_pack(tmp_path_factory.mktemp("pack"), framing="landmarks"))


def turned_landmarks(landmarks: Points, turn: int, side: int) -> Points:
    """Return where landmarks of a square picture lie after `np.rot90(picture, turn)`."""
    for _ in range(turn):
        landmarks = np.stack([landmarks[:, 1], side - landmarks[:, 0]], 1)
    return landmarks


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_photo_on_its_side_gives_the_same_crop(networks: Networks, portrait: Pixels, turn: int) -> None:
    upright = find(portrait, networks).face
    assert upright is not None
    face = find(np.ascontiguousarray(np.rot90(portrait, turn)), networks).face
    assert face is not None
    expected = turned_landmarks(upright.landmarks, turn, 512)
    assert np.abs(face.landmarks - expected).max() < 4
    assert abs((face.roll - upright.roll + 90 * turn + 180) % 360 - 180) < 6
    crops = [
        align(np.rot90(portrait, turn), face.landmarks, TEMPLATE, 48, 48, "gray").astype(int),
        align(portrait, upright.landmarks, TEMPLATE, 48, 48, "gray").astype(int),
    ]
    assert np.abs(crops[0] - crops[1]).mean() < 6


@pytest.mark.parametrize("angle", [-25, -12, 12, 25])
def test_a_face_turned_in_the_plane_is_turned_back_all_the_way(
    networks: Networks, portrait: Pixels, angle: float
) -> None:
    upright = find(portrait, networks).face
    assert upright is not None
    matrix = cv2.getRotationMatrix2D((255.5, 255.5), -angle, 1.0)
    turned = np.asarray(cv2.warpAffine(portrait, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    face = find(turned, networks).face
    assert face is not None
    assert face.roll - upright.roll == pytest.approx(angle, abs=6)


@pytest.mark.parametrize("angle", [45, 100, 160, 200, 300])
def test_a_face_in_any_turn_is_laid_where_it_is(networks: Networks, portrait: Pixels, angle: float) -> None:
    upright = find(portrait, networks).face
    assert upright is not None
    matrix = cv2.getRotationMatrix2D((512, 512), -angle, 1.0) @ [[1, 0, 256], [0, 1, 256], [0, 0, 1]]
    turned = sample(portrait, matrix, 1024, 1024, border=cv2.BORDER_CONSTANT)
    face = find(turned, networks).face
    assert face is not None
    expected = upright.landmarks @ matrix[:, :2].T + matrix[:, 2]
    eyes = np.linalg.norm(upright.landmarks[1] - upright.landmarks[0])
    assert np.linalg.norm(face.landmarks - expected, axis=1).mean() < 0.05 * eyes


@pytest.mark.parametrize("angle", [45, 135, 225])
def test_a_small_face_between_the_quarter_turns_is_found(networks: Networks, portrait: Pixels, angle: float) -> None:
    matrix = cv2.getRotationMatrix2D((60, 60), -angle, 1.0)
    matrix[:, 2] += 120
    small = np.asarray(cv2.resize(portrait, (120, 120), interpolation=cv2.INTER_AREA), np.uint8)
    face = find(sample(small, matrix, 360, 360, border=cv2.BORDER_CONSTANT), networks).face
    upright = find(portrait, networks).face
    assert face is not None
    assert upright is not None
    (x, y), (left, top, width, height) = matrix @ [*(upright.landmarks.mean(0) * 120 / 512), 1], face.box
    assert left < x < left + width
    assert top < y < top + height
    assert abs((face.roll - upright.roll - angle + 180) % 360 - 180) < 10


class CredulousDetector:
    """Sees in the middle of everything a face that may be one, where a crop's would be."""

    def detect(self, pixels: Pixels, threshold: float) -> Faces:
        side = float(min(pixels.shape[:2]))
        box, points = np.array([[0, 0, side, side]], np.float32), np.array([TEMPLATE], np.float32) * np.float32(side)
        return Faces(box, points, np.array([max(0.72, threshold)], np.float32))


def test_a_face_that_the_detector_doubts_is_one_that_the_verifier_knows(networks: Networks, portrait: Pixels) -> None:
    doubtful = replace(networks, detector=cast("Detector", CredulousDetector()))
    upright = find(portrait, networks).face
    assert upright is not None
    crop = align(portrait, upright.landmarks, TEMPLATE, 128, 128, "rgb")
    face = find(crop, doubtful).face
    assert face is not None
    assert np.abs(face.landmarks - 128 * np.array(TEMPLATE)).max() < 5
    grass = np.repeat(photo("grass")[:128, :128, None], 3, 2)
    assert find(grass, doubtful).face is None


Seen = tuple[tuple[float, float, float, float], float]


def looks_that_find(*seen: Seen) -> Iterator[tuple[Any, tuple[Finding, float]]]:
    """Yield faces in some boxes, each with what speaks for it; a clear one has more than 8.5."""
    for box, evidence in seen:
        yield faces._SECOND_QUARTER, (Finding(1, Face(box, np.zeros((5, 2)), 0.8, 0.8)), evidence)


@pytest.mark.parametrize(
    ("first", "second", "laid"),
    [
        (((10, 10, 40, 40), 6.0), ((12, 8, 30, 30), 9.0), 1),
        (((10, 10, 40, 40), 6.0), ((80, 80, 30, 30), 9.0), 0),
        (((10, 10, 40, 40), 6.0), ((80, 80, 50, 50), 9.0), 1),
        (((10, 10, 40, 40), 8.0), ((12, 8, 30, 30), 7.0), 0),
    ],
    ids=["the same face, better", "another, but smaller", "another, larger", "the same face, worse"],
)
def test_a_face_that_is_not_clear_is_sought_in_further_looks(
    monkeypatch: pytest.MonkeyPatch, networks: Networks, first: Seen, second: Seen, laid: int
) -> None:
    elsewhere = ((200.0, 200.0, 2.0, 2.0), 9.0)
    monkeypatch.setattr(faces, "_looks", lambda *_: looks_that_find(first, second, elsewhere))
    face = find(np.zeros((256, 256, 3), np.uint8), networks).face
    assert face is not None
    assert face.box == (first, second)[laid][0]


def test_a_clear_face_is_not_sought_again(monkeypatch: pytest.MonkeyPatch, networks: Networks) -> None:
    looks = looks_that_find(((10, 10, 40, 40), 9.0), ((12, 8, 30, 30), 11.0))
    monkeypatch.setattr(faces, "_looks", lambda *_: looks)
    face = find(np.zeros((256, 256, 3), np.uint8), networks).face
    assert face is not None
    assert face.box[2:] == (40.0, 40.0)
    assert next(looks)[1][1] == 11.0


class MisledAligner:
    """Takes a piece of every face for the whole of it."""

    def settle(self, start: Similarity, *_: object, **__: object) -> Similarity:
        return Similarity(4 * start.factor, 4 * start.shift - 2 * WINDOW * (0.5 + 0.5j))


def test_where_the_aligner_goes_astray_the_face_lies_where_the_detector_sees_it(
    networks: Networks, portrait: Pixels
) -> None:
    upright = find(portrait, networks).face
    face = find(portrait, replace(networks, aligner=cast("Aligner", MisledAligner()))).face
    assert upright is not None
    assert face is not None
    eyes = np.linalg.norm(upright.landmarks[1] - upright.landmarks[0])
    assert np.linalg.norm(face.landmarks - upright.landmarks, axis=1).mean() < 0.2 * eyes


class TurningAligner:
    """Lays every face upside down, or, where it is not to be turned, a little to the left."""

    def settle(self, start: Similarity, *_: object, turned: bool = True, **__: object) -> Similarity:
        if turned:
            return Similarity(-start.factor, WINDOW * (1 + 1j) - start.shift)
        return Similarity(start.factor, start.shift + 2)


def test_where_the_aligner_turns_a_face_wrongly_it_lies_as_its_fine_network_sees_it(
    networks: Networks, portrait: Pixels
) -> None:
    face = find(portrait, replace(networks, aligner=cast("Aligner", TurningAligner()))).face
    sure = faces.glance(portrait, networks.detector).sure
    assert face is not None
    assert sure is not None
    seen = fit(sure.landmarks, TEMPLATE)[0].back(np.array([complex(x, y) for x, y in TEMPLATE]))
    left = seen - face.landmarks @ (1, 1j)
    assert abs(face.roll) < 20
    assert left.real == pytest.approx(np.full(5, left.real[0]))
    assert left.real[0] > 1


def test_a_small_face_in_a_large_picture_is_found_with_more_resolution(networks: Networks, portrait: Pixels) -> None:
    canvas = np.full((1500, 1500, 3), 90, np.uint8)
    canvas[900:1156, 200:456] = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    finding = find(canvas, networks)
    assert finding.count == 1
    assert finding.face is not None
    assert 200 < finding.face.box[0] < 456
    assert 900 < finding.face.box[1] < 1156


def test_the_largest_of_several_faces_is_labelled(networks: Networks, portrait: Pixels) -> None:
    canvas = np.full((512, 900, 3), 128, np.uint8)
    canvas[:512, :512] = portrait
    canvas[100:356, 600:856] = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    finding = find(canvas, networks)
    assert finding.count == 2
    assert finding.face is not None
    assert finding.face.box[0] < 512
    assert len(search(canvas, networks.detector)) == 2


def test_a_face_cut_by_the_edge_is_found_and_its_crop_repeats_the_border(networks: Networks, portrait: Pixels) -> None:
    cut = np.ascontiguousarray(portrait[85:, 190:])
    face = find(cut, networks).face
    assert face is not None
    assert min(face.box[:2]) < 12
    assert align(cut, face.landmarks, TEMPLATE, 48, 48, "gray").std() > 20


def people_free() -> list[Pixels]:
    """Pictures in which nobody is: photos, textures, noise, text and checker boards."""
    names = "brick cell chelsea clock coffee coins grass gravel horse hubble_deep_field"
    names += " immunohistochemistry moon page retina rocket text"
    pictures = [photo(name) for name in names.split()]
    rng = np.random.default_rng(3)
    for size in (64, 224, 500):
        cells = np.add.outer(np.arange(size) // 16, np.arange(size) // 16) % 2
        coarse = rng.integers(0, 256, (5, 5)).astype(np.uint8)
        shade = np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)
        writing = np.full((size, size), 255, np.uint8)
        for row in range(20, size, 30):
            cv2.putText(writing, "The quick brown fox", (4, row), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 0, 2)
        discs = np.full((size, size), 200, np.uint8)
        for _ in range(12):
            centre, radius = rng.integers(0, size, 2).tolist(), int(rng.integers(4, size // 4))
            cv2.circle(discs, centre, radius, int(rng.integers(0, 255)), -1)
        pictures += [(255 * cells).astype(np.uint8), rng.integers(0, 256, (size, size, 3)).astype(np.uint8), shade]
        pictures += [writing, discs]
    return [picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2) for picture in pictures]


def test_where_nobody_is_nothing_is_labelled(networks: Networks) -> None:
    pictures = people_free()
    assert len(pictures) >= 30
    assert [find(picture[..., :3], networks).count for picture in pictures] == [0] * len(pictures)


@pytest.mark.parametrize("shape", [(1, 1), (1, 10_000), (10_000, 1), (16, 16)])
def test_odd_pictures_have_no_face_and_do_no_harm(networks: Networks, shape: tuple[int, int]) -> None:
    assert find(np.full((*shape, 3), 200, np.uint8), networks).face is None


def test_a_picture_of_36_megapixels_is_searched(networks: Networks, portrait: Pixels) -> None:
    canvas = np.full((6000, 6000, 3), 60, np.uint8)
    canvas[1000:4072, 1000:4072] = cv2.resize(portrait, (3072, 3072), interpolation=cv2.INTER_LINEAR)
    face = find(canvas, networks).face
    assert face is not None
    assert face.box[2] == pytest.approx(6 * 92, rel=0.2)


def test_memory_beside_the_decoded_pixels_does_not_grow_with_the_picture(networks: Networks, portrait: Pixels) -> None:
    peaks = []
    for factor in (2, 8):
        large = np.asarray(cv2.resize(portrait, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR), np.uint8)
        tracemalloc.start()
        face = find(large, networks).face
        assert face is not None
        align(large, face.landmarks, TEMPLATE, 48, 48, "gray")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000


def test_landmarks_land_where_the_framing_wants_them(networks: Networks, portrait: Pixels) -> None:
    face = find(portrait, networks).face
    assert face is not None
    crop = align(portrait, face.landmarks, TEMPLATE, 192, 192, "rgb")
    again = find(np.ascontiguousarray(cv2.copyMakeBorder(crop, 64, 64, 64, 64, cv2.BORDER_REPLICATE)), networks).face
    assert again is not None
    assert np.abs((again.landmarks - 64) / 192 - np.array(TEMPLATE)).max() < 0.06


def test_quality_is_high_for_a_frontal_face_and_low_for_nonsense() -> None:
    points = np.array(TEMPLATE) * 100
    assert frontality(points) == pytest.approx(1)
    assert frontality(points[[3, 1, 0, 4, 2]]) < 0.5


def test_similarity_recovers_turn_scale_and_shift() -> None:
    source = np.array(TEMPLATE)
    turn = 3 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    matrix, residual = similarity(source, source @ turn.T + [5, -2])
    assert matrix == pytest.approx(np.column_stack([turn, [5, -2]]))
    assert residual == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("factor", [1, 2, 3, 7, 40])
def test_a_reduced_view_keeps_the_average_of_a_fine_pattern(factor: int) -> None:
    fine = (255 * (np.add.outer(np.arange(480), np.arange(480)) % 2)).astype(np.uint8)
    side = 480 // factor
    view = sample(fine, np.array([[1 / factor, 0, 0], [0, 1 / factor, 0]]), side, side)
    if factor == 1:
        assert np.array_equal(view, fine)
    else:
        assert np.abs(view[2:-2, 2:-2].astype(float) - 127.5).max() < 45
        assert view.mean() == pytest.approx(127.5, abs=3)


def test_a_view_far_outside_repeats_the_corner() -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.all(sample(picture, np.array([[1.0, 0, 100], [0, 1.0, 100]]), 8, 8) == picture[0, 0])


@pytest.mark.parametrize("colour", ["gray", "rgb"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (48, 48), (300, 20)])
def test_a_whole_crop_has_the_packs_shape(size: tuple[int, int], colour: str) -> None:
    crop = whole_crop(np.full((*size, 3), 77, np.uint8), 48, 32, colour)
    assert crop.shape == ((32, 48) if colour == "gray" else (32, 48, 3))
    assert np.all(crop == 77)


def test_whole_crops_ask_for_no_detector(tmp_path: Path) -> None:
    manifest = read_manifest(write_pack(tmp_path, framing="landmarks"))
    assert Cropper.of(manifest, "whole").networks is None
    assert "yunet" in Cropper.of(manifest).version
    assert "yunet" not in Cropper.of(manifest, "whole").version


def test_exif_orientations_give_one_and_the_same_row(tmp_path: Path, portrait: Pixels, pack: Pack) -> None:
    store = tmp_path / "store"
    store.mkdir()
    stored = {1: portrait, 2: portrait[:, ::-1], 3: portrait[::-1, ::-1], 4: portrait[::-1]}
    sideways = zip((5, 6, 7, 8), (1, 2, 3, 4), strict=True)
    stored |= {turned: np.swapaxes(stored[flat], 0, 1) for turned, flat in sideways}
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[274] = orientation
        content = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(content, "PNG", exif=exif)
        (store / f"{orientation}.png").write_bytes(content.getvalue())
    label_store(store, tmp_path / "labels.parquet", pack)
    rows = pd.read_parquet(tmp_path / "labels.parquet").drop(columns=["path", "size_bytes", "mtime_ns", "content_hash"])
    assert len(rows) == 8
    assert (rows["status"] == "ok").all()
    assert len(rows.astype(str).drop_duplicates()) == 1


def test_a_cat_gets_a_row_without_labels(tmp_path: Path, pack: Pack) -> None:
    Image.fromarray(photo("chelsea")).save(tmp_path / "cat.png")
    summary = label_store(tmp_path, tmp_path / "labels.parquet", pack, Options(workers=1))
    assert (summary.failed, summary.failures) == ({"no_face": 1}, 0)
    row = pd.read_parquet(tmp_path / "labels.parquet").iloc[0]
    assert row["faces"] == 0
    assert pd.isna(row["gender"])
    assert pd.isna(row["face_score"])
    assert row["width"] == 451
    assert row["phash"] > 0


def test_faces_are_found_in_almost_every_photo_of_people(shared_data: Path, networks: Networks) -> None:
    paths = sorted((shared_data / "fairface" / "val").iterdir())[::10]
    found = sum(find(np.asarray(Image.open(path)), networks).face is not None for path in paths)
    assert found / len(paths) >= 0.98
