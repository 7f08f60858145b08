"""What is shown: upright, cut to the face, without metadata, and only from inside the store."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from audit.review.errors import RefusedError
from audit.review.images import FACE_PIXELS, WHOLE_PIXELS, Box, Pictures, inside, parts_of, read_inside
from tests.labeler.pictures import UNDO, save, scene, with_orientation


def pictures(folder: Path, content: bytes, box: Box | None = None, name: str = "a.jpg") -> Pictures:
    (folder / name).write_bytes(content)
    return Pictures(os.path.realpath(folder), {1: name}, {} if box is None else {1: box})


def pixels_of(jpeg: bytes) -> np.typing.NDArray[np.float64]:
    return np.asarray(simplejpeg.decode_jpeg(jpeg), np.float64)


@pytest.mark.parametrize("orientation", UNDO)
def test_a_photo_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    shown = pictures(tmp_path, with_orientation(scene(), "JPEG", orientation, quality=95)).whole(1)
    assert np.abs(pixels_of(shown) - scene()).mean() < 4


def test_nothing_of_the_metadata_is_passed_on(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret description"
    content = save(scene(), "JPEG", exif=exif, comment=b"secret comment")
    assert b"secret" in content
    for shown in (pictures(tmp_path, content).whole(1), pictures(tmp_path, content, Box(10, 10, 9, 9)).face(1)):
        assert b"secret" not in shown
        assert not Image.open(io.BytesIO(shown)).getexif()


def test_the_face_is_cut_out_with_some_room(tmp_path: Path) -> None:
    large = np.zeros((1200, 1600, 3), np.uint8)
    large[400:600, 800:1000] = 255
    for content in (save(large, "JPEG", quality=95), save(large, "PNG")):
        shown = pixels_of(pictures(tmp_path, content, Box(800, 400, 200, 200)).face(1))
        assert shown.shape == (340, 340, 3)
        assert shown[170, 170].min() > 250
        assert shown[30, 30].max() < 5


def test_a_face_that_lies_on_its_side_is_turned_by_quarters(tmp_path: Path) -> None:
    upright = np.zeros((80, 80, 3), np.uint8)
    upright[:20] = 255
    lying = np.rot90(upright, -1)
    shown = pixels_of(pictures(tmp_path, save(lying, "PNG"), Box(0, 0, 80, 80, roll=85)).face(1))
    assert shown[5].min() > 240
    assert shown[60].max() < 15


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    shown = pictures(tmp_path, save(scene(3000, 2000), "JPEG"), Box(500, 0, 2000, 2000))
    assert max(pixels_of(shown.whole(1)).shape) == WHOLE_PIXELS
    assert max(pixels_of(shown.face(1)).shape) == FACE_PIXELS


@pytest.mark.parametrize("content", [b"", b"no picture", save(scene(), "JPEG")[:300]])
def test_what_is_no_picture_is_refused_with_a_reason(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RefusedError, match="cannot be shown") as caught:
        pictures(tmp_path, content).face(1)
    assert caught.value.status == 422
    assert str(tmp_path) not in str(caught.value)


ESCAPED = [r"\x2e\x2e/secret.jpg", r"\x2fetc/passwd", r"a/\x2e\x2e/\x2e\x2e/secret.jpg"]
OUTSIDE = ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "//etc/passwd", "", "a//b.jpg", "./a.jpg", "a/\0.jpg"]


@pytest.mark.parametrize("path", [*OUTSIDE, *ESCAPED])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(RefusedError, match="no path inside the store"):
        parts_of(path)


@pytest.mark.parametrize("link", ["file", "folder", "chain"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, link: str) -> None:
    outside, store = tmp_path / "outside", tmp_path / "store"
    for folder in (outside, store):
        folder.mkdir()
    (outside / "secret.jpg").write_bytes(save(scene(), "JPEG"))
    if link == "file":
        (store / "a.jpg").symlink_to(outside / "secret.jpg")
    elif link == "folder":
        (store / "sub").symlink_to(outside)
    else:
        (store / "first").symlink_to("second")
        (store / "second").symlink_to("../outside")
    path = {"file": "a.jpg", "folder": "sub/secret.jpg", "chain": "first/secret.jpg"}[link]
    with pytest.raises(RefusedError, match="leads out of the store"):
        read_inside(os.path.realpath(store), path, 10**6)


def test_a_link_inside_the_store_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(b"content")
    (tmp_path / "again").symlink_to("real")
    assert read_inside(os.path.realpath(tmp_path), "again/a.jpg", 100) == b"content"
    assert inside(os.path.realpath(tmp_path), "again/a.jpg") == ("real", "a.jpg")


def test_a_folder_that_becomes_a_link_after_the_check_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.jpg").write_bytes(b"secret")
    store = tmp_path / "store"
    store.mkdir()
    (store / "sub").symlink_to(tmp_path / "outside")
    monkeypatch.setattr("audit.review.images.inside", lambda *_: ("sub", "a.jpg"))
    with pytest.raises(RefusedError, match="cannot be read"):
        read_inside(os.path.realpath(store), "sub/a.jpg", 100)


def test_a_pipe_neither_blocks_nor_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(RefusedError, match="not a regular file"):
        read_inside(os.path.realpath(tmp_path), "a.jpg", 100)


def test_a_name_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(name, "wb") as stream:
        stream.write(b"content")
    assert read_inside(os.path.realpath(tmp_path), r"caf\xe9.jpg", 100) == b"content"
