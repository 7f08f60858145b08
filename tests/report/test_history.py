"""The page over many audits: in the order of their times, nothing lost, nothing fatal, small whatever the number."""

from __future__ import annotations

import copy
import json
import os
import re
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from audit.cli import main
from audit.history import HistoryError, Key, Share, describe, read
from audit.history_page import render
from audit.records import Document
from audit.result import audit_files, to_json
from audit.text import percent, shown
from tests.audit.tables import make
from tests.report.conftest import Outline

EVIL = '"><script>alert(1)</script>\u202e\n.json'


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Return an audit with three attributes and all their 126 intersections."""
    return audit_files(make(tmp_path_factory.mktemp("history"), n=1500).labels)


def night(
    document: Document, day: str | None, *, shift: float = 0.0, pack: str = "1", verdict: str = "none"
) -> Document:
    """Return an audit as of another day, with every share moved."""
    made = copy.deepcopy(document)
    made["options"]["date"] = day
    made["pack"]["version"], made["pack"]["digest"] = pack, pack * 64
    made["verdict"]["result"] = verdict
    for record in made["shares"]:
        if record["status"] == "ok":
            for end in ("value", "low", "high"):
                record[end] = float(np.clip(record[end] + shift, 0, 1))
    return made


def put(folder: Path, name: str, document: Document) -> Path:
    """Write an audit into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(to_json(document), encoding="utf-8")
    return folder


@pytest.fixture
def nights(tmp_path: Path, document: Document) -> Path:
    """Return a folder of twelve audits, the pack changed after the sixth."""
    folder = tmp_path / "audits"
    for n in range(12):
        shifted = night(document, f"2026-03-{n + 1:02d}", shift=0.002 * n, pack="1" if n < 6 else "2")
        put(folder, f"{12 - n:02d}.json", shifted)
    return folder


def test_audits_are_in_the_order_of_their_own_times(nights: Path) -> None:
    history = read(nights)
    assert [audit.file for audit in history.audits] == [f"{n:02d}.json" for n in range(12, 0, -1)]
    assert {audit.source for audit in history.audits} == {"audit"}


def test_a_time_comes_from_the_audit_then_the_name_then_the_file(tmp_path: Path, document: Document) -> None:
    folder = put(tmp_path / "a", "2026-01-05.json", night(document, "2026-01-09T06:50"))
    put(folder, "night-20260103-0630.json", night(document, None))
    put(folder, "20261399.json", night(document, None))
    os.utime(folder / "20261399.json", (1_767_312_000, 1_767_312_000))
    found = [(audit.source, f"{audit.when:%m-%d %H:%M}") for audit in read(folder).audits]
    assert found == [("file", "01-02 00:00"), ("name", "01-03 06:30"), ("audit", "01-09 06:50")]


def test_what_is_no_audit_is_named_and_never_fatal(nights: Path, document: Document) -> None:
    (nights / "broken.json").write_text("{")
    (nights / "deep.json").write_text("[" * 100_000)
    (nights / "other.json").write_text("[1]")
    (nights / "newer.json").write_text('{"schema_version": 99}')
    (nights / "labels.parquet").write_bytes(b"PAR1")
    (nights / "folder").mkdir()
    (nights / "gone.json").symlink_to("nowhere")
    (nights / "binary.json").write_bytes(b"\xff\xfe\x00")
    for part in ("store", "shares", "verdict", "options", "pack"):
        put(nights, f"without {part}.json", {key: value for key, value in document.items() if key != part})
    wrong = copy.deepcopy(document)
    wrong["shares"][0]["value"] = "<b>"
    put(nights, "wrong.json", wrong)
    history = read(nights)
    assert len(history.audits) == 12
    assert len(history.passed_over) == 14
    html = render(history)
    assert all(name in html for name, _ in history.passed_over)
    assert str(nights) not in html
    assert f"and {14 - 10} more files" in describe(history)


def test_no_audit_and_one_audit_are_said_in_words(tmp_path: Path, document: Document) -> None:
    (tmp_path / "empty").mkdir()
    assert "No audit lies in this folder" in render(read(tmp_path / "empty"))
    one = render(read(put(tmp_path / "one", "a.json", night(document, "2026-02-01"))))
    assert "A change over time needs two." in one
    assert "Since the audit before" not in one
    empty = audit_files(make(tmp_path, n=0, failures=["a.jpg"]).labels)
    nothing = render(read(put(tmp_path / "nothing", "a.json", empty)))
    assert "0 of 1" in nothing


def test_a_folder_that_is_none_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="nowhere: no such folder"):
        read(tmp_path / "nowhere")
    done = CliRunner().invoke(main, ["history", str(tmp_path / "nowhere"), "--out", str(tmp_path / "h.html")])
    assert done.exit_code == 2


def test_every_share_of_every_night_is_on_the_page(nights: Path) -> None:
    history = read(nights)
    texts = {text.strip() for _, text in Outline(render(history)).texts}
    for audit in history.audits:
        for share in audit.shares.values():
            if share.status == "ok":
                value, low, high = (percent(end).split()[0] for end in (share.value, share.low, share.high))
                assert {value, f"{low}–{high}"} <= texts
            else:
                assert share.status in texts


def test_a_change_of_the_pack_and_of_the_verdict_is_told(nights: Path, document: Document) -> None:
    put(nights, "x.json", night(document, "2026-03-13", pack="2", verdict="fail"))
    put(nights, "y.json", night(document, "2026-03-14", pack="2", verdict="fail"))
    html = render(read(nights))
    assert "2026-03-07: from test pack 1 (111111111111) to test pack 2 (222222222222)." in html
    assert "The last 2 audits say so, since 2026-03-13. Before that, on 2026-03-12: no verdict." in html
    assert 'class="renewed"' in html


def test_lines_do_not_run_across_a_change_of_the_pack_or_a_withheld_number(tmp_path: Path, document: Document) -> None:
    folder = tmp_path / "audits"
    days = [night(document, f"2026-03-0{n}", pack="1" if n < 4 else "2") for n in range(1, 8)]
    for record in days[1]["shares"]:
        if record["class"] == "White":
            record.update(value=None, low=None, high=None, status="suppressed", reason="fewer than 10 images")
    for n, day in enumerate(days):
        put(folder, f"{n}.json", day)
    chart = re.search(r"<b>White</b>.*?</figure>", render(read(folder)), re.DOTALL)
    assert chart is not None
    line, dots = (re.search(rf'class="{name}" d="([^"]*)"', chart[0]) for name in ("line", "lone"))
    assert line is not None
    assert line[1].count("M") == 1
    assert dots is not None
    assert dots[1].count("M") == 2


def test_hostile_names_are_shown_as_text(tmp_path: Path, document: Document) -> None:
    text = to_json(night(document, "2026-02-01")).replace("White", json.dumps(EVIL)[1:-1])
    evil = json.loads(text)
    evil["store"]["name"] = evil["pack"]["name"] = evil["verdict"]["basis"] = EVIL
    folder = put(tmp_path / "a", EVIL.replace("/", "_"), evil)
    (folder / f"x{EVIL.replace('/', '_')}").write_text("no")
    html = render(read(folder))
    assert "<script" not in html
    assert "\u202e" not in html
    assert shown(EVIL).replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;") in html


def test_a_name_that_is_no_text_can_be_written(tmp_path: Path, document: Document) -> None:
    folder = put(tmp_path / "a", "a.json", night(document, "2026-02-01"))
    (folder / "b\udce9.json").write_text("no")
    done = CliRunner().invoke(main, ["history", str(folder), "--out", str(tmp_path / "h.html")])
    assert done.exit_code == 0
    assert r"b\udce9.json" in (tmp_path / "h.html").read_text(encoding="utf-8")


def test_the_same_folder_gives_the_same_bytes(nights: Path) -> None:
    assert render(read(nights)) == render(read(nights))


def test_it_is_small_and_alone(nights: Path) -> None:
    html = render(read(nights))
    assert len(html.encode()) <= 500_000
    outline = Outline(html)
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {tag for tag, _ in outline.elements}
    for tag, attributes in outline.elements:
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
    assert "default-src 'none'; style-src 'sha256-" in html


def test_a_year_of_nights_is_small_too(tmp_path: Path, document: Document) -> None:
    history = read(put(tmp_path / "a", "a.json", night(document, "2026-01-01")))
    (only,) = history.audits
    rng = np.random.default_rng(0)

    def moved(n: int) -> dict[Key, Share]:
        by = rng.normal(0, 0.01, len(only.shares))
        return {
            key: replace(
                share, **{end: min(max(getattr(share, end) + step, 0.0), 1.0) for end in ("value", "low", "high")}
            )
            for step, (key, share) in zip(by, only.shares.items(), strict=True)
        }

    year = tuple(replace(only, when=only.when + timedelta(days=n), shares=moved(n)) for n in range(365))
    assert len(render(replace(history, audits=year)).encode()) <= 500_000


def test_it_has_an_outline_and_words_for_each_chart(nights: Path) -> None:
    html = render(read(nights))
    outline = Outline(html)
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "")[1:] for a in outline.named("a")} <= set(ids)
    charts = [svg for svg in outline.named("svg") if svg.get("role") == "img"]
    assert len(charts) == len(outline.named("figure")) == 1 + 9 + 2 + 7
    for chart in charts:
        for part in (chart["aria-labelledby"] or "").split():
            assert re.search(rf'id="{part}">[^<]+<', html), part
    assert len(outline.named("caption")) == len(outline.named("table"))
    assert all(heading.get("scope") in ("row", "col") for heading in outline.named("th"))


def test_the_command_writes_the_page_and_names_what_it_passed_over(nights: Path, tmp_path: Path) -> None:
    (nights / "notes.txt").write_text("no")
    done = CliRunner().invoke(main, ["history", str(nights), "--out", str(tmp_path / "history.html")])
    assert done.exit_code == 0
    assert "12 audits in audits." in done.output
    assert "passed over: notes.txt (no JSON file by its name)" in done.output
    assert (tmp_path / "history.html").read_text(encoding="utf-8") == render(read(nights))
