"""Claims about night after night: only what is new is labelled, and the table is as if it were made from nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler import alone, header, merge, pipeline, table
from labeler import store as store_module
from labeler.decode import Limits
from labeler.errors import StoreError, TableError
from labeler.faces import Cropper
from labeler.merge import Counts
from labeler.pack import Pack, Prediction
from labeler.pipeline import Options, Summary, compare_store, label_store
from labeler.prepare import Preparer
from labeler.state import Journal, locked
from labeler.store import scan
from labeler.table import TableInfo, read
from tests.labeler.pictures import save, scene
from tests.packs import write_pack


def label(store: Path, out: Path, pack: Pack, **options: Any) -> Summary:
    """Label a store of crops."""
    return label_store(store, out, pack, Options(face="whole", **options))


def fresh(store: Path, pack: Pack, folder: Path) -> bytes:
    """Return the bytes of a table made from nothing."""
    out = folder / "fresh.parquet"
    out.unlink(missing_ok=True)
    label(store, out, pack)
    return out.read_bytes()


def fill(folder: Path, count: int, seed: int = 0) -> Path:
    """Make a store of small pictures in three folders."""
    for k in range(count):
        path = folder / f"{k % 3}" / f"{k:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(save(scene(24, 24, seed + k), "PNG"))
    return folder


def labelled_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the path of each file that is looked at will be added."""
    seen: list[str] = []
    real = Preparer.prepare

    def noted(self: Preparer, entry: Any, *more: Any) -> Any:
        seen.append(entry.path)
        return real(self, entry, *more)

    monkeypatch.setattr(Preparer, "prepare", noted)
    return seen


def test_a_night_with_nothing_new_reads_no_picture_and_leaves_the_table_alone(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 50)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    before = out.stat()
    seen = labelled_files(monkeypatch)
    summary = label(store, out, pack)
    assert seen == []
    assert summary.counts == Counts(unchanged=50)
    assert (summary.files, summary.labelled, summary.failed) == (50, 0, {})
    assert out.stat().st_ino == before.st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "store"]


def test_only_what_is_new_or_changed_is_labelled_and_what_is_gone_leaves(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 60)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    (store / "0" / "0003.png").unlink()
    (store / "1" / "0004.png").write_bytes(save(scene(30, 30, 999), "PNG"))
    os.utime(store / "2" / "0005.png", ns=(1, 1))
    (store / "1" / "0004-new.png").write_bytes(save(scene(24, 24, 998), "PNG"))
    expected = fresh(store, pack, tmp_path)
    options = Options(face="whole")
    assert compare_store(store, out, pack.manifest, options) == Counts(new=1, changed=2, gone=1, unchanged=57)
    seen = labelled_files(monkeypatch)
    summary = label(store, out, pack)
    assert sorted(seen) == ["1/0004-new.png", "1/0004.png", "2/0005.png"]
    assert summary.counts == Counts(new=1, changed=2, gone=1, unchanged=57)
    assert out.read_bytes() == expected


@settings(max_examples=12)
@given(
    nights=st.lists(
        st.dictionaries(st.integers(0, 40), st.sampled_from(["write", "remove", "damage"]), max_size=12),
        min_size=1,
        max_size=3,
    )
)
def test_any_nights_give_the_table_that_is_made_from_nothing(
    nights: list[dict[int, str]], pack: Pack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("nights")
    store = fill(folder / "store", 20)
    out = folder / "out.parquet"
    label(store, out, pack)
    for night, changes in enumerate(nights):
        for k, change in changes.items():
            path = store / f"{k % 3}" / f"{k:04}.png"
            if change == "remove":
                path.unlink(missing_ok=True)
            else:
                content = save(scene(24, 24, 100 * night + k), "PNG")
                path.write_bytes(content if change == "write" else content[:80])
                os.utime(path, ns=(night + 1, night + 1))
        label(store, out, pack)
        assert out.read_bytes() == fresh(store, pack, folder)


def test_row_groups_of_any_size_join(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROW_GROUP_ROWS", 7)
    store = fill(tmp_path / "store", 40)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    for k in range(0, 40, 5):
        (store / f"{k % 3}" / f"{k:04}.png").unlink()
    fill(tmp_path / "store", 60, 7)
    label(store, out, pack)
    assert out.read_bytes() == fresh(store, pack, tmp_path)


def test_another_pack_or_other_options_label_everything_anew(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 10)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    other = Pack.load(write_pack(tmp_path / "other", taxonomy="utkface", seed=8))
    assert label(store, out, other).counts.changed == 10
    assert read(out).info.pack_digest == other.manifest.digest
    assert label(store, out, other).counts.unchanged == 10
    assert label(store, out, other, limits=Limits(pixels=10)).failed == {"too_large": 10}
    assert label(store, out, other, limits=Limits(pixels=10), relabel=True).counts.changed == 10


def test_another_version_of_the_tool_keeps_the_rows(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 10)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    monkeypatch.setattr(pipeline, "__version__", "99.0")
    assert label(store, out, pack).counts.unchanged == 10
    assert read(out).info.tool_version == "99.0"
    assert out.read_bytes() == fresh(store, pack, tmp_path)


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a folder refuse to be listed."""
    scan_folder = os.scandir

    def scandir(folder: object) -> Any:
        if str(folder).endswith(name):
            raise PermissionError(13, "Permission denied")
        return scan_folder(folder)

    monkeypatch.setattr(os, "scandir", scandir)


def test_the_rows_of_a_folder_that_cannot_be_listed_stay(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 30)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    before = out.read_bytes()
    with monkeypatch.context() as patched:
        refuse(patched, "/1")
        summary = label(store, out, pack)
        assert out.read_bytes() == before
        assert summary.counts == Counts(unchanged=30)
        assert summary.unlisted == ["1/: cannot be listed (Permission denied)"]
        (store / "2" / "0002.png").unlink()
        assert label(store, out, pack).counts == Counts(unchanged=29, gone=1)
        label(store, out, pack, relabel=True)
        rows = read(out).rows.to_pylist()
        assert len(rows) == 29
        kept = [row for row in rows if row["path"].startswith("1/")]
        assert {row["error"] for row in kept} == {merge.NOT_LISTED}
    label(store, out, pack)
    assert out.read_bytes() == fresh(store, pack, tmp_path)


def test_a_store_that_is_empty_all_at_once_does_not_empty_the_table(tmp_path: Path, pack: Pack) -> None:
    store = fill(tmp_path / "store", 5)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    before = out.read_bytes()
    for path in store.iterdir():
        shutil.rmtree(path)
    with pytest.raises(StoreError, match="mount the store"):
        label(store, out, pack)
    assert out.read_bytes() == before


def test_a_limit_leaves_the_rest_for_other_nights(tmp_path: Path, pack: Pack) -> None:
    store = fill(tmp_path / "store", 50)
    out = tmp_path / "out.parquet"
    expected = fresh(store, pack, tmp_path)
    summaries = [label(store, out, pack, most=20) for _ in range(3)]
    assert [(s.files, s.counts.new, s.counts.remaining) for s in summaries] == [(20, 20, 30), (40, 20, 10), (50, 10, 0)]
    assert out.read_bytes() == expected


def test_with_a_limit_and_another_pack_the_old_table_stays_until_all_is_done(tmp_path: Path, pack: Pack) -> None:
    store = fill(tmp_path / "store", 50)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    before = out.read_bytes()
    other = Pack.load(write_pack(tmp_path / "other", taxonomy="utkface", seed=8))
    expected = fresh(store, other, tmp_path)
    for remaining in (30, 10):
        assert label(store, out, other, most=20).counts.remaining == remaining
        assert out.read_bytes() == before
    assert label(store, out, other, most=20).counts == Counts(changed=10, resumed=40)
    assert out.read_bytes() == expected
    assert not list(tmp_path.glob(".out*"))


def test_verify_finds_what_changed_under_the_same_size_and_time(tmp_path: Path, pack: Pack) -> None:
    store = fill(tmp_path / "store", 40)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    path = store / "1" / "0010.png"
    about = path.stat()
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert label(store, out, pack).counts == Counts(unchanged=40)
    summary = label(store, out, pack, verify=True)
    assert (summary.altered, summary.altered_files) == (["1/0010.png"], 1)
    assert summary.counts == Counts(unchanged=39, changed=1)
    assert summary.failed == {"corrupt": 1}
    assert out.read_bytes() == fresh(store, pack, tmp_path)
    assert label(store, out, pack, verify=True).altered_files == 0


def test_a_file_that_could_not_be_read_is_tried_again(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 6)
    out = tmp_path / "out.parquet"
    with monkeypatch.context() as patched:

        def fail(*_: object) -> bytes:
            raise PermissionError(13, "Permission denied")

        patched.setattr(store_module, "_open_regular", fail)
        assert label(store, out, pack).failed == {"unreadable": 6}
    assert label(store, out, pack).labelled == 6


def test_what_the_network_cannot_say_is_no_label(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(tmp_path / "store", 9)
    real = Pack.predict

    def strange(self: Pack, crops: Any) -> Prediction:
        prediction = real(self, crops)
        prediction.years[1] = np.inf
        prediction.probabilities["gender"][4, 0] = np.nan
        return prediction

    monkeypatch.setattr(Pack, "predict", strange)
    summary = label(store, tmp_path / "out.parquet", pack, workers=1)
    assert (summary.labelled, summary.failed) == (7, {"crashed": 2})
    rows = read(tmp_path / "out.parquet").rows.to_pylist()
    assert [k for k, row in enumerate(rows) if row["status"] == "crashed"] == [1, 4]
    assert rows[4]["gender"] is None
    assert rows[4]["error"] == "the network's output is not a finite number"
    plain = fresh_rows(store, pack, tmp_path, monkeypatch, real)
    assert [row["age"] for k, row in enumerate(rows) if k not in (1, 4)] == [
        row["age"] for k, row in enumerate(plain) if k not in (1, 4)
    ]


def fresh_rows(store: Path, pack: Pack, folder: Path, monkeypatch: pytest.MonkeyPatch, predict: Any) -> list[Any]:
    """Return the rows that the untouched network gives."""
    monkeypatch.setattr(Pack, "predict", predict)
    fresh(store, pack, folder)
    return read(folder / "fresh.parquet").rows.to_pylist()


# What a process that is killed leaves behind.

RUN = """
import sys
sys.path[:] = {path!r}
from labeler.pack import Pack
from labeler.pipeline import Options, label_store
label_store({store!r}, {out!r}, Pack.load({models!r}), Options(face="whole", workers=2, checkpoint_seconds=0.0),
            lambda files: print(files, flush=True))
"""


def run_in_a_process(store: Path, out: Path, models: Path) -> subprocess.Popen[str]:
    """Start a run that keeps its rows after every group of files and prints how many files each had."""
    code = RUN.format(path=sys.path, store=str(store), out=str(out), models=str(models))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("groups", [0, 1, 3, 6])
def test_a_run_killed_at_any_moment_and_started_again_gives_the_same_bytes(
    tmp_path: Path, pack: Pack, pack_folder: Path, groups: int
) -> None:
    store = fill(tmp_path / "store", 400)
    expected = fresh(store, pack, tmp_path)
    out = tmp_path / "out.parquet"
    process = run_in_a_process(store, out, pack_folder)
    assert process.stdout is not None
    for _ in range(groups):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    finished = out.exists()
    summary = label(store, out, pack)
    assert out.read_bytes() == expected
    assert finished or summary.counts.resumed >= 32 * (groups - 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh.parquet", "out.parquet", "store"]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(tmp_path / "store", 300)
    expected = fresh(store, pack, tmp_path)
    out = tmp_path / "out.parquet"
    for after in (70, 140, 230):
        count = iter(range(10**6))

        def stop(files: int, count: Iterator[int] = count, after: int = after) -> None:
            if sum(1 for _ in range(files) if next(count) >= after):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            label_store(store, out, pack, Options(face="whole"), stop)
        assert not out.exists()
        (store / "1" / f"between-{after}.png").write_bytes(save(scene(24, 24, after), "PNG"))
    expected = fresh(store, pack, tmp_path)
    summary = label(store, out, pack)
    assert summary.counts.resumed >= 192
    assert summary.counts.resumed + summary.counts.new == 303
    assert out.read_bytes() == expected


def test_rows_left_by_a_run_with_another_pack_are_not_used(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 100)
    out = tmp_path / "out.parquet"

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_store(store, out, pack, Options(face="whole"), stop)
    other = Pack.load(write_pack(tmp_path / "other", seed=8))
    assert label(store, out, other).counts == Counts(new=100)


def test_a_damaged_part_is_labelled_again(tmp_path: Path, pack: Pack) -> None:
    store = fill(tmp_path / "store", 100)
    out = tmp_path / "out.parquet"

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_store(store, out, pack, Options(face="whole"), stop)
    (part,) = (tmp_path / ".out.parquet.state").glob("part-*")
    part.write_bytes(part.read_bytes()[:200])
    assert label(store, out, pack).counts.new == 100
    assert out.read_bytes() == fresh(store, pack, tmp_path)


def in_hand(out: Path, pack: Pack, path: str) -> None:
    """Leave what a process leaves that died with a file in hand."""
    info = pipeline._table_info(
        out.parent / "store",
        pack.manifest,
        Cropper.of(pack.manifest, "whole"),
        Options(face="whole"),
    )
    journal = Journal(out, pipeline._key(info))
    journal.open()
    journal.enter(1, path)


def test_a_file_in_hand_when_the_process_died_is_tried_alone_and_has_its_row(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 40)
    out = tmp_path / "out.parquet"
    in_hand(out, pack, "1/0004.png")
    seen = labelled_files(monkeypatch)
    assert label(store, out, pack).labelled == 40
    assert "1/0004.png" not in seen
    assert out.read_bytes() == fresh(store, pack, tmp_path)


@pytest.mark.parametrize(
    ("child", "status", "words"),
    [
        ("import os; os.abort()", "crashed", "the process died on it twice (SIGABRT)"),
        ("import sys; sys.exit(3)", "crashed", "the process died on it twice (exit code 3)"),
        ("import time; time.sleep(60)", "too_large", "took more than 60 seconds"),
    ],
)
def test_a_file_that_brings_the_process_down_again_is_a_row_and_the_night_goes_on(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch, child: str, status: str, words: str
) -> None:
    store = fill(tmp_path / "store", 40)
    out = tmp_path / "out.parquet"
    in_hand(out, pack, "1/0004.png")
    monkeypatch.setattr(alone, "_CHILD", child)
    if status == "too_large":
        monkeypatch.setattr(alone, "_START_SECONDS", -59.9)
    summary = label(store, out, pack)
    rows = {row["path"]: row for row in read(out).rows.to_pylist()}
    assert (rows["1/0004.png"]["status"], rows["1/0004.png"]["error"]) == (status, words)
    assert summary.labelled == 39


def test_a_suspect_stays_one_until_its_row_is_safe(tmp_path: Path, pack: Pack) -> None:
    out = tmp_path / "out.parquet"
    (tmp_path / "store").mkdir()
    in_hand(out, pack, "a.png")
    in_hand(out, pack, "b.png")
    assert Journal(out, json.loads((tmp_path / ".out.parquet.state" / "journal.json").read_text())).open() == {
        "a.png",
        "b.png",
    }


def test_two_runs_at_once_are_refused_and_the_first_is_named(tmp_path: Path, pack: Pack) -> None:
    store = fill(tmp_path / "store", 3)
    out = tmp_path / "out.parquet"
    with locked(out), pytest.raises(TableError, match=f"process id {os.getpid()} on "):
        label(store, out, pack)
    assert label(store, out, pack).files == 3
    assert not (tmp_path / ".out.parquet.lock").exists()


def test_a_lock_file_that_nobody_holds_is_no_lock(tmp_path: Path, pack: Pack) -> None:
    store = fill(tmp_path / "store", 3)
    (tmp_path / ".out.parquet.lock").write_text("1 elsewhere")
    assert label(store, tmp_path / "out.parquet", pack).files == 3


def replaced(out: Path, content: bytes) -> bytes:
    """Put something in the table's place."""
    out.write_bytes(content)
    return content


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 a photo"])
def test_an_output_that_is_no_table_is_never_replaced(tmp_path: Path, pack: Pack, content: bytes) -> None:
    store = fill(tmp_path / "store", 3)
    out = tmp_path / "photo.jpg"
    before = replaced(out, content)
    for relabel in (False, True):
        with pytest.raises(TableError, match="is no label table and would be lost"):
            label(store, out, pack, relabel=relabel)
    assert out.read_bytes() == before


def test_a_parquet_file_of_another_kind_is_never_replaced(tmp_path: Path, pack: Pack) -> None:
    store = fill(tmp_path / "store", 3)
    out = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), out)
    with pytest.raises(TableError, match="Parquet, but no label table"):
        label(store, out, pack, relabel=True)


@pytest.mark.parametrize("cut", [5, 0.3, 0.9])
def test_a_table_that_breaks_off_is_named_and_written_anew_on_demand(tmp_path: Path, pack: Pack, cut: float) -> None:
    store = fill(tmp_path / "store", 3)
    out = tmp_path / "out.parquet"
    label(store, out, pack)
    whole = out.read_bytes()
    before = replaced(out, whole[: int(cut * len(whole)) if cut < 1 else int(cut)])
    with pytest.raises(TableError, match="--relabel"):
        label(store, out, pack)
    assert out.read_bytes() == before
    label(store, out, pack, relabel=True)
    assert out.read_bytes() == whole


def test_a_table_of_a_newer_schema_is_never_replaced(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 3)
    out = tmp_path / "out.parquet"
    with monkeypatch.context() as patched:
        real: Callable[..., Any] = pipeline._table_info
        patched.setattr(
            pipeline, "_table_info", lambda *given: TableInfo(**(asdict(real(*given)) | {"schema_version": 2}))
        )
        label(store, out, pack)
    for relabel in (False, True):
        with pytest.raises(TableError, match="newer than this tool reads"):
            label(store, out, pack, relabel=relabel)


def test_a_store_and_a_table_may_lie_on_a_path_with_spaces_and_umlauts(tmp_path: Path, pack: Pack) -> None:
    folder = tmp_path / "Büro der Prüfer [1]"
    store = fill(folder / "Größe ü", 5)
    out = folder / "Täbelle *.parquet"
    (folder / f".{out.name}.left over.tmp").touch()
    assert label(store, out, pack).counts.new == 5
    assert label(store, out, pack).counts.unchanged == 5
    assert sorted(path.name for path in folder.iterdir()) == ["Größe ü", out.name]


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory, where there is one."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_a_hundred_thousand_files_in_one_folder_are_walked_in_order(quick_folder: Path) -> None:
    for k in range(100_000):
        os.close(os.open(f"{quick_folder}/{k}.jpg", os.O_CREAT))
    found = [entry.path for entry in scan(quick_folder)]
    assert len(found) == 100_000
    assert found == sorted(found)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 3 MB, or skip the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 2_000, 6_000, 12_000, 20_000, 40_000])
def test_a_full_disk_leaves_the_old_table(tmp_path: Path, small_disk: Path, pack: Pack, free: int) -> None:
    store = fill(tmp_path / "store", 100)
    out = small_disk / "out.parquet"
    label(store, out, pack)
    before = out.read_bytes()
    fill(store, 200, 500)
    space = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - free)))
    try:
        label(store, out, pack, checkpoint_seconds=0.0)
    except OSError as error:
        assert error.errno == 28
        assert out.read_bytes() == before
    (small_disk / "filler").unlink()
    label(store, out, pack)
    assert out.read_bytes() == fresh(store, pack, tmp_path)


def test_heic_that_was_unsupported_is_tried_again_once_its_extra_is_installed(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 3)
    (store / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    out = tmp_path / "out.parquet"
    monkeypatch.setattr(header, "heic_supported", lambda: False)
    monkeypatch.setattr(merge, "heic_supported", lambda: False)
    assert label(store, out, pack).failed == {"unsupported": 1}
    assert label(store, out, pack).counts.unchanged == 4
    monkeypatch.setattr(merge, "heic_supported", lambda: True)
    assert label(store, out, pack).counts == Counts(changed=1, unchanged=3)
