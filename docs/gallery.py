"""Make the pictures of the gallery: real pages of a store that exists as numbers only, and of the sample store.

Call it as ``python -m docs.gallery docs/gallery``; it needs the extra ``dev``, chromium and chromedriver. The label
tables are drawn from a seed and stand for no picture and no person. The faces on the page with thumbnails are those of
the sample store, which is in the public domain.
"""

from __future__ import annotations

import base64
import csv
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from click.testing import CliRunner
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from audit import run
from audit.result import Options
from docs.sample_store import make as make_sample_store
from labeler import __version__, table
from labeler.cli import main as label_images
from labeler.taxonomy import ATTRIBUTES, COLUMNS, FAIRFACE

Codes = Mapping[str, npt.NDArray[np.int64]]

MIX: Mapping[str, tuple[float, ...]] = {
    "age": (0.02, 0.09, 0.12, 0.27, 0.22, 0.13, 0.08, 0.05, 0.02),
    "gender": (0.47, 0.53),
    "ethnicity": (0.19, 0.15, 0.15, 0.15, 0.09, 0.14, 0.13),
}
"""Shares of the classes in the store, as people would see them."""
SKILL: Mapping[str, float] = {"age": 2.1, "gender": 3.2, "ethnicity": 2.6}
"""How sure the classifier is of the class that is true."""
YEARS = (1.0, 6.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0)
NIGHTS = 10
CHECKED = 400


@dataclass(frozen=True)
class Store:
    """A label table and what people would say of its images."""

    labels: Path
    true: Codes
    paths: list[str]

    def answer(self, sheet: Path) -> None:
        """Fill a sheet as people would."""
        with sheet.open(encoding="utf-8", newline="") as stream:
            lines = list(csv.DictReader(stream))
        places = {path: place for place, path in enumerate(self.paths)}
        for line in lines:
            for name in ATTRIBUTES:
                line[COLUMNS[name]] = FAIRFACE.classes[name][int(self.true[name][places[line["path"]]])]
        with sheet.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)


def generated(folder: Path, images: int, *, more: float = 0.0, version: str = "1.0.0", seed: int = 7) -> Store:
    """Write a label table of images that do not exist.

    Parameters
    ----------
    folder : Path
        Where it goes.
    images : int
        Labelled images; some files that were not labelled come on top.
    more : float
        Share by which Southeast Asian faces have been added.
    version : str
        Of the pack.
    seed : int
        Of the draw.
    """
    rng = np.random.default_rng(seed)
    info = table.TableInfo(
        "generated", version, version[0] * 64, "1", "portraits", __version__, {"face": "auto"}, dict(FAIRFACE.classes)
    )
    true, probabilities = {}, {}
    for name in ATTRIBUTES:
        mix = np.array(MIX[name])
        if name == "ethnicity":
            mix[4] += more
        true[name] = rng.choice(len(mix), images, p=mix / mix.sum()).astype(np.int64)
        logits = rng.normal(size=(images, len(mix))) + SKILL[name] * np.eye(len(mix))[true[name]]
        odds = np.exp(1.3 * logits)
        probabilities[name] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    paths = [f"{('street', 'studio', 'archive')[i % 3]}/{i:06d}.jpg" for i in range(images)]
    _write(folder / "labels.parquet", info, paths, probabilities, rng.integers(0, 2**63, images).astype(np.uint64))
    return Store(folder / "labels.parquet", true, paths)


def _write(path: Path, info: table.TableInfo, paths: list[str], probabilities: Mapping[str, Any], hashes: Any) -> None:
    failed = [f"archive/scan {i:03d}.jpg" for i in range(len(paths) // 60)]
    none: list[None] = [None] * len(failed)
    columns: dict[str, list[Any]] = {
        "path": [*paths, *failed],
        "status": ["ok"] * len(paths) + ["no_face" if i % 4 else "corrupt" for i in range(len(failed))],
        "error": [None] * len(paths) + [None if i % 4 else "jpeg: the file breaks off" for i in range(len(failed))],
        "age": [*(probabilities["age"] @ np.array(YEARS)).tolist(), *none],
        "phash": [*hashes.tolist(), *none],
    }
    for name in ATTRIBUTES:
        best = probabilities[name].argmax(axis=1)
        columns[COLUMNS[name]] = [*(info.classes[name][code] for code in best), *none]
        columns[f"{name}_confidence"] = [*probabilities[name].max(axis=1).tolist(), *none]
        columns[f"{name}_probabilities"] = [*probabilities[name].tolist(), *none]
    schema = table.schema(info.classes, info)
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(len(columns["path"]), field.type)
        for field in schema
    ]
    table.write(path, pa.Table.from_arrays(arrays, schema=schema).sort_by("path").to_batches(), info)


def audit_page(folder: Path) -> Path:
    """Return the page of one audit with a checked sample."""
    store = generated(folder, 3000)
    sheet = folder / "sheet.csv"
    run.sample(store.labels, CHECKED, sheet)
    store.answer(sheet)
    page = folder / "audit.html"
    run.write(store.labels, None, page, None, Options(margin=0.05, date="2026-11-22"), checked=[sheet])
    return page


def history_page(folder: Path) -> Path:
    """Return the page over ten audits, of which every third has a checked sample."""
    audits = folder / "audits"
    audits.mkdir()
    for night in range(NIGHTS):
        store = generated(folder, 1500 + 150 * night, more=0.008 * night, version="1.0.0" if night < 6 else "2.0.0")
        sheet = folder / "sheet.csv"
        checked = night % 3 == 0
        if checked:
            run.sample(store.labels, CHECKED, sheet)
            store.answer(sheet)
        options = Options(
            margin=0.08, date=(date(2026, 11, 13) + timedelta(days=night)).isoformat(), target=_target(folder)
        )
        run.write(store.labels, None, None, audits / f"{night:02d}.json", options, checked=[sheet] if checked else [])
    page = folder / "history.html"
    run.write_history(audits, page)
    return page


def _target(folder: Path) -> str:
    """Return a target that speaks of gender and ethnicity only."""
    path = folder / "target.csv"
    lines = [
        f"{name},{label},{1 / len(FAIRFACE.classes[name])!r}"
        for name in ("gender", "ethnicity")
        for label in FAIRFACE.classes[name]
    ]
    path.write_text("\n".join(["attribute,class,share", *lines]) + "\n", encoding="utf-8")
    return str(path)


def thumbnails_page(folder: Path) -> Path:
    """Return the page of the sample store with pictures on it."""
    store, labels, page = make_sample_store(folder), folder / "labels.parquet", folder / "sample.html"
    done = CliRunner().invoke(label_images, [str(store), "--out", str(labels)])
    if done.exit_code:
        raise SystemExit(done.output)
    run.write(labels, None, page, None, thumbnails=4, store=store)
    return page


def photograph(page: Path, out: Path, *, width: int, height: int, dark: bool = False, at: str = "body") -> None:
    """Take a picture of a page from an element on."""
    options = webdriver.ChromeOptions()
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        raise SystemExit("chromium and chromedriver are not installed")
    options.binary_location = binary
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(page.as_uri())
        top = browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect().top", at)
        clip = {"x": 0, "y": max(0, top - 24 * (at != "body")), "width": width, "height": height, "scale": 1}
        shot = browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip}
        )
    finally:
        browser.quit()
    out.write_bytes(base64.b64decode(shot["data"]))


def main(gallery: Path) -> None:
    """Write every picture of the gallery into a folder."""
    gallery.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / part for part in ("audit", "history", "sample")]
        for folder in folders:
            folder.mkdir()
        audit, history, sample = (
            make(folder) for make, folder in zip((audit_page, history_page, thumbnails_page), folders, strict=True)
        )
        photograph(audit, gallery / "audit.png", width=1280, height=860)
        photograph(audit, gallery / "shares.png", width=1280, height=1000, at="#shares")
        photograph(audit, gallery / "phone.png", width=390, height=844, dark=True)
        photograph(history, gallery / "history.png", width=1280, height=1000, at="#shares")
        photograph(sample, gallery / "thumbnails.png", width=1280, height=760, at="#pictures")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
