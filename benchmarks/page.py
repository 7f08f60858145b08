"""How long a page takes to open in headless Chromium: ``python benchmarks/page.py audit.html …``.

The figure is the browser's own: from the start of the navigation to the end of loading and a forced layout, the least
of five times, since a busy machine only ever adds to it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

BOUND = 1.0
"""Seconds."""
TIMES = 5
OPENED = """
document.documentElement.style.width = "1px"; document.body.getBoundingClientRect();
const start = performance.now();
document.documentElement.style.width = ""; document.body.getBoundingClientRect();
return performance.getEntriesByType("navigation")[0].loadEventEnd + performance.now() - start;
"""
"""Milliseconds to load the page and to lay it out once more."""


def opening(paths: list[Path]) -> list[float]:
    """Return the seconds that each page takes to open, the least of five times."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("headless=new", "no-sandbox", "disable-gpu"):
        options.add_argument(f"--{flag}")
    chrome = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or ""))
    found = []
    for path in paths:
        seconds = []
        for _ in range(TIMES):
            chrome.get(path.resolve().as_uri())
            seconds.append(float(chrome.execute_script(OPENED)) / 1000)
        found.append(min(seconds))
    chrome.quit()
    return found


def main(names: list[str]) -> int:
    """Print the figure of each page beside its bound."""
    paths = [Path(name) for name in names]
    results = opening(paths)
    for path, seconds in zip(paths, results, strict=True):
        verdict = "PASS" if seconds < BOUND else "FAIL"
        print(f"{path.name}: {path.stat().st_size:,} bytes open in {seconds:.2f} s of {BOUND:.0f} s: {verdict}")
    return int(max(results, default=0.0) >= BOUND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
