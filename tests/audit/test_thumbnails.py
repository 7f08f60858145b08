"""Pictures on the page: only when asked, from inside the store only, and in words where there is none."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from audit.cli import main
from audit.report import render
from audit.result import audit_files
from audit.thumbnails import SIDE, ThumbnailError, _image, gather
from tests.audit.tables import Made, make

EXIF = b"\xff\xe1\x00\x14Exif\0\0secret place"


def jpeg(seed: int, side: int = 200) -> bytes:
    """Return a JPEG file with metadata that must not come through."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    large = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC)
    content = cv2.imencode(".jpg", large)[1].tobytes()
    return content[:2] + EXIF + content[2:]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Path]:
    """Return a table of 60 labelled images and their store; every tenth file is gone."""
    folder: Path = tmp_path_factory.mktemp("thumbnails")
    made = make(folder, n=60, skill=1.0)
    store = folder / "faces"
    for i in range(60):
        path = store / f"part {i % 7}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i % 10:
            path.write_bytes(jpeg(i))
    return made, store


def record(path: str, content: bytes = b"", box: Mapping[str, float] | None = None) -> dict[str, object]:
    """Return a row as the label table gives it."""
    known = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") if content else None
    boxes = dict.fromkeys(("face_x", "face_y", "face_width", "face_height", "face_roll"))
    return {"path": path, "content_hash": known, **boxes, **(box or {})}


def decoded(image: str) -> npt.NDArray[np.uint8]:
    """Return the pixels of a data URI."""
    content = base64.b64decode(image.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_the_least_sure_of_each_attribute_and_what_people_see_otherwise(labelled: tuple[Made, Path]) -> None:
    made, store = labelled
    panels = gather(made.labels, store, 4, truth_file=made.truth)
    titles = [panel.title for panel in panels]
    assert titles[:3] == ["Least sure of age group", "Least sure of gender", "Least sure of ethnicity"]
    assert "People see another gender" in titles
    assert all(len(panel.groups) <= 4 for panel in panels)
    best = {name: values.max(axis=1) for name, values in made.probabilities.items()}
    shown = [picture.path for (picture,) in panels[2].groups]
    assert shown == [f"part {i % 7}/{i:06d}.jpg" for i in np.argsort(best["ethnicity"], kind="stable")[:4]]
    for (picture,) in next(panel for panel in panels if panel.title.startswith("People see another gender")).groups:
        i = int(picture.path[-10:-4])
        genders = made.classes["gender"]
        assert picture.caption.startswith(f"people say {genders[made.true['gender'][i]]}; labelled ")


def test_a_file_that_is_gone_is_named_in_words(labelled: tuple[Made, Path]) -> None:
    made, store = labelled
    pictures = {picture.path: picture for panel in gather(made.labels, store, 60) for (picture,) in panel.groups}
    assert len(pictures) == 60
    for i in range(60):
        picture = pictures[f"part {i % 7}/{i:06d}.jpg"]
        assert bool(picture.image) == bool(i % 10)
        assert ("No such file" in picture.problem) == (not i % 10)


@pytest.mark.parametrize(
    "path",
    ["../secret.jpg", "/etc/passwd", "part 0/../../secret.jpg", "link.jpg", "folder/secret.jpg", "", ".", "a\0b.jpg"],
)
def test_nothing_outside_the_store_is_read(tmp_path: Path, path: str) -> None:
    store = tmp_path / "store"
    (store / "part 0").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(jpeg(1))
    (store / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (store / "folder").symlink_to(tmp_path)
    image, problem = _image(str(store), record(path))
    assert image == ""
    assert problem


def test_a_changed_file_is_called_so(tmp_path: Path) -> None:
    content = jpeg(1)
    (tmp_path / "a.jpg").write_bytes(content)
    assert _image(str(tmp_path), record("a.jpg", content))[1] == ""
    (tmp_path / "a.jpg").write_bytes(jpeg(2))
    image, problem = _image(str(tmp_path), record("a.jpg", content))
    assert image
    assert "another than the one that was labelled" in problem


def test_a_damaged_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(1)[:300])
    image, problem = _image(str(tmp_path), record("a.jpg"))
    assert image == ""
    assert "jpeg" in problem


def test_a_picture_is_small_upright_and_without_metadata(tmp_path: Path) -> None:
    pixels = np.full((800, 600, 3), 128, np.uint8)
    pixels[300:400, 200:300] = (0, 0, 255)
    pixels[300:320, 200:300] = (255, 0, 0)
    content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(content[:2] + EXIF + content[2:])
    box = {"face_x": 200.0, "face_y": 300.0, "face_width": 100.0, "face_height": 100.0, "face_roll": -90.0}
    image, problem = _image(str(tmp_path), record("a.jpg", box=box))
    assert problem == ""
    assert b"secret" not in base64.b64decode(image.split(",")[1])
    found = decoded(image)
    assert max(found.shape[:2]) == SIDE
    # The face lies on its left side, so that its forehead is turned from the top to the right.
    assert found[48, 72, 0] > 150
    assert found[48, 40, 2] > 150


def test_a_page_that_was_not_asked_for_pictures_has_none(labelled: tuple[Made, Path]) -> None:
    made, _ = labelled
    html = render(audit_files(made.labels))
    assert "<img" not in html
    assert "data:" not in html


def test_the_page_with_pictures_warns_first_and_loads_nothing(labelled: tuple[Made, Path], tmp_path: Path) -> None:
    made, store = labelled
    out = tmp_path / "audit.html"
    arguments = ["report", str(made.labels), "--out", str(out), "--thumbnails", "3", "--store", str(store)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    html = out.read_text(encoding="utf-8")
    assert html.index("This page holds pictures of people.") < html.index('id="verdict"') < html.index("<img")
    sources = re.findall(r'<img src="([^"]{0,30})', html)
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "default-src 'none'" in html
    assert "img-src data:;" in html
    assert all(alt for alt in re.findall(r'<img [^>]*alt="([^"]*)"', html))
    assert b"secret" not in b"".join(base64.b64decode(uri) for uri in re.findall(r'base64,([^"]*)"', html))


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    made = make(tmp_path, n=12)
    (tmp_path / "empty").mkdir()
    panels = gather(made.labels, tmp_path / "empty", 2)
    evil = '"><script>alert(1)</script>\u202e'
    hostile = [
        type(panel)(panel.title, panel.finding, tuple((type(p)(evil, "", evil, evil),) for (p,) in panel.groups))
        for panel in panels
    ]
    html = render(audit_files(made.labels), hostile)
    assert "<script" not in html


@pytest.mark.parametrize(
    "given", [["--thumbnails", "3"], ["--store", "."], ["--thumbnails", "3", "--store", "."]], ids=str
)
def test_pictures_need_a_store_and_a_page(made: Made, tmp_path: Path, given: list[str]) -> None:
    done = CliRunner().invoke(main, ["report", str(made.labels), "--json", str(tmp_path / "a.json"), *given])
    assert done.exit_code == 2
    assert "--store FOLDER" in done.stderr
    assert not (tmp_path / "a.json").exists()


def test_a_store_that_is_none_is_an_error_that_names_it(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ThumbnailError, match="nowhere: no such folder"):
        gather(made.labels, tmp_path / "nowhere", 3)
