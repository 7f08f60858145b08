"""Killed runs, mutated images, damaged JPEGs and pictures that lie about their size: what comes of them."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import numpy as np
from PIL import Image

from labeler.crew import Clock
from labeler.decode import Limits, Pixels, decode, quiet_decoders
from labeler.faces import Cropper
from labeler.pack import Pack, models_folder
from labeler.prepare import Preparer, Row
from labeler.store import Entry

CALL = "from labeler.cli import main; main()"
ALLOWED = 8.0
"""Mean difference, of 255, up to which a crop counts as that of the undamaged picture."""


def kill_at_random(store: Path, models: Path, times: int, seed: int) -> Counter[str]:
    """Kill a run at random moments, start again after each, and compare the table with that of an undisturbed run."""
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, out = Path(folder) / "undisturbed.parquet", Path(folder) / "labels.parquet"
        started = time.monotonic()
        run(store, undisturbed, models).wait()
        length = time.monotonic() - started
        expected = undisturbed.read_bytes()
        for _ in range(times):
            out.unlink(missing_ok=True)
            process = run(store, out, models)
            try:
                process.wait(float(rng.uniform(0, length)))
                outcomes["ended before it was killed"] += 1
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            code = run(store, out, models).wait()
            outcomes["same bytes" if code == 0 and out.read_bytes() == expected else "other bytes"] += 1
    return outcomes


def run(store: Path, out: Path, models: Path) -> subprocess.Popen[bytes]:
    """Start the command on a store."""
    call = [sys.executable, "-c", CALL, str(store), "--out", str(out), "--models", str(models)]
    return subprocess.Popen(call, stdout=subprocess.DEVNULL)


def formats(pixels: Pixels) -> dict[str, bytes]:
    """Return a picture in every format."""
    contents = {}
    for kind, options in {
        "JPEG": {},
        "PNG": {},
        "WEBP": {},
        "TIFF": {},
        "BMP": {},
        "AVIF": {"speed": 8},
        "GIF": {},
    }.items():
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, kind, **options)
        contents[kind.lower()] = sink.getvalue()
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", progressive=True)
    return contents | {"progressive jpeg": sink.getvalue()}


def mutated(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return a file that is cut, has other bits, a lying header, or the beginning of another format."""
    data = bytearray(content)
    kind = rng.integers(4)
    if kind == 0:
        return bytes(data[: rng.integers(len(data))])
    if kind == 1:
        for position in rng.integers(0, len(data), rng.integers(1, 20)):
            data[position] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        start = int(rng.integers(0, min(400, len(data) - 8)))
        data[start : start + 8] = rng.integers(0, 256, 8).astype(np.uint8).tobytes()
    else:
        length = int(rng.integers(2, 200))
        data[:length] = other[:length]
    return bytes(data)


def mutate(preparer: Preparer, pixels: Pixels, count: int, seed: int) -> tuple[Counter[str], float]:
    """Return what becomes of mutated files, and the longest time one takes in seconds."""
    rng = np.random.default_rng(seed)
    contents = list(formats(pixels).values())
    outcomes: Counter[str] = Counter()
    longest = 0.0
    for k in range(count):
        other = contents[int(rng.integers(len(contents)))]
        data = mutated(contents[k % len(contents)], other, rng)
        row, seconds = prepared(preparer, data)
        outcomes[row.status] += 1
        longest = max(longest, seconds)
    return outcomes, longest


def prepared(preparer: Preparer, data: bytes) -> tuple[Row, float]:
    """Return the row of a file with some content, and the seconds it took."""
    path = preparer.root / "file"
    path.write_bytes(data)
    started = time.monotonic()
    row = preparer.prepare(Entry("file", len(data), 0), Clock())
    return row, time.monotonic() - started


def damage(preparer: Preparer, files: list[Path], seed: int) -> Counter[str]:
    """Change one byte in the scan of each JPEG, and tell what becomes of it."""
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    for path in files:
        content = bytearray(path.read_bytes())
        crop = prepared(preparer, bytes(content))[0].crop
        start = content.rindex(b"\xff\xda") + 14
        position = int(rng.integers(start, len(content) - 2))
        content[position] = (content[position] + int(rng.integers(1, 256))) % 256
        row = prepared(preparer, bytes(content))[0]
        if row.crop is None or crop is None:
            outcomes["refused" if row.status == "corrupt" else row.status] += 1
        else:
            same = np.abs(row.crop.astype(int) - crop).mean() <= ALLOWED
            outcomes["labelled, the crop as it was" if same else "labelled with a wrong crop"] += 1
    return outcomes


def vast(preparer: Preparer) -> str:
    """Return what becomes of pictures that claim 50,000 x 50,000 pixels, and the longest time in milliseconds."""
    side = (50_000).to_bytes(4, "big")
    png = bytearray(formats(np.zeros((8, 8, 3), np.uint8))["png"])
    png[16:24] = side * 2
    jpeg = bytearray(formats(np.zeros((8, 8, 3), np.uint8))["jpeg"])
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = side[2:] * 2
    rows = [prepared(preparer, bytes(data)) for data in (png, jpeg)]
    return f"{[row.status for row, _ in rows]}, at most {1000 * max(seconds for _, seconds in rows):.1f} ms"


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--kills", default=50, show_default=True)
@click.option("--mutants", default=2000, show_default=True)
@click.option("--damaged", default=300, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(data: Path, kills: int, mutants: int, damaged: int, seed: int) -> None:
    """Measure on DATA, a folder with fairface/val/."""
    quiet_decoders()
    models = models_folder() / "fairface"
    cropper = Cropper.of(Pack.load(models).manifest)
    files = sorted((data / "fairface/val").iterdir())
    click.echo(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        preparer = Preparer(place, cropper, Limits())
        click.echo(f"50,000 x 50,000 pixels claimed: {vast(preparer)}")
        pixels = decode(files[0].read_bytes()).pixels
        outcomes, longest = mutate(preparer, pixels, mutants, seed)
        click.echo(f"{mutants} mutated files: {dict(outcomes)}, at most {longest:.2f} s")
        outcomes = damage(preparer, files[:damaged], seed)
        click.echo(f"{damaged} JPEGs with one changed byte in the scan: {dict(outcomes)}")
        store = place / "store"
        store.mkdir()
        for path in files[:400]:
            (store / path.name).symlink_to(path.resolve())
        click.echo(f"{kills} runs killed: {dict(kill_at_random(store, models, kills, seed))}")


if __name__ == "__main__":
    main()
