"""Claims about the command label-images: what it prints, and one line of advice for every bad call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from labeler import __version__, cli
from labeler.cli import main
from labeler.table import read
from tests.labeler.pictures import save, scene
from tests.packs import write_pack

WHOLE = ["--face", "whole"]
"""What makes the picture the crop."""

CALL = [sys.executable, "-c", "from labeler.cli import main; main()"]


def run(*arguments: str | Path) -> Result:
    """Call the command in this process."""
    return CliRunner().invoke(main, [*map(str, arguments), *WHOLE])


def label(store: Path, out: Path, pack_folder: Path, *more: str) -> Result:
    """Label a store with a tiny pack, and check that it went well."""
    result = run(store, "--out", out, "--models", pack_folder, *more)
    assert result.exit_code == 0, result.output
    return result


def test_the_summary_counts_and_gives_an_example_of_each_status_without_labels(
    store: Path, tmp_path: Path, pack_folder: Path
) -> None:
    (store / "cut.jpg").write_bytes(save(scene(), "JPEG")[:300])
    (store / "empty.png").touch()
    (store / "anim.gif").write_bytes(b"GIF89a" + bytes(40))
    result = label(store, tmp_path / "out.parquet", pack_folder)
    first, *rest = result.stdout.splitlines()
    assert first.startswith("8 files: 5 labelled, 3 without labels (2 corrupt, 1 unsupported), ")
    assert first.endswith(f"images per second -> {tmp_path / 'out.parquet'}")
    assert rest[0].startswith("  corrupt, for example cut.jpg: jpeg: ")
    assert rest[1] == "  unsupported, for example anim.gif: gif images are not supported"
    assert result.stderr == ""


def test_a_store_without_any_image_asks_whether_it_is_the_right_one(tmp_path: Path, pack_folder: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "notes.txt").write_text("no image")
    result = label(tmp_path / "store", tmp_path / "out.parquet", pack_folder)
    assert "no image was found; is this the right folder, and is it mounted?" in result.stdout
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["", "--out", "{folder}/t.parquet"], "the name is empty"),
        (["{store}", "--out", "{folder}/t.parquet", "--min-face", "nan"], "'nan' is not a number"),
        (["{store}", "--out", "{folder}/t.parquet", "--max-seconds", "nan"], "'nan' is not a number"),
    ],
)
def test_no_name_and_no_number_are_refused(store: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    result = run(*(argument.format(store=store, folder=tmp_path) for argument in arguments))
    assert (result.exit_code, words in result.output) == (2, True)
    assert not (tmp_path / "t.parquet").exists()


def test_a_run_labels_without_a_stderr_and_says_where_its_summary_does_not_fit(
    store: Path, tmp_path: Path, pack_folder: Path
) -> None:
    out = tmp_path / "out.parquet"
    call = [*CALL, str(store), "--out", str(out), "--models", str(pack_folder), *WHOLE]
    closed = subprocess.run(["bash", "-c", '"$@" 2>&-', "bash", *call], capture_output=True, text=True, check=False)
    assert (closed.returncode, "5 labelled" in closed.stdout) == (0, True)
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, "the table is written, but not the summary" in done.stderr) == (1, True)
        assert "Traceback" not in done.stderr


def test_a_link_as_output_stays_one_and_rights_stay_as_they_are(store: Path, tmp_path: Path, pack_folder: Path) -> None:
    real, link = tmp_path / "real.parquet", tmp_path / "link.parquet"
    label(store, real, pack_folder)
    real.chmod(0o600)
    link.symlink_to(real)
    label(store, link, pack_folder, "--relabel")
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600


def test_json_gives_the_summary_to_a_scheduler(store: Path, tmp_path: Path, pack_folder: Path) -> None:
    document = json.loads(label(store, tmp_path / "out.parquet", pack_folder, "--json").stdout)
    assert (document["files"], document["labelled"], document["failed"]) == (5, 5, {})
    assert document["table"] == str(tmp_path / "out.parquet")


@pytest.mark.parametrize("workers", ["0", "1", "2", "4"])
def test_the_number_of_workers_changes_no_byte(store: Path, tmp_path: Path, pack_folder: Path, workers: str) -> None:
    label(store, tmp_path / "one.parquet", pack_folder)
    label(store, tmp_path / "other.parquet", pack_folder, "--workers", workers)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_a_name_cannot_rewrite_the_terminal(tmp_path: Path, pack_folder: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "\x1b[2Jevil\n\udcff.jpg").touch()
    lines = label(folder, tmp_path / "out.parquet", pack_folder).stdout.splitlines()
    assert len(lines) == 2
    assert "\\x1b[2Jevil\\n" in lines[1]
    assert all(line.isprintable() for line in lines)


def assert_one_line(result: Result | subprocess.CompletedProcess[str], code: int, words: list[str]) -> None:
    """Check that a bad call ended with a code and one line on stderr that holds some words."""
    exit_code = result.exit_code if isinstance(result, Result) else result.returncode
    assert exit_code == code, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("label-images: ")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_a_bad_call_ends_with_one_line_that_names_the_thing_and_what_to_do(
    store: Path, tmp_path: Path, pack_folder: Path
) -> None:
    out = tmp_path / "out.parquet"
    (tmp_path / "empty").mkdir()
    calls: list[tuple[list[Any], list[str]]] = [
        ([tmp_path / "missing", "--out", out], ["missing", "no such folder", "name the folder"]),
        ([store / "a.jpg", "--out", out], ["a.jpg", "is a file", "name the folder"]),
        ([store, "--out", tmp_path / "none" / "x.parquet"], ["none", "does not exist", "make it"]),
        ([store, "--out", tmp_path / "empty"], ["empty", "is a folder", "name a file"]),
        ([store, "--out", tmp_path / "x.csv"], ["--out", "x.csv: the label table is Parquet", "name it x.parquet"]),
        ([store, "--out", tmp_path / "x.CSV.gz", "--dry-run"], ["Parquet, not what .gz says"]),
        ([store, "--out", "/dev/null"], ["/dev/null", "not a regular file", "name a file"]),
        ([tmp_path / "mis\nsing", "--out", out], ["mis\\nsing", "no such folder"]),
        ([tmp_path / "mis\udcffsing", "--out", out], ["mis", "no such folder"]),
        ([tmp_path / ("n" * 300), "--out", out], ["name another folder"]),
    ]
    for arguments, words in calls:
        assert_one_line(run(*arguments, "--models", pack_folder), 2, words)
    for folder, words in [("nowhere", ["no model pack"]), ("empty", ["no model pack", "--models"])]:
        assert_one_line(run(store, "--out", out, "--models", tmp_path / folder), 2, [folder, *words])
    assert not out.exists()


def test_a_bad_output_is_refused_before_the_pack_is_loaded(store: Path, tmp_path: Path) -> None:
    result = run(store, "--out", tmp_path / "x.xlsx", "--models", tmp_path / "missing")
    assert_one_line(result, 2, ["--out", "x.xlsx"])


def test_a_damaged_pack_ends_with_one_line(store: Path, tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "pack")
    manifest = (folder / "pack.json").read_text()
    cases = {
        "not JSON": manifest[:-20],
        "temperature": manifest.replace('"temperature": 1.0', '"temperature": -1.0', 1),
        "'licence' is missing": manifest.replace('"licence"', '"license"'),
        "SHA-256": manifest.replace('"sha256": "', '"sha256": "0'),
    }
    for words, text in cases.items():
        (folder / "pack.json").write_text(text)
        result = run(store, "--out", tmp_path / "out.parquet", "--models", folder)
        assert_one_line(result, 2, [words, str(folder), "anew"])


def test_a_full_disk_ends_with_one_line_and_code_1(
    store: Path, tmp_path: Path, pack_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run(store, "--out", tmp_path / "out.parquet", "--models", pack_folder)
    assert_one_line(result, 1, ["out.parquet", "No space left on device", "the table is as it was"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.parquet.state", "store"]


def test_an_interrupt_ends_with_code_130_and_the_old_table(
    store: Path, tmp_path: Path, pack_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(store, tmp_path / "out.parquet", pack_folder)
    before = (tmp_path / "out.parquet").read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "label_store", interrupt)
    result = run(store, "--out", tmp_path / "out.parquet", "--models", pack_folder)
    assert_one_line(result, 130, ["interrupted", "as it was"])
    assert (tmp_path / "out.parquet").read_bytes() == before


def test_a_dry_run_says_what_is_to_do_and_does_nothing(store: Path, tmp_path: Path, pack_folder: Path) -> None:
    out = tmp_path / "out.parquet"
    result = label(store, out, pack_folder, "--dry-run")
    assert result.stdout == "5 new, 0 changed, 0 gone, 0 unchanged, 0 resumed, 0 remaining\n"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    label(store, out, pack_folder)
    (store / "z.bmp").unlink()
    (store / "new.jpg").touch()
    document = json.loads(label(store, out, pack_folder, "--dry-run", "--json").stdout)
    assert document == {
        "new": 1,
        "changed": 0,
        "gone": 1,
        "unchanged": 4,
        "relabelled": 0,
        "retried": 0,
        "resumed": 0,
        "remaining": 0,
    }


def test_what_is_labelled_anew_on_demand_or_for_another_option_is_no_change_of_the_store(
    store: Path, tmp_path: Path, pack_folder: Path
) -> None:
    out = tmp_path / "out.parquet"
    label(store, out, pack_folder)
    words = "5 relabelled because of another pack, another option or --relabel"
    for option in (["--relabel"], ["--max-pixels", "99999"]):
        told = label(store, out, pack_folder, "--dry-run", *option).stdout
        assert told == f"0 new, 0 changed, 0 gone, 0 unchanged, {words}, 0 resumed, 0 remaining\n"
    assert f"  {words}" in label(store, out, pack_folder, "--relabel").stdout.splitlines()


def test_the_summary_tells_how_the_store_has_changed(store: Path, tmp_path: Path, pack_folder: Path) -> None:
    label(store, tmp_path / "out.parquet", pack_folder)
    (store / "z.bmp").unlink()
    (store / "new.jpg").touch()
    lines = label(store, tmp_path / "out.parquet", pack_folder).stdout.splitlines()
    assert lines[0].startswith("5 files: 0 labelled, 1 without labels (1 corrupt), ")
    assert lines[1:] == ["  1 new, 1 gone, 4 unchanged", "  corrupt, for example new.jpg: the file is empty"]


def test_more_failures_than_allowed_end_with_code_1(store: Path, tmp_path: Path, pack_folder: Path) -> None:
    for k in range(5):
        (store / f"empty{k}.jpg").touch()
    for share, code in [("49%", 1), ("0.5", 0), ("50%", 0), ("0%", 1)]:
        out = tmp_path / f"{share}.parquet"
        result = run(store, "--out", out, "--models", pack_folder, "--max-failures", share)
        assert result.exit_code == code
        assert read(out).rows.num_rows == 10
        told = f"label-images: --max-failures {share}: 5 of 10 files failed (50%); see status and error in {out}, "
        assert result.stderr == (f"{told}then mend or remove these files, or allow more\n" if code else "")


def test_a_file_that_fails_every_night_is_a_share_of_the_store_not_of_the_night(
    store: Path, tmp_path: Path, pack_folder: Path
) -> None:
    out = tmp_path / "out.parquet"
    (store / "dangling.jpg").symlink_to("nowhere")
    for allowed, code in [("17%", 0), ("17%", 0), ("16%", 1)]:
        result = run(store, "--out", out, "--models", pack_folder, "--max-failures", allowed, "--json")
        assert result.exit_code == code, result.stderr
        assert json.loads(result.stdout)["failure_share"] == 0.166667
        assert ("--max-failures 16%: 1 of 6 files failed (16.7%)" in result.stderr) == bool(code)


def test_a_share_of_failures_is_the_decimal_that_was_written() -> None:
    assert cli._Percentage().convert("0.7%", None, None) == 7 / 1000


def test_content_that_changed_under_the_same_size_and_time_ends_with_code_1(
    store: Path, tmp_path: Path, pack_folder: Path
) -> None:
    out = tmp_path / "out.parquet"
    label(store, out, pack_folder)
    about = (store / "z.bmp").stat()
    content = (store / "z.bmp").read_bytes()
    (store / "z.bmp").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(store / "z.bmp", ns=(about.st_atime_ns, about.st_mtime_ns))
    result = run(store, "--out", out, "--models", pack_folder, "--verify")
    assert result.exit_code == 1
    assert "  altered under the same size and time: 1, for example z.bmp" in result.stdout


def test_a_photo_given_as_the_table_is_refused(store: Path, tmp_path: Path, pack_folder: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff")
    assert_one_line(run(store, "--out", photo, "--models", pack_folder), 2, ["photo.jpg", "would be lost"])


def test_a_run_that_is_told_to_end_keeps_its_state(tmp_path: Path, pack_folder: Path, checkout: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    content = save(scene(600, 600), "PNG")
    for k in range(2_000):
        (store / f"{k}.png").write_bytes(content)
    process = subprocess.Popen(
        [*CALL, str(store), "--out", "out.parquet", "--models", str(pack_folder), *WHOLE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stderr=subprocess.PIPE,
        text=True,
    )
    flight = tmp_path / ".out.parquet.state" / "flight"
    while not (flight.exists() and flight.stat().st_size) and process.poll() is None:
        pass
    process.terminate()
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr.startswith("label-images: interrupted; out.parquet is as it was, and the next run goes on from here")
    assert not (tmp_path / "out.parquet").exists()
    assert (tmp_path / ".out.parquet.state").is_dir()


@pytest.mark.parametrize(
    "arguments",
    [["--workers", "-1"], ["--workers", "many"], ["--unknown"], ["--max-failures", "5x"], ["--max-failures", "101%"]],
)
def test_an_option_that_is_wrong_ends_with_code_2(store: Path, tmp_path: Path, arguments: list[str]) -> None:
    result = run(store, "--out", tmp_path / "out.parquet", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


def test_help_explains_every_option() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for option in main.params:
        assert option.name in ("store", "help") or getattr(option, "help", None), option.name
    assert "0 is one for each core" in " ".join(result.stdout.split())
    assert "Example: label-images" in result.stdout


def test_version_is_the_packages() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).stdout


def test_a_real_process_labels_a_store(store: Path, tmp_path: Path, pack_folder: Path, checkout: Path) -> None:
    done = subprocess.run(
        [*CALL, str(store), "--out", "out.parquet", "--models", str(pack_folder), *WHOLE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.endswith("-> out.parquet\n")
    assert read(tmp_path / "out.parquet").rows.num_rows == 5


@pytest.mark.parametrize("name", ["missing", "mis\nsing", "mis\udcffsing"])
def test_a_real_process_ends_a_bad_call_with_one_line(
    tmp_path: Path, pack_folder: Path, checkout: Path, name: str
) -> None:
    done = subprocess.run(
        [*CALL, str(tmp_path / name), "--out", "out.parquet", "--models", str(pack_folder), *WHOLE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_line(done, 2, ["no such folder"])
