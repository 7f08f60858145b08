"""Crops and their augmentation: the same pixels as labelling without a disturbance, and the same again from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from labeler.errors import LabelerError
from labeler.faces import align, whole_crop
from labeler.pack import read_manifest
from tests.packs import write_pack
from training.augment import Augmentation, augmented_crop, disturbed_frame, tone_curve
from training.batches import Batch, epoch_order, in_background, plain_crops, training_batches
from training.pictures import (
    Pixels,
    cut,
    draw_surroundings,
    landmark_frame,
    read_crops,
    read_pictures,
    whole_frame,
    whole_pictures,
)

STILL = Augmentation(
    flip=0, rotation=0, scale=0, shift=0, brightness=0, contrast=0, gamma=0, jpeg=0, blur=0, reduce=0, cut_out=0
)


def smooth(seed: int, side: int = 96, count: int = 1) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 9, 9), dtype=np.uint8)
    return np.stack([np.asarray(cv2.resize(c, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8) for c in coarse])


def difference(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def test_an_undisturbed_crop_is_the_one_labelling_makes() -> None:
    picture = smooth(1)[0]
    expected = whole_crop(picture, 48, 48, "gray")
    assert difference(cut(picture, whole_frame(96, 96), 48, 48), expected) <= 1
    others = picture[None]
    crop = augmented_crop(picture, whole_frame(96, 96), 48, 48, STILL, np.random.default_rng(0), others)
    assert difference(crop, expected) <= 1


def test_an_aligned_training_crop_is_close_to_the_one_labelling_makes() -> None:
    picture = smooth(2)[0]
    framing = [(0.29, 0.32), (0.71, 0.32), (0.5, 0.55), (0.32, 0.75), (0.68, 0.75)]
    turn = np.array([[0.9, -0.2], [0.2, 0.9]])
    landmarks = (np.array(framing) - 0.5) @ turn.T * 80 + 48
    ours = cut(picture, landmark_frame(landmarks, framing), 48, 48)
    assert difference(ours, align(picture, landmarks, framing, 48, 48, "gray")) <= 3


def test_a_mirrored_frame_gives_the_mirrored_crop() -> None:
    picture = smooth(3)[0]
    frame = disturbed_frame(
        whole_frame(96, 96), 1.0, Augmentation(flip=1, rotation=0, scale=0, shift=0), np.random.default_rng(0)
    )
    assert difference(cut(picture, frame, 48, 48), cut(picture, whole_frame(96, 96), 48, 48)[:, ::-1]) <= 1


@pytest.mark.parametrize("aspect", [1.0, 0.5, 2.0])
def test_a_disturbed_frame_turns_and_scales_without_shearing(aspect: float) -> None:
    size = np.array([60 * aspect, 60.0])
    frame = disturbed_frame(
        whole_frame(int(size[0]), int(size[1])),
        aspect,
        Augmentation(flip=0.5, rotation=40, scale=0.4, shift=0.1),
        np.random.default_rng(5),
    )
    across, down = frame[:, 0] / size[0], frame[:, 1] / size[1]
    assert np.dot(across, down) == pytest.approx(0, abs=1e-9)
    assert np.hypot(*across) == pytest.approx(np.hypot(*down))


def test_surroundings_fill_what_lies_outside_and_nothing_else() -> None:
    picture, other = np.full((96, 96), 200, np.uint8), np.full((96, 96), 10, np.uint8)
    frame = np.array([[192.0, 0, -48], [0, 192.0, -48]])
    crop = cut(picture, frame, 48, 48, other)
    assert (crop[14:34, 14:34] == 200).all()
    assert (crop[:11] == 10).all()
    assert (cut(picture, frame, 48, 48) == 200).all()


def test_surroundings_are_turned_pictures_shades_or_none_by_their_shares() -> None:
    pictures, rng = whole_pictures(smooth(3, 16, 3)), np.random.default_rng(2)
    turns = {np.rot90(pixels, k).tobytes() for pixels in pictures.pixels for k in (1, 2, 3)}
    drawn = [draw_surroundings(pictures, 0.5, 0.3, rng) for _ in range(600)]
    others = [around for around in drawn if around is not None and around.tobytes() in turns]
    shades = [around for around in drawn if around is not None and around.tobytes() not in turns]
    assert len(others) == pytest.approx(300, abs=45)
    assert len(shades) == pytest.approx(180, abs=45)
    assert {len(shade) for shade in shades} == {1, 4, 16}
    assert all(around is None for around in (draw_surroundings(pictures, 0.0, 0.0, rng) for _ in range(9)))


def test_without_change_the_tone_curve_is_the_identity() -> None:
    assert np.array_equal(tone_curve(STILL, np.random.default_rng(0)), np.arange(256))


@pytest.mark.parametrize("colour", ["gray", "rgb"])
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(colour: str) -> None:
    pixels = smooth(4, 32, 10)
    pictures = whole_pictures(pixels if colour == "gray" else np.repeat(pixels[..., None], 3, axis=3))
    everything = Augmentation(jpeg=1, blur=1, reduce=1, cut_out=1, surroundings=1)

    def crops(seed: int) -> Pixels:
        batches = training_batches(pictures, np.arange(10), 4, (16, 16), everything, (seed,))
        return np.stack([batch.crops for batch in batches])

    assert crops(1).shape == (2, 4, 1 if colour == "gray" else 3, 16, 16)
    assert np.array_equal(crops(1), crops(1))
    assert not np.array_equal(crops(1), crops(2))


def test_an_epoch_shows_each_picture_once_unless_groups_are_balanced() -> None:
    rng = np.random.default_rng(0)
    assert sorted(epoch_order(np.arange(50), None, rng)) == list(range(50))
    order = epoch_order(np.arange(2000) % 2, np.where(np.arange(2000) % 2, 3.0, 1.0), rng)
    assert np.mean(order) == pytest.approx(0.75, abs=0.05)


def test_an_error_in_the_background_is_raised_where_the_batch_is_awaited() -> None:
    def broken() -> Iterator[Batch]:
        yield Batch(np.zeros((1, 1, 2, 2), np.uint8), np.zeros(1, np.int64))
        raise LabelerError("the second batch is broken")

    batches = in_background(broken())
    assert next(batches).crops.shape == (1, 1, 2, 2)
    with pytest.raises(LabelerError, match="second batch"):
        next(batches)


def test_plain_crops_are_whole_and_channels_first() -> None:
    pictures = whole_pictures(smooth(6, 32, 3))
    assert plain_crops(pictures, np.array([2, 0]), (16, 16)).shape == (2, 1, 16, 16)


def test_files_are_read_in_order_and_a_broken_one_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number} a.png" for number in range(5)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((8, 8), 40 * number, np.uint8))
    assert read_pictures(paths, 4, 4, "gray")[:, 0, 0].tolist() == [0, 40, 80, 120, 160]
    assert read_pictures(paths, 4, 4, "rgb").shape == (5, 4, 4, 3)
    paths[3].write_bytes(b"no picture")
    with pytest.raises(LabelerError, match=r"3 a\.png"):
        read_pictures(paths, 4, 4, "gray")


def test_pictures_without_a_face_are_left_out_only_where_the_pack_wants_faces(tmp_path: Path) -> None:
    path = tmp_path / "flat.png"
    cv2.imwrite(str(path), np.full((64, 64, 3), 128, np.uint8))
    crops, found, sizes = read_crops([path], read_manifest(write_pack(tmp_path / "whole")))
    assert crops.shape == (1, 48, 48)
    assert np.isnan(sizes).all()
    assert found.tolist() == [True]
    with pytest.raises(LabelerError, match="no face was found in any"):
        read_crops([path], read_manifest(write_pack(tmp_path / "aligned", framing="landmarks")))
