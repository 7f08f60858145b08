"""The Markdown summary: verdict, shares and what is short, and names that stay names."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from audit.cli import main
from audit.markdown import BREAK, escaped, render
from audit.records import Document
from audit.result import Options, audit_files, to_json
from audit.text import percent, shown
from tests.audit.tables import Made, make

EVIL = '"><script>alert(1)</script> @everyone #1 [x](http://a.b) www.c.d `code` | **b** :smile:\n# head\u202e'


@pytest.fixture(scope="module")
def document(made: Made) -> Document:
    return audit_files(made.labels)


def test_it_says_the_verdict_the_grade_and_the_next_step(document: Document) -> None:
    text = render(document)
    assert text.startswith("## Audit of faces: no verdict\n")
    assert "600 of them labelled" in text
    assert "The shares are uncorrected" in text
    assert "audit-labels sample labels.parquet" in text


def test_it_names_what_is_short_by_how_many_and_how_sure(document: Document) -> None:
    text = render(document)
    wanted = next(
        record
        for record in document["plan"]
        if (record["attribute"], record["class"]) == ("ethnicity", "Middle Eastern")
    )
    line = next(line for line in text.splitlines() if line.startswith("- Middle Eastern faces are short"))
    assert f"short by about {wanted['needed']:,} images ({wanted['low']:,} to {wanted['high']:,})" in line


def test_every_share_of_an_attribute_is_in_its_table_with_its_interval(document: Document) -> None:
    rows = [line for line in render(document).splitlines() if line.startswith("|")]
    records = [r for r in document["shares"] if r["grade"] == "raw" and "×" not in r["attribute"]]
    for record in records:
        row = next(row for row in rows if row.startswith(f"| {escaped(record['class'].replace('_', ' '))} |"))
        assert (percent(record["value"]) if record["status"] == "ok" else record["status"]) in row
    assert len(rows) == len(records) + 6


def test_no_class_is_called_short_that_may_be_on_target(tmp_path: Path) -> None:
    made = make(tmp_path, n=60, mixes={"gender": [0.5, 0.5]})
    text = render(audit_files(made.labels))
    assert "ale faces are short" not in text


def test_a_store_without_labels_is_said_in_words(tmp_path: Path) -> None:
    text = render(audit_files(make(tmp_path, n=0, failures=["a.jpg"]).labels))
    assert "Nothing can be said of a store without labels." in text
    assert "mend them, and label the store again" in text


def test_the_same_document_gives_the_same_text(document: Document) -> None:
    assert render(document) == render(json.loads(to_json(document)))


def test_hostile_names_make_no_markup_no_mention_and_no_link(document: Document) -> None:
    changed = json.loads(to_json(document).replace("White", json.dumps(EVIL)[1:-1]))
    changed["store"]["name"] = changed["pack"]["name"] = EVIL
    changed["verdict"]["reasons"] = [EVIL]
    text = render(changed)
    assert "<" not in text
    assert "\u202e" not in text
    assert "@" not in text
    assert "http:" not in text
    assert "www" not in text
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith(("## Audit of ", "### What "))
    ]
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in tables} == {6}


@given(st.text())
def test_an_escaped_text_reads_as_it_was(text: str) -> None:
    found = escaped(text)
    assert html.unescape(found.replace(BREAK, "")) == shown(text.replace("\N{NO-BREAK SPACE}", " "))
    assert not re.search(r"[`*_<>|~\[\]\\$@]|:\S|&(?!#\d+;)|(?<!&)#", found)


def test_the_command_prints_it_alone(made: Made) -> None:
    done = CliRunner().invoke(main, ["report", str(made.labels), "--markdown", "-"])
    assert done.exit_code == 0
    assert done.stdout == render(audit_files(made.labels))
    assert "605 files" in done.stderr


def test_the_command_writes_it_beside_the_others_with_the_date(made: Made, tmp_path: Path) -> None:
    arguments = ["report", str(made.labels), "--date", "2026-11-20", "--markdown", str(tmp_path / "audit.md")]
    done = CliRunner().invoke(main, [*arguments, "--json", str(tmp_path / "audit.json")])
    assert done.exit_code == 0
    document = audit_files(made.labels, None, Options(date="2026-11-20"))
    assert (tmp_path / "audit.md").read_text(encoding="utf-8") == render(document)
    assert json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))["options"]["date"] == "2026-11-20"
