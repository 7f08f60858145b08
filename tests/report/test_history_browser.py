"""The page over many audits in a real browser: accessible, alone on the network, whole without scripts, any width."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.history import read
from audit.history_page import render
from audit.result import audit_files, to_json
from tests import axe
from tests.audit.tables import make
from tests.report.conftest import Page
from tests.report.test_browser import look, text

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytest.importorskip("selenium", reason="selenium is not installed")

CASES: dict[str, Sequence[str]] = {
    "many": ["none", "pass", "fail", "inconclusive", "inconclusive"],
    "one": ["none"],
    "none": [],
}


@pytest.fixture(scope="module", params=CASES)
def over_time(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Return the page of each case, with a file that is no audit beside the audits."""
    folder: Path = tmp_path_factory.mktemp("history")
    audits = folder / "audits"
    audits.mkdir()
    (audits / "notes, not an audit.txt").write_text("no")
    document = audit_files(make(folder, n=300).labels)
    for day, verdict in enumerate(CASES[request.param], 1):
        document["options"]["date"] = f"2026-03-{day:02d}"
        document["verdict"]["result"] = verdict
        document["pack"]["digest"] = str(day // 3) * 64
        (audits / f"{day}.json").write_text(to_json(document), encoding="utf-8")
    html = render(read(audits))
    path = folder / "history.html"
    path.write_text(html, encoding="utf-8")
    return Page(document, html, path)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing(browser: Chrome, over_time: Page, scheme: str, width: int) -> None:
    look(browser, over_time, scheme=scheme, width=width)
    browser.set_script_timeout(240)
    # The tables of a kind are all alike, and thousands of cells take minutes.
    browser.execute_script(
        "for (const part of document.querySelectorAll('section details:first-of-type')) part.open = true"
    )
    browser.execute_script(axe.script())
    found = browser.execute_async_script("axe.run(document).then(arguments[0])")
    assert axe.violations(found, least=20) == []


def test_no_request_leaves_the_page(browser: Chrome, over_time: Page) -> None:
    browser.get_log("performance")  # type: ignore[no-untyped-call]
    look(browser, over_time)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if url != over_time.path.as_uri()] == []


def test_the_page_reads_in_full_with_scripts_off_and_under_its_own_policy(browser: Chrome, over_time: Page) -> None:
    look(browser, over_time)
    with_scripts = text(browser)
    margin = browser.execute_script("return getComputedStyle(document.body).marginTop")
    look(browser, over_time, scripts=False)
    assert text(browser) == with_scripts
    assert margin == "0px"


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_is_wider_than_the_window(browser: Chrome, over_time: Page, width: int) -> None:
    look(browser, over_time, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_every_chart_shows_its_numbers(browser: Chrome, over_time: Page) -> None:
    look(browser, over_time)
    empty = browser.execute_script(
        "return [...document.querySelectorAll('figure .plot')].filter(plot =>"
        "![...plot.querySelectorAll('path:not(.rules):not(.renewed)')].some(path => path.getTotalLength() >= 0"
        " && path.getAttribute('d').length > 4)).length"
    )
    assert empty == 0
