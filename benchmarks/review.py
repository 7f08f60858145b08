"""How long the review page takes from an answer to the next image: on small crops, and on photos of 12 megapixels."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import cv2
import numpy as np
import pyarrow as pa
from playwright.sync_api import Browser, sync_playwright

from audit import sheet
from labeler import table
from tests.audit.tables import make
from tests.review.desk import Desk, Hand, Server

SIZES = {
    "224 x 224": (224, 224, 140),
    "12 megapixels, large face": (4000, 3000, 900),
    "12 megapixels, small face": (4000, 3000, 150),
}
"""Width, height, and side of the face; a small face needs the whole photo decoded at its full size."""
LIMIT = 100.0
"""Milliseconds that the page may take at the 95th percentile."""


def furnish(folder: Path, images: int, width: int, height: int, face: int) -> Desk:
    """Make a store of photos with a face in the middle, its label table, and a sheet of all of them."""
    made = make(folder, images)
    store = folder / "store"
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (30, 40, 3), np.uint8)
    for number in range(images):
        path = store / f"part {number % 7}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = cv2.resize(np.roll(coarse, number, 1), (width, height), interpolation=cv2.INTER_CUBIC)
        grain = rng.integers(0, 12, (256, 256, 3), np.uint8)
        tiles = np.tile(grain, (-(-height // 256), -(-width // 256), 1))[:height, :width]
        cv2.imwrite(str(path), cv2.add(pixels, tiles), [cv2.IMWRITE_JPEG_QUALITY, 90])
    read = table.read(made.labels)
    box = {"face_x": (width - face) / 2, "face_y": (height - face) / 2, "face_width": face, "face_height": face}
    rows = read.rows
    for name, value in box.items():
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array([value] * len(rows), field.type))
    table.write(made.labels, rows.to_batches(), read.info)
    drawn = folder / "sheet.csv"
    drawn.write_text(sheet.draw(made.labels, images).text, encoding="utf-8")
    return Desk(folder, made, store, drawn)


@contextmanager
def chromium(binary: str) -> Iterator[Browser]:
    """Start headless Chromium."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


def measure(browser: Browser, desk: Desk, pace: float) -> list[float]:
    """Answer every image, each so many seconds after it is shown, and return what the page measured in milliseconds."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    with Server([desk.sheet], desk.store) as server:
        hand = Hand(context, server)
        hand.enter("Anna")
        while hand.image:
            hand.page.wait_for_timeout(1000 * pace)
            hand.give("411")
        found = hand.page.evaluate("() => performance.getEntriesByName('answer to image').map(e => e.duration)")
    context.close()
    # The last answer leads to no image.
    return [float(duration) for duration in found[:-1]]


@click.command()
@click.option("--images", default=100, show_default=True, help="Images of each size.")
@click.option("--pace", default=1.0, show_default=True, help="Seconds that a person looks at each.")
def main(images: int, pace: float) -> None:
    """Measure on pictures made for it, in Chromium; on an idle machine, since browser and server share it."""
    binary = shutil.which("chromium")
    if binary is None:
        raise click.ClickException("chromium is not installed")
    passed = True
    with chromium(binary) as browser:
        for name, (width, height, face) in SIZES.items():
            with tempfile.TemporaryDirectory() as folder:
                durations = measure(browser, furnish(Path(folder), images, width, height, face), pace)
            middle, high = np.percentile(durations, [50, 95])
            passed &= bool(high <= LIMIT)
            click.echo(
                f"{name}: answer to next image {middle:.0f} ms at the median, {high:.0f} ms at the 95th percentile "
                f"(n = {len(durations)}; wanted <= {LIMIT:.0f} ms): {'ok' if high <= LIMIT else 'MISSED'}"
            )
    sys.exit(not passed)


if __name__ == "__main__":
    main()
