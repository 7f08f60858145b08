"""The page with pictures in a real browser: they show under its own policy, and axe has nothing to say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from audit.report import render
from audit.result import audit_files
from audit.thumbnails import gather
from tests import axe
from tests.audit.tables import make
from tests.report.conftest import Page
from tests.report.test_browser import look

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytest.importorskip("selenium", reason="selenium is not installed")


@pytest.fixture(scope="module")
def with_pictures(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Return a page with two pictures of each kind, of which some files are gone."""
    folder: Path = tmp_path_factory.mktemp("pictures")
    made = make(folder, n=20, skill=1.0)
    for i in range(0, 20, 2):
        path = folder / "store" / f"part {i % 7}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((120, 90, 3), 10 * i, np.uint8)
        path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    document = audit_files(made.labels, made.truth)
    html = render(document, gather(made.labels, folder / "store", 4, truth_file=made.truth))
    path = folder / "audit.html"
    path.write_text(html, encoding="utf-8")
    return Page(document, html, path)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing(browser: Chrome, with_pictures: Page, scheme: str, width: int) -> None:
    look(browser, with_pictures, scheme=scheme, width=width)
    browser.set_script_timeout(240)
    browser.execute_script(axe.script())
    parts = "{include: [['.warning'], ['#pictures']]}"
    found = browser.execute_async_script(f"axe.run({parts}).then(arguments[0])")
    assert axe.violations(found) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_pictures_show_under_the_page_s_own_policy(browser: Chrome, with_pictures: Page) -> None:
    look(browser, with_pictures)
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    browser.get(with_pictures.path.as_uri())
    sizes = browser.execute_script("return [...document.images].map(i => Math.max(i.naturalWidth, i.naturalHeight))")
    assert sizes
    assert set(sizes) == {96}
