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
from dataclasses import asdict, dataclass
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


@dataclass
class Night:
    """A store of small pictures in three folders, and its label table."""

    folder: Path
    pack: Pack

    @property
    def store(self) -> Path:
        """The store."""
        return self.folder / "store"

    @property
    def out(self) -> Path:
        """Its label table."""
        return self.folder / "out.parquet"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the table."""
        return read(self.out).rows.to_pylist()

    def fill(self, count: int, seed: int = 0) -> None:
        """Write so many pictures."""
        for k in range(count):
            path = self.store / f"{k % 3}" / f"{k:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(save(scene(24, 24, seed + k), "PNG"))

    def begin(self, count: int) -> None:
        """Write so many pictures and label them."""
        self.fill(count)
        self.label()

    def label(
        self, pack: Pack | None = None, progress: Callable[[int], object] = lambda _files: None, **options: Any
    ) -> Summary:
        """Bring the table up to date."""
        return label_store(self.store, self.out, pack or self.pack, Options(face="whole", **options), progress)

    def compare(self, pack: Pack | None = None) -> Counts:
        """Return how the store differs from the table."""
        return compare_store(self.store, self.out, (pack or self.pack).manifest, Options(face="whole"))

    def fresh(self, pack: Pack | None = None) -> bytes:
        """Return the bytes of a table made from nothing."""
        out = self.folder / "fresh.parquet"
        out.unlink(missing_ok=True)
        label_store(self.store, out, pack or self.pack, Options(face="whole"))
        return out.read_bytes()

    def die_with(self, *paths: str) -> None:
        """Leave what a process leaves that died with some files in hand."""
        cropper = Cropper.of(self.pack.manifest, "whole")
        info = pipeline._table_info(self.store, self.pack.manifest, cropper, Options(face="whole"))
        journal = Journal(self.out, pipeline._key(info))
        journal.open()
        journal.enter(1, *paths)


@pytest.fixture
def night(tmp_path: Path, pack: Pack) -> Night:
    """Return an empty store without a table."""
    return Night(tmp_path, pack)


def labelled_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the path of each file that is looked at will be added."""
    seen: list[str] = []
    real = Preparer.steps

    def noted(self: Preparer, entry: Any, *more: Any) -> Any:
        seen.append(entry.path)
        return real(self, entry, *more)

    monkeypatch.setattr(Preparer, "steps", noted)
    return seen


def test_a_night_with_nothing_new_reads_no_picture_and_leaves_the_table_alone(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.begin(50)
    before = night.out.stat()
    seen = labelled_files(monkeypatch)
    summary = night.label()
    assert seen == []
    assert summary.counts == Counts(unchanged=50)
    assert (summary.files, summary.labelled, summary.failed) == (50, 0, {})
    assert night.out.stat().st_ino == before.st_ino
    assert sorted(path.name for path in night.folder.iterdir()) == ["out.parquet", "store"]


def test_only_what_is_new_or_changed_is_labelled_and_what_is_gone_leaves(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.begin(60)
    (night.store / "0" / "0003.png").unlink()
    (night.store / "1" / "0004.png").write_bytes(save(scene(30, 30, 999), "PNG"))
    os.utime(night.store / "2" / "0005.png", ns=(1, 1))
    (night.store / "1" / "0004-new.png").write_bytes(save(scene(24, 24, 998), "PNG"))
    expected = night.fresh()
    assert night.compare() == Counts(new=1, changed=2, gone=1, unchanged=57)
    seen = labelled_files(monkeypatch)
    summary = night.label()
    assert sorted(seen) == ["1/0004-new.png", "1/0004.png", "2/0005.png"]
    assert summary.counts == Counts(new=1, changed=2, gone=1, unchanged=57)
    assert night.out.read_bytes() == expected


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
    night = Night(tmp_path_factory.mktemp("nights"), pack)
    night.begin(20)
    for number, changes in enumerate(nights):
        for k, change in changes.items():
            path = night.store / f"{k % 3}" / f"{k:04}.png"
            if change == "remove":
                path.unlink(missing_ok=True)
            else:
                content = save(scene(24, 24, 100 * number + k), "PNG")
                path.write_bytes(content if change == "write" else content[:80])
                os.utime(path, ns=(number + 1, number + 1))
        night.label()
        assert night.out.read_bytes() == night.fresh()


def test_row_groups_of_any_size_join(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.fill(40)
    monkeypatch.setattr(table, "ROW_GROUP_ROWS", 7)
    night.label()
    for k in range(0, 40, 5):
        (night.store / f"{k % 3}" / f"{k:04}.png").unlink()
    night.fill(60, 7)
    night.label()
    assert night.out.read_bytes() == night.fresh()


def test_another_pack_or_other_options_label_everything_anew(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.begin(10)
    other = Pack.load(write_pack(night.folder / "other", taxonomy="utkface", seed=8))
    (night.store / "0" / "0000.png").write_bytes(save(scene(30, 30, 999), "PNG"))
    expected = Counts(changed=1, relabelled=9)
    assert night.compare(other) == expected
    assert night.label(other).counts == expected
    assert read(night.out).info.pack_digest == other.manifest.digest
    assert night.label(other).counts.unchanged == 10
    assert night.label(other, limits=Limits(pixels=10)).failed == {"too_large": 10}
    assert night.label(other, limits=Limits(pixels=10), relabel=True).counts.relabelled == 10


def test_another_version_of_the_tool_keeps_the_rows(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.begin(10)
    monkeypatch.setattr(pipeline, "__version__", "99.0")
    assert night.label().counts.unchanged == 10
    assert read(night.out).info.tool_version == "99.0"
    assert night.out.read_bytes() == night.fresh()


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a folder refuse to be listed."""
    scan_folder = os.scandir

    def scandir(folder: object) -> Any:
        if str(folder).endswith(name):
            raise PermissionError(13, "Permission denied")
        return scan_folder(folder)

    monkeypatch.setattr(os, "scandir", scandir)


def test_the_rows_of_a_folder_that_cannot_be_listed_stay(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.begin(30)
    before = night.out.read_bytes()
    with monkeypatch.context() as patched:
        refuse(patched, "/1")
        summary = night.label()
        assert night.out.read_bytes() == before
        assert summary.counts == Counts(unchanged=30)
        assert summary.unlisted == ["1/: cannot be listed (Permission denied)"]
        (night.store / "2" / "0002.png").unlink()
        assert night.label().counts == Counts(unchanged=29, gone=1)
        night.label(relabel=True)
        rows = night.rows
        assert len(rows) == 29
        kept = [row for row in rows if row["path"].startswith("1/")]
        assert {row["error"] for row in kept} == {merge.NOT_LISTED}
    night.label()
    assert night.out.read_bytes() == night.fresh()


def test_a_store_that_is_empty_all_at_once_does_not_empty_the_table(night: Night) -> None:
    night.begin(5)
    before = night.out.read_bytes()
    for path in night.store.iterdir():
        shutil.rmtree(path)
    with pytest.raises(StoreError, match="mount the store"):
        night.label()
    assert night.out.read_bytes() == before


def test_a_limit_leaves_the_rest_for_other_nights(night: Night) -> None:
    night.fill(50)
    expected = night.fresh()
    summaries = [night.label(most=20) for _ in range(3)]
    assert [(s.files, s.counts.new, s.counts.remaining) for s in summaries] == [(20, 20, 30), (40, 20, 10), (50, 10, 0)]
    assert night.out.read_bytes() == expected


def test_with_a_limit_and_another_pack_the_old_table_stays_until_all_is_done(night: Night) -> None:
    night.begin(50)
    before = night.out.read_bytes()
    other = Pack.load(write_pack(night.folder / "other", taxonomy="utkface", seed=8))
    expected = night.fresh(other)
    for remaining in (30, 10):
        assert night.label(other, most=20).counts.remaining == remaining
        assert night.out.read_bytes() == before
    assert night.label(other, most=20).counts == Counts(relabelled=10, resumed=40)
    assert night.out.read_bytes() == expected
    assert not list(night.folder.glob(".out*"))


def test_verify_finds_what_changed_under_the_same_size_and_time(night: Night) -> None:
    night.begin(40)
    path = night.store / "1" / "0010.png"
    about = path.stat()
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert night.label().counts == Counts(unchanged=40)
    summary = night.label(verify=True)
    assert (summary.altered, summary.altered_files) == (["1/0010.png"], 1)
    assert summary.counts == Counts(unchanged=39, changed=1)
    assert summary.failed == {"corrupt": 1}
    assert night.out.read_bytes() == night.fresh()
    assert night.label(verify=True).altered_files == 0


def test_a_file_that_could_not_be_read_is_tried_again(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.fill(6)
    with monkeypatch.context() as patched:

        def fail(*_: object) -> bytes:
            raise PermissionError(13, "Permission denied")

        patched.setattr(store_module, "_open_regular", fail)
        assert night.label().failed == {"unreadable": 6}
    again = night.label()
    assert again.labelled == 6
    assert again.counts == Counts(retried=6)


def test_files_that_cannot_be_read_leave_a_limit_to_the_others(night: Night) -> None:
    night.fill(6)
    for k in range(8):
        (night.store / "0" / f"-{k}.png").symlink_to("nowhere")
    nights = [night.label(most=10), night.label(most=2), night.label(most=3), night.label(most=3)]
    assert [(summary.labelled, summary.counts.remaining) for summary in nights] == [(2, 4), (2, 2), (2, 0), (0, 0)]
    assert nights[-1].counts == Counts(unchanged=6, retried=8)


def test_the_share_of_failures_is_that_of_the_whole_store_on_any_night(night: Night) -> None:
    night.fill(8)
    for name in ("cut.png", "empty.jpg"):
        (night.store / name).touch()
    nights = [night.label(most=5), night.label(), night.label(), night.label(verify=True)]
    assert [(summary.failures, summary.known) for summary in nights] == [(0, 5), (2, 10), (2, 10), (2, 10)]
    (night.store / "empty.jpg").unlink()
    (night.store / "cut.png").write_bytes(save(scene(24, 24, 999), "PNG"))
    (night.store / "new.jpg").touch()
    assert (night.label().failures, night.label().failure_share) == (1, 0.1)


def test_of_an_interrupted_run_the_failures_count_too(night: Night) -> None:
    night.fill(100)
    for k in range(20):
        (night.store / "0" / f"{k:04}-empty.jpg").touch()
    groups = iter(range(2))

    def stop(_: int) -> None:
        if next(groups):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        night.label(progress=stop)
    summary = night.label()
    assert summary.counts.resumed > 0
    assert (summary.failures, summary.known) == (20, 120)


def test_while_rows_of_another_pack_wait_the_new_ones_alone_count(night: Night) -> None:
    night.begin(50)
    for share in [(20, 20), (40, 40), (50, 50)]:
        summary = night.label(limits=Limits(pixels=10), most=20)
        assert (summary.failures, summary.known) == share
    assert night.label(most=20).failure_share == 0


def test_what_the_network_cannot_say_is_no_label(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.begin(9)
    plain = night.rows
    real = Pack.predict

    def strange(self: Pack, crops: Any) -> Prediction:
        prediction = real(self, crops)
        prediction.years[1] = np.inf
        prediction.probabilities["gender"][4, 0] = np.nan
        return prediction

    monkeypatch.setattr(Pack, "predict", strange)
    summary = night.label(workers=1, relabel=True)
    assert (summary.labelled, summary.failed) == (7, {"crashed": 2})
    rows = night.rows
    assert [k for k, row in enumerate(rows) if row["status"] == "crashed"] == [1, 4]
    assert rows[4]["gender"] is None
    assert rows[4]["error"] == "the network's output is not a finite number"
    assert [row["age"] for k, row in enumerate(rows) if k not in (1, 4)] == [
        row["age"] for k, row in enumerate(plain) if k not in (1, 4)
    ]


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
    night: Night, pack_folder: Path, groups: int
) -> None:
    night.fill(400)
    expected = night.fresh()
    process = run_in_a_process(night.store, night.out, pack_folder)
    assert process.stdout is not None
    for _ in range(groups):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    finished = night.out.exists()
    summary = night.label()
    assert night.out.read_bytes() == expected
    assert finished or summary.counts.resumed >= 32 * (groups - 1)
    assert sorted(path.name for path in night.folder.iterdir()) == ["fresh.parquet", "out.parquet", "store"]


def test_an_interrupted_run_goes_on_where_it_was(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.fill(300)
    for after in (70, 140, 230):
        count = iter(range(10**6))

        def stop(files: int, count: Iterator[int] = count, after: int = after) -> None:
            if sum(1 for _ in range(files) if next(count) >= after):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            night.label(progress=stop)
        assert not night.out.exists()
        (night.store / "1" / f"between-{after}.png").write_bytes(save(scene(24, 24, after), "PNG"))
    expected = night.fresh()
    summary = night.label()
    assert summary.counts.resumed >= 192
    assert summary.counts.resumed + summary.counts.new == 303
    assert night.out.read_bytes() == expected


def test_rows_left_by_a_run_with_another_pack_are_not_used(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.fill(100)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        night.label(progress=stop)
    other = Pack.load(write_pack(night.folder / "other", seed=8))
    assert night.label(other).counts == Counts(new=100)


def test_a_damaged_part_is_labelled_again(night: Night) -> None:
    night.fill(100)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        night.label(progress=stop)
    (part,) = (night.folder / ".out.parquet.state").glob("part-*")
    part.write_bytes(part.read_bytes()[:200])
    assert night.label().counts.new == 100
    assert night.out.read_bytes() == night.fresh()


def test_a_file_in_hand_when_the_process_died_is_tried_alone_and_has_its_row(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.fill(40)
    night.die_with("1/0004.png")
    seen = labelled_files(monkeypatch)
    assert night.label().labelled == 40
    assert "1/0004.png" not in seen
    assert night.out.read_bytes() == night.fresh()


def test_files_in_hand_when_the_process_died_as_it_classified_them_are_classified_alone(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.fill(40)
    night.die_with("1/0004.png", "2/0005.png")
    dying = "import os; from labeler.pack import Pack; Pack.predict = lambda self, crops: os.abort(); "
    monkeypatch.setattr(alone, "_CHILD", alone._CHILD.replace("from labeler.alone", dying + "from labeler.alone"))
    summary = night.label()
    rows = [row for row in night.rows if row["status"] != "ok"]
    assert [row["path"] for row in rows] == ["1/0004.png", "2/0005.png"]
    assert {row["error"] for row in rows} == {"the process died on it twice (SIGABRT)"}
    assert summary.labelled == 38


ALL_THREE = ("0/0000.png", "1/0001.png", "2/0002.png")


def test_a_run_notes_what_it_decodes_and_what_it_classifies(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.fill(3)
    noted: list[tuple[str, ...]] = []
    monkeypatch.setattr(Journal, "enter", lambda _journal, _slot, *paths: noted.append(paths))
    night.label(workers=1)
    assert noted == [*((path,) for path in ALL_THREE), ALL_THREE, ()]


@pytest.mark.parametrize(
    ("child", "status", "words"),
    [
        ("import os; os.abort()", "crashed", "the process died on it twice (SIGABRT)"),
        ("import sys; sys.exit(3)", "crashed", "the process died on it twice (exit code 3)"),
        ("import time; time.sleep(60)", "too_large", "took more than 60 seconds"),
    ],
)
def test_a_file_that_brings_the_process_down_again_is_a_row_and_the_night_goes_on(
    night: Night, monkeypatch: pytest.MonkeyPatch, child: str, status: str, words: str
) -> None:
    night.fill(40)
    night.die_with("1/0004.png")
    monkeypatch.setattr(alone, "_CHILD", child)
    if status == "too_large":
        monkeypatch.setattr(alone, "_START_SECONDS", -59.9)
    summary = night.label()
    rows = {row["path"]: row for row in night.rows}
    assert (rows["1/0004.png"]["status"], rows["1/0004.png"]["error"]) == (status, words)
    assert summary.labelled == 39


def test_a_suspect_stays_one_until_its_row_is_safe(night: Night) -> None:
    night.store.mkdir()
    night.die_with("a.png")
    night.die_with("b.png")
    key = json.loads((night.folder / ".out.parquet.state" / "journal.json").read_text())
    assert Journal(night.out, key).open() == {"a.png", "b.png"}


def test_two_runs_at_once_are_refused_and_the_first_is_named(night: Night) -> None:
    night.fill(3)
    with locked(night.out), pytest.raises(TableError, match=f"process id {os.getpid()} on "):
        night.label()
    assert night.label().files == 3
    assert not (night.folder / ".out.parquet.lock").exists()


def test_a_lock_file_that_nobody_holds_is_no_lock(night: Night) -> None:
    night.fill(3)
    (night.folder / ".out.parquet.lock").write_text("1 elsewhere")
    assert night.label().files == 3


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 a photo"])
def test_an_output_that_is_no_table_is_never_replaced(night: Night, content: bytes) -> None:
    night.fill(3)
    night.out.write_bytes(content)
    for relabel in (False, True):
        with pytest.raises(TableError, match="is no label table and would be lost"):
            night.label(relabel=relabel)
    assert night.out.read_bytes() == content


def test_a_parquet_file_of_another_kind_is_never_replaced(night: Night) -> None:
    night.fill(3)
    pq.write_table(pa.table({"a": [1]}), night.out)
    with pytest.raises(TableError, match="Parquet, but no label table"):
        night.label(relabel=True)


@pytest.mark.parametrize("cut", [5, 0.3, 0.9])
def test_a_table_that_breaks_off_is_named_and_written_anew_on_demand(night: Night, cut: float) -> None:
    night.begin(3)
    whole = night.out.read_bytes()
    before = whole[: int(cut * len(whole)) if cut < 1 else int(cut)]
    night.out.write_bytes(before)
    with pytest.raises(TableError, match="--relabel"):
        night.label()
    assert night.out.read_bytes() == before
    night.label(relabel=True)
    assert night.out.read_bytes() == whole


def test_a_table_of_a_newer_schema_is_never_replaced(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.fill(3)
    with monkeypatch.context() as patched:
        real: Callable[..., Any] = pipeline._table_info
        patched.setattr(
            pipeline, "_table_info", lambda *given: TableInfo(**(asdict(real(*given)) | {"schema_version": 2}))
        )
        night.label()
    for relabel in (False, True):
        with pytest.raises(TableError, match="newer than this tool reads"):
            night.label(relabel=relabel)


def test_a_store_and_a_table_may_lie_on_a_path_with_spaces_and_umlauts(tmp_path: Path, pack: Pack) -> None:
    folder = tmp_path / "Büro der Prüfer [1]"
    night = Night(folder / "Größe ü", pack)
    night.fill(5)
    out = folder / "Täbelle *.parquet"
    (folder / f".{out.name}.left over.tmp").touch()
    for expected in (Counts(new=5), Counts(unchanged=5)):
        assert label_store(night.folder, out, pack, Options(face="whole")).counts == expected
    assert sorted(path.name for path in folder.iterdir()) == ["Größe ü", out.name]


def test_a_run_leaves_the_temporary_file_of_a_table_whose_name_begins_alike(night: Night) -> None:
    night.fill(3)
    other = night.out.with_name(f".{night.out.name}.new.abcdefgh.tmp")
    other.touch()
    night.label()
    assert other.exists()


def test_a_row_without_a_hash_is_no_altered_file(night: Night) -> None:
    night.fill(3)
    small = Limits(file_bytes=10)
    assert night.label(limits=small).failed == {"too_large": 3}
    assert night.label(limits=small, verify=True).altered_files == 0


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
    night = Night(tmp_path, pack)
    out = small_disk / "out.parquet"
    options = Options(face="whole", checkpoint_seconds=0.0)
    night.fill(100)
    label_store(night.store, out, pack, options)
    before = out.read_bytes()
    night.fill(200, 500)
    space = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - free)))
    try:
        label_store(night.store, out, pack, options)
    except OSError as error:
        assert error.errno == 28
        assert out.read_bytes() == before
    (small_disk / "filler").unlink()
    label_store(night.store, out, pack, options)
    assert out.read_bytes() == night.fresh()


def test_heic_that_was_unsupported_is_tried_again_once_its_extra_is_installed(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.fill(3)
    (night.store / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    monkeypatch.setattr(header, "heic_supported", lambda: False)
    monkeypatch.setattr(merge, "heic_supported", lambda: False)
    assert night.label().failed == {"unsupported": 1}
    assert night.label().counts.unchanged == 4
    monkeypatch.setattr(merge, "heic_supported", lambda: True)
    assert night.label().counts == Counts(changed=1, unchanged=3)
