"""Desks to work at, servers, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: extra [review]")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: extra [review]")

from tests.review.desk import Desk, Server, furnish

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a store of 40 pictures of which 20 are on the sheet."""
    return furnish(tmp_path)


@pytest.fixture
def server(desk: Desk) -> Iterator[Server]:
    """Return a running server of that desk."""
    with Server([desk.sheet], desk.store) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start headless Chromium, or skip the test where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """Return a browser of one's own, with its own cookies and storage."""
    made = chromium.new_context(viewport={"width": 1280, "height": 800})
    made.set_default_timeout(20_000)
    yield made
    made.close()
