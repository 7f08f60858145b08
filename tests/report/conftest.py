"""Pages to test, and a browser to open them in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit.records import Document
from audit.report import render
from audit.result import audit_files
from tests.audit.tables import HOSTILE, make

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CASES: dict[str, dict[str, Any]] = {
    "full": {"n": 600, "failures": HOSTILE},
    "small": {"n": 40, "failures": HOSTILE},
    "one image": {"n": 1},
    "all failed": {"n": 0, "failures": HOSTILE},
    "no files": {"n": 0},
    "one class": {"n": 60, "skill": 30.0, "mixes": {"gender": [1.0, 0.0]}},
}


@dataclass(frozen=True)
class Page:
    """A document and the page made of it."""

    document: Document
    html: str
    path: Path


@pytest.fixture(scope="session", params=CASES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Return the page of each case, with truth where there are labels."""
    folder: Path = tmp_path_factory.mktemp("page")
    case = CASES[request.param]
    made = make(folder, **case)
    document = audit_files(made.labels, made.truth if case["n"] else None)
    html = render(document)
    path = folder / "audit.html"
    path.write_text(html, encoding="utf-8")
    return Page(document, html, path)


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
    yield chrome
    chrome.quit()
