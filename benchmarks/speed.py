"""What an image costs: against its parts measured alone, against a plain loop, and what scaled decoding changes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import pandas as pd

from labeler.crew import Clock
from labeler.decode import Limits, check, decode, decode_checked, quiet_decoders, reduction_to
from labeler.faces import Cropper
from labeler.pack import BATCH, Pack, models_folder, session
from labeler.pipeline import Options, label_store
from labeler.prepare import Preparer, content_hash
from labeler.store import Entry
from labeler.table import read
from labeler.taxonomy import ATTRIBUTES, COLUMNS


def store_of(folder: Path, sources: Sequence[Path], width: int, height: int) -> Path:
    """Make a store of photos of a size: each picture enlarged, with grain, on its own mean colour."""
    folder.mkdir()
    grain = np.random.default_rng(0).integers(0, 12, (256, 256, 3)).astype(np.uint8)
    for path in sources:
        pixels = cv2.imread(str(path))
        assert pixels is not None
        side = min(width, height)
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = pixels.mean((0, 1))
        left, top = (width - side) // 2, (height - side) // 2
        large = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC)
        canvas[top : top + side, left : left + side] = large
        tiles = np.tile(grain, (-(-height // 256), -(-width // 256), 1))[:height, :width]
        cv2.imwrite(str(folder / path.name), cv2.add(canvas, tiles), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return folder


def linked(folder: Path, sources: Sequence[Path]) -> Path:
    """Make a store of links to some files."""
    folder.mkdir()
    for path in sources:
        (folder / path.name).symlink_to(path.resolve())
    return folder


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, all its threads together."""
    started = time.process_time()
    work()
    return time.process_time() - started


def parts_alone(store: Path, pack: Pack, cropper: Cropper) -> float:
    """Return the CPU seconds of decode, face and classification of a store's files, each alone, one thread."""
    contents = [path.read_bytes() for path in sorted(store.iterdir())]
    preparer = Preparer(store, cropper, Limits())
    headers = [check(content, Limits()) for content in contents]
    reductions = [reduction_to(header, preparer.least) for header in headers]
    total = 0.0
    crops = []
    for content, header, reduction in zip(contents, headers, reductions, strict=True):
        started = time.process_time()
        picture = decode_checked(content, header, reduction)
        _, crop = cropper.crop(picture.pixels)
        total += time.process_time() - started
        if crop is not None:
            crops.append(crop)
    stacked = np.stack(crops)
    return total + cpu(lambda: pack.predict(stacked))


def plain_loop(store: Path, pack: Pack, cropper: Cropper) -> float:
    """Return the CPU seconds of one image at a time: OpenCV's colour decoder, the same models; for a gray pack."""
    files = {output.file for output in pack.manifest.outputs.values()}
    runners = [session((pack.manifest.folder / name).read_bytes(), pack.manifest.folder / name) for name in files]

    def loop() -> None:
        for path in sorted(store.iterdir()):
            pixels = cv2.imread(str(path))
            assert pixels is not None
            _, crop = cropper.crop(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8))
            if crop is not None:
                for runner in runners:
                    runner.run(None, {runner.get_inputs()[0].name: (crop / np.float32(255))[None, None]})

    return cpu(loop)


def agreement(store: Path, pack: Pack, cropper: Cropper) -> tuple[pd.DataFrame, float]:
    """Return, for each picture, whether whole and scaled decoding give the same classes, and the crops' difference."""
    preparer = Preparer(store, cropper, Limits())
    records: list[dict[str, object]] = []
    crops = []
    for path in sorted(store.iterdir()):
        scaled = preparer.prepare(Entry(path.name, path.stat().st_size, 0), Clock()).crop
        _, whole = cropper.crop(decode(path.read_bytes()).pixels)
        if scaled is not None and whole is not None:
            records.append({"path": path.name})
            crops.append((whole, scaled))
    whole_said = pack.predict(np.stack([whole for whole, _ in crops]))
    scaled_said = pack.predict(np.stack([scaled for _, scaled in crops]))
    frame = pd.DataFrame(records)
    for name in ATTRIBUTES:
        whole_class = whole_said.probabilities[name].argmax(1)
        frame[name] = whole_class == scaled_said.probabilities[name].argmax(1)
        frame[f"{name} group"] = [pack.manifest.classes[name][k] for k in whole_class]
    difference = float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in crops]))
    return frame, difference


def report_agreement(store: Path, pack: Pack, cropper: Cropper) -> None:
    """Print how often scaled decoding keeps the labels, overall and in the group where it does so least."""
    frame, difference = agreement(store, pack, cropper)
    shares = {name: frame[name].mean() for name in ATTRIBUTES}
    said = ", ".join(f"{COLUMNS[name]} {share:.4f}" for name, share in shares.items())
    click.echo(f"  labels as with whole decoding: {said} (n = {len(frame)}); crops differ by {difference:.2f} of 255")
    for name in ATTRIBUTES:
        groups = [(float(group[name].mean()), len(group), who) for who, group in frame.groupby("ethnicity group")]
        share, count, worst = min(groups)
        click.echo(f"    {COLUMNS[name]}: least for {worst}, {share:.4f} (n = {count})")


def report(name: str, store: Path, pack: Pack, runs: int) -> None:
    """Print the costs of a store's images; of several runs the cheapest counts, since other processes only add."""
    cropper = Cropper.of(pack.manifest)
    count = sum(1 for _ in store.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "labels.parquet"
        options = Options(relabel=True)
        label_store(store, out, pack, options)
        ours = min(cpu(lambda: label_store(store, out, pack, options)) for _ in range(runs))
        started = time.monotonic()
        used = cpu(lambda: label_store(store, out, pack, options))
        cores = used / (time.monotonic() - started)
        labelled = int((read(out).rows.column("status").to_pylist()).count("ok"))
    parts = min(parts_alone(store, pack, cropper) for _ in range(runs))
    plain = min(plain_loop(store, pack, cropper) for _ in range(runs))
    click.echo(
        f"{name}: {count} images, {labelled} labelled, {1000 * ours / count:.2f} ms CPU an image, "
        f"{count / ours:.0f} a CPU second; {ours / parts:.2f} times its parts alone, "
        f"{plain / ours:.2f} times as fast as a plain loop; {cores:.2f} of {os.cpu_count()} cores"
    )


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--images", default=500, show_default=True, help="Images of each size.")
@click.option("--large", default=60, show_default=True, help="Images of 1 and 12 megapixels.")
@click.option("--runs", default=3, show_default=True, help="Repetitions; the cheapest counts.")
@click.option("--models", type=click.Path(path_type=Path), default=None, help="Folder of the model pack.")
def main(data: Path, images: int, large: int, runs: int, models: Path | None) -> None:
    """Measure on DATA, a folder with fairface/val/ and utkface/test/."""
    quiet_decoders()
    pack = Pack.load(models or models_folder() / "fairface")
    content = bytes(4_000_000)
    click.echo(f"content hash: {250 * min(cpu(lambda: content_hash(content)) for _ in range(9)):.2f} ms a megabyte")
    faces = sorted((data / "fairface/val").iterdir())
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        stores = {
            "200 x 200": linked(place / "utk", sorted((data / "utkface/test").iterdir())[:images]),
            "224 x 224": linked(place / "fair", faces[:images]),
            "1 megapixel": store_of(place / "one", faces[:large], 1200, 900),
            "12 megapixels": store_of(place / "twelve", faces[:large], 4000, 3000),
        }
        for name, store in stores.items():
            report(f"{name}, batches of {BATCH}", store, pack, runs)
            if "mega" in name:
                report_agreement(store, pack, Cropper.of(pack.manifest))


if __name__ == "__main__":
    main()
