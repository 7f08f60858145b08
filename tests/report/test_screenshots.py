"""Pictures of the page for people to look at: phone, laptop and print, light and dark, and the odd stores.

They are written where ``REPORT_SCREENSHOTS`` names a folder, and are kept by CI::

    REPORT_SCREENSHOTS=/tmp/screenshots python -m pytest tests/report/test_screenshots.py
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.report.conftest import Page
from tests.report.test_browser import look

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytest.importorskip("selenium", reason="selenium is not installed")

SCREENS = {"phone": 360, "laptop": 1280, "large": 3840}
VIEWS = [
    *[("checked", screen, scheme) for screen in ("phone", "laptop") for scheme in ("light", "dark")],
    ("checked", "large", "light"),
    ("full", "laptop", "light"),
    *[(name, "laptop", "light") for name in ("no files", "all failed", "one image", "one class")],
]


@pytest.fixture(scope="session")
def folder() -> Path:
    """Return the folder of the screenshots, or skip the test where none is named."""
    named = os.environ.get("REPORT_SCREENSHOTS")
    if not named:
        pytest.skip("REPORT_SCREENSHOTS names no folder")
    path = Path(named)
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize(("name", "screen", "scheme"), VIEWS)
def test_a_screenshot_shows_the_whole_page(
    browser: Chrome, make_page: Callable[[str], Page], folder: Path, name: str, screen: str, scheme: str
) -> None:
    width = SCREENS[screen]
    look(browser, make_page(name), scheme=scheme, width=width)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, 16_000), "scale": 1}
    taken = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip}
    )
    picture = base64.b64decode(taken["data"])
    (folder / f"{name.replace(' ', '-')}-{screen}-{scheme}.png").write_bytes(picture)
    assert struct.unpack(">II", picture[16:24]) == (width, min(height, 16_000))


@pytest.mark.parametrize("name", ["checked", "no files"])
def test_print_is_a_set_of_a4_pages(browser: Chrome, make_page: Callable[[str], Page], folder: Path, name: str) -> None:
    look(browser, make_page(name), scheme="light")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": False})
    pdf = base64.b64decode(printed["data"])
    path = folder / f"{name.replace(' ', '-')}-print.pdf"
    path.write_bytes(pdf)
    assert pdf.startswith(b"%PDF")
    reader = pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed, so that the PDF stays as it is")
    document = reader.PdfDocument(str(path))
    assert len(document) <= 20
    for number, sheet in enumerate(document, start=1):
        assert (round(sheet.get_width()), round(sheet.get_height())) == (595, 842)
        sheet.render(scale=1.5).to_pil().save(path.with_name(f"{path.stem}-{number:02d}.png"))
