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
from scipy.stats import binomtest

from labeler.crew import Clock
from labeler.decode import Limits, Pixels, decode, quiet_decoders
from labeler.errors import DecodeError
from labeler.faces import Cropper
from labeler.pack import Pack, models_folder
from labeler.prepare import Preparer, Row
from labeler.store import Entry

CALL = """
import sys
from labeler.pack import Pack
from labeler.pipeline import Options, label_store
options = Options(checkpoint_seconds=0.05, processes=True)
print(label_store(sys.argv[1], sys.argv[2], Pack.load(sys.argv[3]), options).counts.resumed)
"""
"""A run that keeps its rows so often that a short one has some to go on from."""
STORE_OF = 200
"""Pictures in the store whose runs are killed."""

ALLOWED = 8.0
"""Mean difference, of 255, up to which a crop counts as that of the undamaged picture."""

MOST_FALSE_ALARMS = 1 / 5000
MOST_MILLISECONDS = 10.0
WITH_FACES = 8
"""Of so many mutants one goes through the face search too; the others are a test of the decoders alone."""


def tell(what: str, passed: bool, figure: object, wanted: str) -> None:
    """Print a figure beside what is wanted of it."""
    click.echo(f"{'PASS' if passed else 'FAIL'} {what}: {figure} (wanted: {wanted})")


def share(count: int, total: int) -> str:
    """Return a share with its exact 95 % interval (Clopper and Pearson 1934)."""
    interval = binomtest(count, total).proportion_ci(method="exact")
    return f"{count} of {total} = {count / total:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def kill_at_random(store: Path, models: Path, times: int, seed: int) -> Counter[str]:
    """Kill a run at random moments, start again after each, and compare the table with that of an undisturbed run."""
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, out = Path(folder) / "undisturbed.parquet", Path(folder) / "labels.parquet"
        started = time.monotonic()
        run(store, undisturbed, models).communicate()
        length = time.monotonic() - started
        expected = undisturbed.read_bytes()
        for _ in range(times):
            out.unlink(missing_ok=True)
            process = run(store, out, models)
            try:
                process.communicate(timeout=float(rng.uniform(0, length)))
                outcomes["ended before it was killed"] += 1
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
            again = run(store, out, models)
            resumed = again.communicate()[0].strip()
            outcomes["went on from rows it had kept"] += resumed not in (b"", b"0")
            same = again.returncode == 0 and out.read_bytes() == expected
            outcomes["same bytes" if same else "other bytes"] += 1
    return outcomes


def run(store: Path, out: Path, models: Path) -> subprocess.Popen[bytes]:
    """Start a run on a store; it prints how many rows it took over."""
    return subprocess.Popen([sys.executable, "-c", CALL, str(store), str(out), str(models)], stdout=subprocess.PIPE)


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


def mutate(preparers: tuple[Preparer, Preparer], pixels: Pixels, count: int, seed: int) -> None:
    """Print what becomes of mutated files of each format; of the preparers the second one looks for faces."""
    contents = formats(pixels)
    others = list(contents.values())
    for number, (kind, content) in enumerate(contents.items()):
        rng = np.random.default_rng([seed, number])
        outcomes: Counter[str] = Counter()
        longest = 0.0
        for k in range(count):
            data = mutated(content, others[int(rng.integers(len(others)))], rng)
            row, seconds = prepared(preparers[k % WITH_FACES == 0], data)
            outcomes[row.status] += 1
            longest = max(longest, seconds)
        passed = not outcomes["crashed"] and longest <= Limits().seconds
        figure = f"seed [{seed}, {number}], {dict(outcomes)}, at most {longest:.2f} s"
        tell(f"{count} mutants of {kind}", passed, figure, f"none crashes, none takes {Limits().seconds:g} s")


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


def undamaged(files: list[Path]) -> tuple[int, int]:
    """Return how many undamaged pictures are refused, and how many there are."""
    refused = 0
    for path in files:
        try:
            decode(path.read_bytes())
        except DecodeError as error:
            refused += 1
            click.echo(f"  {path.name}: {error}")
    return refused, len(files)


def vast(preparer: Preparer) -> None:
    """Print what becomes of pictures that claim 50,000 x 50,000 pixels, and the longest time in milliseconds."""
    side = (50_000).to_bytes(4, "big")
    png = bytearray(formats(np.zeros((8, 8, 3), np.uint8))["png"])
    png[16:24] = side * 2
    jpeg = bytearray(formats(np.zeros((8, 8, 3), np.uint8))["jpeg"])
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = side[2:] * 2
    rows = [prepared(preparer, bytes(data)) for data in (png, jpeg)]
    longest = 1000 * max(seconds for _, seconds in rows)
    statuses = [row.status for row, _ in rows]
    passed = set(statuses) == {"too_large"} and longest < MOST_MILLISECONDS
    tell("50,000 x 50,000 pixels claimed", passed, f"{statuses}, {longest:.1f} ms", f"refused in {MOST_MILLISECONDS:g}")


def report_damage(preparer: Preparer, files: list[Path], seed: int) -> None:
    """Print how many JPEGs with a changed byte still get the labels of a wrong crop."""
    outcomes = damage(preparer, files, seed)
    wrong = outcomes["labelled with a wrong crop"]
    click.echo(f"{len(files)} JPEGs with one changed byte in the scan: {dict(outcomes)}")
    click.echo(
        f"  labelled although the crop differs by more than {ALLOWED:g}: {share(wrong, len(files))}; the decoder"
    )
    click.echo("  accepts the streams of all of these")


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--kills", default=50, show_default=True, help="Runs that are killed.")
@click.option("--mutants", default=2000, show_default=True, help="Mutated files of each format.")
@click.option("--damaged", default=300, show_default=True, help="JPEGs with a changed byte.")
@click.option("--whole/--no-whole", default=True, help="Whether undamaged pictures are decoded for false alarms.")
@click.option("--seed", default=1, show_default=True)
def main(data: Path, kills: int, mutants: int, damaged: int, whole: bool, seed: int) -> None:
    """Measure on DATA, a folder with fairface/val/, utkface/test/ and widerface/images/."""
    quiet_decoders()
    models = models_folder() / "fairface"
    manifest = Pack.load(models).manifest
    files = sorted((data / "fairface/val").iterdir())
    click.echo(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        plain, preparer = (Preparer(place, Cropper.of(manifest, face), Limits()) for face in ("whole", "auto"))
        vast(preparer)
        if whole:
            more = [*sorted((data / "utkface/test").iterdir()), *sorted((data / "widerface/images").rglob("*.jpg"))]
            refused, count = undamaged([*files, *more])
            tell(
                "undamaged pictures refused", refused <= MOST_FALSE_ALARMS * count, share(refused, count), "1 in 5,000"
            )
        if damaged:
            report_damage(preparer, files[:damaged], seed)
        if mutants:
            mutate((plain, preparer), decode(files[0].read_bytes()).pixels, mutants, seed)
        if kills:
            store = place / "store"
            store.mkdir()
            for path in files[:STORE_OF]:
                (store / path.name).symlink_to(path.resolve())
            outcomes = kill_at_random(store, models, kills, seed)
            tell(f"{kills} runs killed", not outcomes["other bytes"], dict(outcomes), "the same bytes after each")


if __name__ == "__main__":
    main()
