"""A file is decoded no larger than its face needs, and what is found does not depend on that."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from labeler.decode import Limits, Picture, Pixels, check, decode, decode_checked, reductions
from labeler.faces import Cropper
from labeler.header import Header
from labeler.pack import read_manifest
from labeler.prepare import Seen, first_reduction, look
from tests.labeler.photos import photo
from tests.packs import write_pack


@pytest.fixture(scope="module")
def cropper(tmp_path_factory: pytest.TempPathFactory) -> Cropper:
    return Cropper.of(read_manifest(write_pack(tmp_path_factory.mktemp("pack"), framing="landmarks")))


def jpeg(pixels: Pixels) -> bytes:
    """Return a picture as a JPEG of high quality."""
    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def canvas(side: int, face: int) -> Pixels:
    """Return a gray picture of a side with the portrait, whose face is a fifth of it, at a size."""
    picture = np.full((side, side, 3), 110, np.uint8)
    size = 5 * face
    portrait = cv2.resize(photo("astronaut"), (size, size), interpolation=cv2.INTER_AREA)
    picture[:size, side - size :] = portrait
    return picture


def looked(data: bytes, cropper: Cropper) -> tuple[Seen, list[int]]:
    """Return what is seen in a file and at which reductions it was decoded."""
    header, asked = check(data, Limits()), []

    def decoded(reduction: int) -> AbstractContextManager[Picture]:
        asked.append(reduction)
        return nullcontext(decode_checked(data, header, reduction))

    return look(header, cropper, decoded), asked


@pytest.mark.parametrize(
    ("side", "face", "reductions"),
    [
        (160, 30, [1]),  # as small as the first look
        (224, 44, [2, 1]),  # the face needs all its pixels
        (1024, 204, [8, 2]),
        (1024, 150, [8, 2, 1]),  # not sure of the face at first
        (2048, 400, [8, 4]),
        (4096, 800, [8]),  # enough is left of the face for its crop
    ],
)
def test_a_file_is_decoded_as_small_as_its_face_allows(
    cropper: Cropper, side: int, face: int, reductions: list[int]
) -> None:
    seen, asked = looked(jpeg(canvas(side, face)), cropper)
    assert seen.size == (side, side)
    assert seen.crop is not None
    assert asked == reductions


@pytest.mark.parametrize("face", [60, 120, 204])
def test_the_crop_is_nearly_that_of_the_whole_picture(cropper: Cropper, face: int) -> None:
    data = jpeg(canvas(1024, face))
    seen, _ = looked(data, cropper)
    finding, crop = cropper.crop(decode(data).pixels)
    assert seen.crop is not None
    assert crop is not None
    assert np.abs(seen.crop.astype(int) - crop).mean() < 7
    assert seen.finding is not None
    assert finding is not None
    assert seen.finding.face is not None
    assert finding.face is not None
    assert np.abs(seen.finding.face.landmarks - finding.face.landmarks).max() < 0.06 * face
    assert seen.finding.face.box == pytest.approx(finding.face.box, abs=0.15 * face)


def test_a_face_that_only_the_second_look_finds_has_all_its_pixels(cropper: Cropper) -> None:
    seen, asked = looked(jpeg(canvas(2048, 80)), cropper)
    assert seen.finding is not None
    assert seen.finding.face is not None
    assert asked == [8, 4, 1]
    assert seen.finding.face.box[2] == pytest.approx(80, rel=0.3)


def test_a_picture_without_a_face_is_not_decoded_in_full(cropper: Cropper) -> None:
    coffee = cv2.resize(photo("coffee"), (2400, 1600), interpolation=cv2.INTER_CUBIC)
    seen, asked = looked(jpeg(np.asarray(coffee, np.uint8)), cropper)
    assert seen.crop is None
    assert seen.finding is not None
    assert seen.finding.count == 0
    assert asked == [8, 2]


def test_only_a_jpeg_is_decoded_reduced(cropper: Cropper) -> None:
    png = cv2.imencode(".png", canvas(1024, 204)[..., ::-1])[1].tobytes()
    assert looked(png, cropper)[1] == [1]
    assert first_reduction(Header("jpeg", 3000, 4000), cropper) == 8
    assert first_reduction(Header("png", 3000, 4000), cropper) == 1


def test_a_picture_that_is_the_crop_is_decoded_once(tmp_path: Path) -> None:
    whole = Cropper.of(read_manifest(write_pack(tmp_path)), "whole")
    seen, asked = looked(jpeg(canvas(1024, 204)), whole)
    assert asked == [8]
    assert seen.finding is None
    assert seen.crop is not None
    assert seen.crop.shape == (48, 48)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_turned_picture_of_odd_sides_has_its_face_where_it_lies(cropper: Cropper, orientation: int) -> None:
    picture = canvas(4096, 800)[:4093, :4093]
    content = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    stored = {2: picture[:, ::-1], 3: picture[::-1, ::-1], 4: picture[::-1], 1: picture}
    flat = {5: 1, 6: 2, 7: 3, 8: 4}.get(orientation)
    pixels = stored[orientation] if flat is None else np.swapaxes(stored[flat], 0, 1)
    Image.fromarray(np.ascontiguousarray(pixels)).save(content, "JPEG", quality=95, exif=exif)
    seen, asked = looked(content.getvalue(), cropper)
    # Mirrored or turned, the last pixel of a reduced side would come first and show less than the others.
    assert asked == ([8] if orientation == 1 else [1])
    whole, _ = cropper.crop(picture)
    assert seen.finding is not None
    assert whole is not None
    assert seen.finding.face is not None
    assert whole.face is not None
    assert np.abs(seen.finding.face.landmarks - whole.face.landmarks).max() < 0.02 * 800
    assert seen.finding.face.box == pytest.approx(whole.face.box, abs=0.03 * 800)


def test_a_turned_picture_whose_sides_are_multiples_is_decoded_reduced() -> None:
    assert reductions(Header("jpeg", 4000, 3000, 6)) == (8, 4, 2)
    assert reductions(Header("jpeg", 4004, 3000, 6)) == (4, 2)
    assert reductions(Header("jpeg", 4001, 3000, 6)) == ()
    assert reductions(Header("jpeg", 4001, 3000, 1)) == (8, 4, 2)
    assert reductions(Header("png", 4000, 3000, 1)) == ()
