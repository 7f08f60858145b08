"""audit-labels: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from audit.cli import main
from tests.audit.tables import Made


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_report_is_two_lines_and_where_it_is(made: Made, tmp_path: Path) -> None:
    page, data = tmp_path / "audit.html", tmp_path / "audit.json"
    done = call("report", made.labels, "--truth", made.truth, "--out", page, "--json", data)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "605 files: 600 labelled, 5 not; truth is known for 600"
    assert lines[1].startswith("No verdict:")
    assert lines[2:] == [f"-> {page}", f"-> {data}"]
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(data.read_text())["schema_version"] == 1


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_one_output_is_enough(option: str, made: Made, tmp_path: Path) -> None:
    assert call("report", made.labels, option, tmp_path / "one").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_options_reach_the_document(made: Made, tmp_path: Path) -> None:
    data = tmp_path / "audit.json"
    call("report", made.labels, "--json", data, "--confidence", "0.9", "--min-cell", "5", "--seed", "3")
    options = json.loads(data.read_text())["options"]
    assert (options["confidence"], options["min_cell"], options["seed"]) == (0.9, 5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{labels}"], "nothing to write"),
        (["{folder}/nowhere.parquet", "--out", "{folder}/a.html"], "no such label table"),
        (["{folder}", "--out", "{folder}/a.html"], "is a folder"),
        (["{truth}", "--out", "{folder}/a.html"], "name the Parquet file that label-images wrote"),
        (["{labels}", "--out", "{folder}/none/a.html"], "does not exist"),
        (["{labels}", "--out", "{labels}"], "is another file of this call"),
        (["{labels}", "--out", "{folder}/a", "--json", "{folder}/a"], "is another file of this call"),
        (["{labels}", "--out", "{folder}/a.html", "--truth", "{folder}/nowhere.csv"], "no such truth file"),
        (["{labels}", "--out", "{folder}/a.html", "--checked", "{folder}/nowhere.csv"], "no such sheet"),
    ],
)
def test_a_bad_call_is_one_line_and_exit_code_2(arguments: list[str], message: str, made: Made, tmp_path: Path) -> None:
    names = {"labels": str(made.labels), "truth": str(made.truth), "folder": str(tmp_path)}
    done = call("report", *(argument.format(**names) for argument in arguments))
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("audit-labels: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
