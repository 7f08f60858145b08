"""Pages to test, a browser to open them in, and what a page is made of."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit import sheet
from audit.records import Document
from audit.report import render
from audit.result import Options, audit_files, to_json
from labeler.taxonomy import ATTRIBUTES, COLUMNS
from tests.audit.tables import HOSTILE, Made, make

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CASES: dict[str, dict[str, Any]] = {
    "full": {"n": 600, "failures": HOSTILE},
    "checked": {"n": 1500},
    "small": {"n": 40, "failures": HOSTILE},
    "one image": {"n": 1},
    "all failed": {"n": 0, "failures": HOSTILE},
    "no files": {"n": 0},
    "one class": {"n": 60, "skill": 30.0, "mixes": {"gender": [1.0, 0.0]}},
}
PATIENCE = 900
VOID = ("meta", "line", "rect", "circle", "path", "img")


@dataclass(frozen=True)
class Page:
    """A document and the page made of it."""

    document: Document
    html: str
    path: Path


class Outline(HTMLParser):
    """What a page is made of: its elements with their attributes, and the text in each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.cells: dict[str, list[str]] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            place = attributes.get("data-at")
            self._open.append((f"{tag}.{attributes.get('class')}#{attributes.get('id')}", place))
            if place:
                self.cells.setdefault(place, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop()[0].split(".")[0] == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((tuple(name for name, _ in self._open), data))
        for _, place in self._open:
            if place:
                self.cells[place][-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def make_page(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Page]:
    """Return a function that makes the page of a case, once."""

    def folder_of(name: str) -> Path:
        folder: Path = tmp_path_factory.mktemp(re.sub(r"\W", "-", name))
        return folder

    @cache
    def made(name: str) -> Page:
        folder = folder_of(name)
        table = make(folder, **CASES[name])
        if name == "checked":
            checked = fill(table, folder / "sheet.csv", 400)
            before = make(folder_of("before"), n=1200, seed=2)
            earlier = before.labels.with_name("audit.json")
            earlier.write_text(to_json(audit_files(before.labels)), encoding="utf-8")
            document = audit_files(
                table.labels,
                None,
                Options(margin=0.05),
                checked=[checked],
                previous=earlier,
                previous_labels=before.labels,
            )
        else:
            document = audit_files(table.labels, table.truth if CASES[name]["n"] else None)
        html = render(document)
        path = folder / "audit.html"
        path.write_text(html, encoding="utf-8")
        return Page(document, html, path)

    return made


def fill(table: Made, path: Path, n: int) -> Path:
    """Draw a sample of a table, fill its sheet with what is true, and write it."""
    rows = list(csv.DictReader(io.StringIO(sheet.draw(table.labels, n).text)))
    for row in rows:
        image = int(re.sub(r"\D", "", row["path"].split("/")[1]))
        for name in ATTRIBUTES:
            row[COLUMNS[name]] = table.classes[name][table.true[name][image]]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session", params=CASES)
def page(request: pytest.FixtureRequest, make_page: Callable[[str], Page]) -> Page:
    """Return the page of each case, with truth where there are labels."""
    return make_page(request.param)


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    """Start headless Chromium, or skip the test where there is none."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "no-first-run"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    # Axe looks at each word of a page with 126 intersections; a busy machine takes minutes for that.
    chrome.set_script_timeout(PATIENCE)
    executor = chrome.command_executor
    assert not isinstance(executor, str)
    executor.client_config.timeout = PATIENCE
    yield chrome
    chrome.quit()
