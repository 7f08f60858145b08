"""Sheets: refused where they name what is not the store's, cut with an overlap, written back as report reads them."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from audit import population, sheet
from audit.cli import main
from audit.review import run, sheets
from audit.review.store import Store
from labeler.errors import LabelerError
from labeler.taxonomy import COLUMNS
from tests.review.desk import PURPOSE, Desk, Server


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_question_that_nobody_answers_names_the_option(desk: Desk) -> None:
    done = call("review", desk.sheet, "--store", desk.store, "--no-browser", "--port", 0)
    assert (done.exit_code, "--purpose: say what these checks are for" in done.output) == (2, True)


def test_a_missing_extra_is_named_before_anything_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda _: None)
    done = call("review", desk.sheet, "--store", desk.store, "--no-browser", "--port", 0)
    assert done.exit_code == 2
    assert "What are these checks for" not in done.output
    assert "python -m pip install '.[review]'" in done.output


def test_ctrl_c_ends_a_review_well(desk: Desk) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from audit.cli import main; main()"
    words = ["review", desk.sheet, "--store", desk.store, "--purpose", PURPOSE, "--no-browser", "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], stdout=pipe, stderr=pipe, text=True
    ) as process:
        assert process.stdout is not None
        port = int(next(found[1] for line in process.stdout if (found := re.search(r"http://\S+:(\d+)/open/", line))))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        connection.getresponse().read()
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def rename(desk: Desk, name: str) -> None:
    """Put another path into the sheet's third row."""
    rows = pd.read_csv(desk.sheet, dtype=str, keep_default_na=False)
    rows.loc[1, "path"] = name
    rows.to_csv(desk.sheet, index=False)


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", r"\x2e\x2e/secret.jpg", "part 0/../../x.jpg"])
def test_a_sheet_that_names_a_file_outside_the_store_is_refused(desk: Desk, name: str) -> None:
    rename(desk, name)
    done = call("review", desk.sheet, "--store", desk.store, "--purpose", PURPOSE, "--no-browser", "--port", 0)
    assert done.exit_code == 2
    assert "row 3" in done.output
    assert "no path inside the store" in done.output
    assert len(done.output.splitlines()) == 1


def test_a_sheet_with_a_link_out_of_the_store_is_refused(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = pd.read_csv(desk.sheet)["path"][4]
    (desk.store / path).unlink()
    (desk.store / path).symlink_to(tmp_path / "secret.jpg")
    done = call("review", desk.sheet, "--store", desk.store, "--purpose", PURPOSE, "--no-browser", "--port", 0)
    assert (done.exit_code, "row 6" in done.output) == (2, True)
    assert "leads out of the store; put the file itself in its place" in done.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--purpose", "x"], "--store"),
        (["--store", "nowhere", "--purpose", "x"], "no such folder"),
        (["--store", "STORE", "--purpose", " "], "--purpose"),
        (["--store", "STORE", "--purpose", "x", "--host", "0.0.0.0"], "name one address"),
        (["--store", "STORE", "--purpose", "x", "--host", "192.0.2.1"], "192.0.2.1"),
        (["--store", "STORE", "--purpose", "x", "--labels", "nowhere.parquet"], "no such label table"),
        (["--store", "STORE", "--purpose", "x", "--answers", "SHEET"], "--answers"),
        (["--export", "SHEET"], "no such file of answers"),
        (["--overlap", "3"], "--cut"),
        (["--cut", "a.csv"], "at least twice"),
        (["--cut", "a.csv", "--cut", "b/A.csv"], "another name"),
        (["--cut", "a.csv", "--cut", "adjudicated.csv"], "a meaning of its own"),
        (["--cut", "a.csv", "--cut", "b.csv", "--overlap", "21"], "has 20 images"),
    ],
)
def test_a_call_that_cannot_be_carried_out_is_one_line(
    desk: Desk, arguments: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    (desk.folder / "b").mkdir()
    known = {"STORE": str(desk.store), "SHEET": str(desk.sheet)}
    before = desk.sheet.read_text()
    done = call("review", desk.sheet, "--no-browser", "--port", 0, *(known.get(word, word) for word in arguments))
    assert (done.exit_code, len(done.output.splitlines()), reason in done.output) == (2, 1, True), done.output
    assert desk.sheet.read_text() == before


def test_the_purpose_is_asked_for_and_kept(desk: Desk) -> None:
    arguments = ["review", str(desk.sheet), "--store", str(desk.store), "--no-browser", "--port", "0"]
    for given in ("\n", ""):
        done = CliRunner().invoke(main, arguments, input=given)
        assert "What are these checks for" in done.output
        assert done.exit_code != 0
    with Server([desk.sheet], desk.store):
        pass
    assert desk.rows("SELECT text FROM purposes") == [(PURPOSE,)]


def test_a_sheet_without_its_table_or_pack_says_what_to_give(desk: Desk) -> None:
    desk.made.labels.rename(desk.folder / "moved.parquet")
    done = call("review", desk.sheet, "--store", desk.store, "--purpose", PURPOSE, "--no-browser", "--port", 0)
    assert (done.exit_code, "--labels" in done.output) == (2, True)


def test_parts_cut_from_a_sheet_are_together_the_whole_sample(desk: Desk, tmp_path: Path) -> None:
    parts = [tmp_path / "Anna.csv", tmp_path / "Ben.csv", tmp_path / "Chen.csv"]
    done = call("review", desk.sheet, *(word for part in parts for word in ("--cut", part)), "--overlap", 5)
    assert done.exit_code == 0, done.output
    whole = pd.read_csv(desk.sheet, dtype=str).set_index("path")
    read = [pd.read_csv(part, dtype=str).set_index("path") for part in parts]
    common = set.intersection(*(set(rows.index) for rows in read))
    assert len(common) == 5
    assert sorted(len(rows) for rows in read) == [10, 10, 10]
    assert set.union(*(set(rows.index) for rows in read)) == set(whole.index)
    for part, rows in zip(parts, read, strict=True):
        assert set(rows["annotator"]) == {part.stem}
        pd.testing.assert_frame_equal(
            rows[["stratum", "inclusion_probability"]], whole.loc[rows.index, ["stratum", "inclusion_probability"]]
        )
    assert len({whole["stratum"][path] for path in common}) > 1


def test_a_sheet_with_answers_is_not_cut(desk: Desk, tmp_path: Path) -> None:
    rows = pd.read_csv(desk.sheet, dtype=str, keep_default_na=False)
    rows.loc[0, "gender"] = "male"
    rows.to_csv(desk.sheet, index=False)
    done = call("review", desk.sheet, "--cut", tmp_path / "a.csv", "--cut", tmp_path / "b.csv")
    assert (done.exit_code, "already holds answers" in done.output) == (2, True)


def test_answers_that_a_sheet_brings_along_are_kept_and_come_out_again(desk: Desk) -> None:
    rows = pd.read_csv(desk.sheet, dtype=str, keep_default_na=False)
    rows.loc[0, [*COLUMNS.values(), "annotator", "note"]] = ["20-29", "male", "White", "Anna", '=1+"2"']
    rows.loc[1, "gender"] = "female"
    rows.to_csv(desk.sheet, index=False)
    for _ in range(2):
        with run.opened([desk.sheet], None, None) as (review, _known):
            lines = [(line.path, line.annotator, *line.labels.values()) for line in review.lines()]
            state = review.state("Anna")
            assert (state["done"], state["waiting_for"]) == (1, ["Anna"])
    assert len(lines) == len(rows)
    assert lines[0] == (rows.loc[0, "path"], "Anna", "20-29", "male", "White")
    assert lines[1][1:] == ("", None, "female", None)
    assert desk.rows("SELECT count(*) FROM answers") == [(2,)]


def test_the_order_depends_on_nothing_but_paths_and_seed(desk: Desk) -> None:
    with run.opened([desk.sheet], None, None) as (review, _known):
        first = list(review.numbers)
    rows = pd.read_csv(desk.sheet, dtype=str, keep_default_na=False)
    rows.sort_values(["stratum", "path"]).to_csv(desk.sheet, index=False)
    with run.opened([desk.sheet], None, None) as (review, _known):
        assert list(review.numbers) == first
    assert first != sorted(first)
    strata = rows.set_index("path").loc[first, "stratum"].tolist()
    assert strata != sorted(strata)


def test_what_is_exported_is_what_report_reads(desk: Desk, tmp_path: Path) -> None:
    store = Store(desk.answers)
    store.close()
    tables = sheets.open_sheets([desk.sheet])
    given = sheets.gather(tables, desk.made.classes)
    truth = desk.truth
    filled = [sheets.Line(line.path, line.design, "Anna", truth[line.path], "a, note") for line in given.lines]
    desk.sheet.write_text(sheets.written(filled), encoding="utf-8")
    checked, history = tmp_path / "checked.csv", tmp_path / "history.json"
    done = call("review", desk.sheet, "--export", checked, "--history", history)
    assert done.exit_code == 0, done.output
    assert "20 images answered, of 20; by Anna" in done.output
    read = sheet.read([checked], desk.made.labels, population.read(desk.made.labels))
    assert len(read.rows) == 20
    assert all((codes >= 0).all() for codes in read.codes.values())
    assert np.isclose((1 / pd.read_csv(checked)["inclusion_probability"]).sum(), 40)
    document = json.loads(history.read_text(encoding="utf-8"))
    assert {event["annotator"] for event in document["answers"]} == {"Anna"}


def test_answers_in_the_classes_of_another_pack_are_not_mixed(desk: Desk) -> None:
    with run.opened([desk.sheet], None, None) as (review, _known):
        review.store.set("classes", "{}")
    with pytest.raises(LabelerError, match="another pack"), run.opened([desk.sheet], None, None):
        pass
