"""Claims about a whole run: one row a file whatever it holds, the same bytes every time, and nothing that stops it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labeler import __version__, header, prepare
from labeler.decode import Limits, decode, decode_checked
from labeler.errors import StoreError, TableError
from labeler.faces import whole_crop
from labeler.header import Header
from labeler.pack import Pack, Prediction
from labeler.phash import perceptual_hash
from labeler.pipeline import Options, Summary, count_images, label_store
from labeler.store import decode_path
from labeler.table import read
from labeler.taxonomy import ATTRIBUTES, COLUMNS
from tests.labeler.pictures import WRITERS, save, scene, with_orientation
from tests.packs import write_pack

LABELS = ["age", *(name for a in ATTRIBUTES for name in (COLUMNS[a], f"{a}_confidence", f"{a}_probabilities"))]


def label(store: Path, out: Path, pack: Pack, **options: Any) -> Summary:
    """Label a store of crops: the picture is the crop."""
    return label_store(store, out, pack, Options(face="whole", **options))


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a table by their paths."""
    return {row["path"]: row for row in read(out).rows.to_pylist()}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Return a store of 100 pictures in every format, some of them damaged, in three folders."""
    folder = tmp_path / "mixed"
    writers = list(WRITERS.values())
    for k in range(100):
        content = writers[k % len(writers)](scene(64, 64, k))
        path = folder / f"{k % 3}" / f"{k:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[: len(content) // 2] if k % 10 == 0 else content)
    return folder


def test_a_row_holds_what_the_file_and_the_pack_say(store: Path, tmp_path: Path, pack: Pack) -> None:
    summary = label(store, tmp_path / "out.parquet", pack)
    rows = rows_of(tmp_path / "out.parquet")
    assert list(rows) == ["a-b.webp", "a.jpg", "a/1.jpg", "a/2.png", "z.bmp"]
    assert (summary.files, summary.labelled, summary.failed, summary.unlisted) == (5, 5, {}, [])
    for path, row in rows.items():
        status = (store / path).stat()
        picture = decode((store / path).read_bytes())
        expected = pack.predict(whole_crop(picture.pixels, 48, 48, "gray")[None])
        assert (row["size_bytes"], row["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
        assert (row["status"], row["error"], row["width"], row["height"]) == ("ok", None, 64, 80)
        assert row["phash"] == perceptual_hash(picture.pixels)
        assert row["age"] == expected.years[0]
        for attribute in ATTRIBUTES:
            probabilities = expected.probabilities[attribute][0]
            classes = pack.manifest.classes[attribute]
            assert row[COLUMNS[attribute]] == classes[int(probabilities.argmax())]
            assert row[f"{attribute}_confidence"] == probabilities.max()
            assert np.array_equal(np.array(row[f"{attribute}_probabilities"], np.float32), probabilities)


def test_the_table_says_where_its_labels_come_from(store: Path, tmp_path: Path, pack: Pack) -> None:
    label(store, tmp_path / "out.parquet", pack)
    info = read(tmp_path / "out.parquet").info
    assert (info.pack_name, info.pack_digest, info.store) == ("tiny", pack.manifest.digest, "store")
    assert info.tool_version == __version__
    assert {name: tuple(classes) for name, classes in info.classes.items()} == pack.manifest.classes
    assert str(tmp_path).encode() not in (tmp_path / "out.parquet").read_bytes()


def test_the_bytes_are_the_same_for_any_number_of_workers(mixed: Path, tmp_path: Path, pack: Pack) -> None:
    contents = set()
    for run, workers in enumerate([1, 2, 4, 2]):
        summary = label(mixed, tmp_path / f"{run}.parquet", pack, workers=workers)
        contents.add((tmp_path / f"{run}.parquet").read_bytes())
        assert (summary.files, summary.labelled) == (100, 90)
    assert len(contents) == 1


def test_a_files_row_does_not_depend_on_the_files_beside_it(mixed: Path, tmp_path: Path, pack: Pack) -> None:
    label(mixed, tmp_path / "all.parquet", pack)
    before = rows_of(tmp_path / "all.parquet")
    for path in list(before)[::2]:
        (mixed / path).unlink()
    label(mixed, tmp_path / "half.parquet", pack)
    after = rows_of(tmp_path / "half.parquet")
    assert list(after) == list(before)[1::2]
    assert all(before[path] == row for path, row in after.items())


BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.jpg": (lambda: b"", "corrupt"),
    "cut.jpg": (lambda: save(scene(), "JPEG")[:400], "corrupt"),
    "text.jpg": (lambda: b"this is a text", "unsupported"),
    "animation.gif": (lambda: save(scene(), "GIF"), "unsupported"),
    "phone.heic": (lambda: b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "unsupported"),
    "huge.png": (lambda: save(scene(400, 300), "PNG"), "too_large"),
    "a png.jpg": (lambda: save(scene(), "PNG"), "ok"),
    "new\nline.jpg": (lambda: save(scene(), "JPEG"), "ok"),
    '"><script>alert(1)<.jpg': (lambda: save(scene(), "JPEG"), "ok"),
    "caf\udce9.jpg": (lambda: save(scene(), "JPEG"), "ok"),
    "picture without ending": (lambda: save(scene(), "WEBP"), "ok"),
}


def test_every_bad_file_is_a_row_with_its_status(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "heic_supported", lambda: False)
    folder = tmp_path / "store"
    folder.mkdir()
    for name, (content, _) in BAD_FILES.items():
        (folder / name).write_bytes(content())
    (folder / "notes.txt").write_text("no picture")
    (folder / "dangling.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.jpg")
    expected = {name: status for name, (_, status) in BAD_FILES.items()}
    expected |= {"dangling.jpg": "unreadable", "pipe.jpg": "unreadable"}
    summary = label(folder, tmp_path / "out.parquet", pack, limits=Limits(pixels=100_000))
    rows = rows_of(tmp_path / "out.parquet")
    assert {decode_path(path): row["status"] for path, row in rows.items()} == expected
    assert summary.labelled == sum(status == "ok" for status in expected.values())
    assert sum(summary.failed.values()) == len(expected) - summary.labelled
    assert set(summary.examples) == set(summary.failed)
    for row in rows.values():
        labelled = row["status"] == "ok"
        assert (row["error"] is None) == labelled
        assert all((row[column] is not None) == labelled for column in [*LABELS, "phash", "width", "height"])
        assert "\n" not in (row["error"] or "")


@pytest.mark.parametrize(
    ("error", "status"), [(MemoryError(), "too_large"), (RuntimeError("a\nb"), "crashed"), (OSError(5, "x"), "crashed")]
)
def test_what_nobody_foresaw_is_a_row_too(
    store: Path, tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str
) -> None:
    def fail(data: bytes, about: Header, reduction: int) -> Any:
        if about.format == "bmp":
            raise error
        return decode_checked(data, about, reduction)

    monkeypatch.setattr(prepare, "decode_checked", fail)
    summary = label(store, tmp_path / "out.parquet", pack)
    assert (summary.labelled, summary.failed) == (4, {status: 1})
    row = rows_of(tmp_path / "out.parquet")["z.bmp"]
    assert row["status"] == status
    assert "\n" not in row["error"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_eight_orientations_of_a_picture_have_one_label(tmp_path: Path, pack: Pack, kind: str) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    for orientation in range(1, 9):
        # Of a size of whole blocks, so that JPEG's own loss is the same whichever way the picture lies.
        content = (
            with_orientation(scene(64, 96), kind, orientation, subsampling=0, **options)
            if kind == "JPEG"
            else (with_orientation(scene(64, 96), kind, orientation, **options))
        )
        (folder / f"{orientation}.bin").write_bytes(content)
    label(folder, tmp_path / "out.parquet", pack)
    rows = list(rows_of(tmp_path / "out.parquet").values())
    assert [(row["width"], row["height"]) for row in rows] == [(64, 96)] * 8
    exact = kind != "JPEG"
    for row in rows[1:]:
        assert row["age"] == pytest.approx(rows[0]["age"], abs=0 if exact else 0.5)
        assert [row[COLUMNS[a]] for a in ATTRIBUTES] == [rows[0][COLUMNS[a]] for a in ATTRIBUTES]


def test_a_pack_of_another_size_and_colour_labels_too(store: Path, tmp_path: Path) -> None:
    pack = Pack.load(write_pack(tmp_path / "p", taxonomy="utkface", width=30, height=20, colour="rgb"))
    summary = label(store, tmp_path / "out.parquet", pack)
    assert summary.labelled == 5
    assert len(rows_of(tmp_path / "out.parquet")["z.bmp"]["ethnicity_probabilities"]) == 5


def test_a_store_of_none_but_bad_files_is_labelled(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "empty.jpg").touch()
    for colour in ("gray", "rgb"):
        pack = Pack.load(write_pack(tmp_path / colour, colour=colour))
        summary = label(tmp_path / "store", tmp_path / "out.parquet", pack)
        assert (summary.files, summary.labelled, summary.failed) == (1, 0, {"corrupt": 1})


def test_an_empty_store_gives_an_empty_table(tmp_path: Path, pack: Pack) -> None:
    (tmp_path / "store").mkdir()
    summary = label(tmp_path / "store", tmp_path / "out.parquet", pack)
    assert (summary.files, summary.labelled, summary.failed) == (0, 0, {})
    assert read(tmp_path / "out.parquet").rows.num_rows == 0


def test_the_stores_own_name_may_be_anything(tmp_path: Path, pack: Pack) -> None:
    folder = tmp_path / "fa\udce7ade ü \n"
    folder.mkdir()
    (folder / "a.png").write_bytes(save(scene(), "PNG"))
    assert label(folder, tmp_path / "out.parquet", pack).labelled == 1
    assert read(tmp_path / "out.parquet").info.store == "fa\\xe7ade ü \n"


def test_the_table_may_lie_in_the_store(store: Path, pack: Pack) -> None:
    first = label(store, store / "labels.parquet", pack)
    second = label(store, store / "labels.parquet", pack)
    assert first.files == second.files == 5


def test_progress_counts_every_file_once(mixed: Path, tmp_path: Path, pack: Pack) -> None:
    counts: list[int] = []
    label_store(mixed, tmp_path / "out.parquet", pack, Options(workers=2, face="whole"), counts.append)
    assert sum(counts) == 100 == count_images(mixed)


def test_a_folder_that_cannot_be_listed_is_in_the_summary(
    store: Path, tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(folder: Any) -> Any:
        if str(folder).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    summary = label(store, tmp_path / "out.parquet", pack)
    assert summary.files == 3
    assert summary.unlisted == ["a/: cannot be listed (Permission denied)"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_a_run_that_is_broken_off_leaves_the_old_table(
    store: Path, tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch, interrupt: BaseException
) -> None:
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    before = out.read_bytes()
    (store / "new.png").write_bytes(save(scene(), "PNG"))

    def fail(_: Pack, crops: Any) -> Prediction:
        raise interrupt

    monkeypatch.setattr(Pack, "predict", fail)
    with pytest.raises(type(interrupt)):
        label(store, out, pack)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.parquet.state", "out.parquet", "store"]


def test_what_cannot_be_used_is_refused_before_anything_is_read(store: Path, tmp_path: Path, pack: Pack) -> None:
    with pytest.raises(StoreError):
        label(tmp_path / "missing", tmp_path / "out.parquet", pack)
    with pytest.raises(TableError):
        label(store, tmp_path / "missing" / "out.parquet", pack)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_the_summary_as_json_holds_every_part(store: Path, tmp_path: Path, pack: Pack) -> None:
    summary = label(store, tmp_path / "out.parquet", pack)
    assert set(summary.as_dict()) == {
        "files",
        "labelled",
        "failed",
        "examples",
        "failure_share",
        "new",
        "changed",
        "gone",
        "unchanged",
        "relabelled",
        "retried",
        "resumed",
        "remaining",
        "altered",
        "altered_files",
        "unlisted",
        "unlisted_folders",
        "seconds",
        "images_per_second",
        "table",
    }


def test_real_photos_are_all_labelled(shared_data: Path, tmp_path: Path, pack: Pack) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    for path in sorted((shared_data / "fairface" / "val").iterdir())[:60]:
        (folder / path.name).symlink_to(path)
    summary = label(folder, tmp_path / "out.parquet", pack)
    assert (summary.files, summary.labelled) == (60, 60)
