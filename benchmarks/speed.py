"""What an image costs: against its parts measured alone, against a plain loop, and what scaled decoding changes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click
import cv2
import numpy as np
import pandas as pd
from scipy.stats import binomtest

from labeler.crew import Clock
from labeler.decode import Limits, Picture, Pixels, check, decode, decode_checked, quiet_decoders
from labeler.faces import Cropper, align
from labeler.header import Header
from labeler.pack import Pack, models_folder, session
from labeler.pipeline import Options, label_store
from labeler.prepare import Preparer, content_hash, look
from labeler.store import Entry
from labeler.table import read
from labeler.taxonomy import ATTRIBUTES, COLUMNS

MOST_OF_PARTS = 1.10
"""CPU of a run over that of its parts alone."""

LEAST_CORES = 1.8
LEAST_GAIN = {"200 x 200": 2.0, "224 x 224": 2.0, "1 megapixel": 0.0, "12 megapixels": 4.0}
"""Against a plain loop, per CPU second."""

LEAST_AGREEMENT = 0.995
SCALED = (2731, 2048)
"""A size that is decoded at a quarter."""

LEAST_IMAGES = {"224 x 224": 600.0}
"""Images a CPU second with faces and all labels, on fairface/val."""


def tell(what: str, passed: bool, figure: str, wanted: str) -> None:
    """Print a figure beside what is wanted of it."""
    click.echo(f"{'PASS' if passed else 'FAIL'} {what}: {figure} (wanted {wanted})")


def enlarged(path: Path, width: int, height: int) -> bytes:
    """Return a picture as a JPEG of another size: enlarged, with grain, on its own mean colour."""
    grain = np.random.default_rng(0).integers(0, 12, (256, 256, 3)).astype(np.uint8)
    pixels = cv2.imread(str(path))
    assert pixels is not None
    side = min(width, height)
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = pixels.mean((0, 1))
    left, top = (width - side) // 2, (height - side) // 2
    large = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC)
    canvas[top : top + side, left : left + side] = large
    tiles = np.tile(grain, (-(-height // 256), -(-width // 256), 1))[:height, :width]
    _, content = cv2.imencode(".jpg", cv2.add(canvas, tiles), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return content.tobytes()


def store_of(folder: Path, sources: Sequence[Path], width: int, height: int) -> Path:
    """Make a store of photos of a size."""
    folder.mkdir()
    for path in sources:
        (folder / path.name).write_bytes(enlarged(path, width, height))
    return folder


def linked(folder: Path, sources: Sequence[Path]) -> Path:
    """Make a store of links to some files."""
    folder.mkdir()
    for path in sources:
        (folder / path.name).symlink_to(path.resolve())
    return folder


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, all its threads and the processes that ended in it together."""
    before = os.times()
    work()
    return sum(after - start for after, start in zip(os.times()[:4], before[:4], strict=True))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the CPU seconds and the seconds of a call."""
    started = time.monotonic()
    used = cpu(work)
    return used, time.monotonic() - started


def start_and_others(store: Path) -> tuple[list[Path], list[Path]]:
    """Return the first quarter of a store's files, on which a run has all that its start costs, and the others."""
    paths = sorted(store.iterdir())
    return paths[: len(paths) // 4], paths[len(paths) // 4 :]


def labelling(store: Path, out: Path, pack: Pack) -> tuple[float, float]:
    """Label a store anew and return the CPU seconds and the seconds that all but its first quarter takes.

    What the start costs, each worker's first images included, is in a run on the first quarter too, and is left out.
    """
    options = Options(relabel=True, processes=True)
    with tempfile.TemporaryDirectory() as folder:
        beginning = linked(Path(folder) / "first", start_and_others(store)[0])
        start, start_wall = timed(lambda: label_store(beginning, Path(folder) / "first.parquet", pack, options))
    used, wall = timed(lambda: label_store(store, out, pack, options))
    return used - start, wall - start_wall


def decoder(content: bytes, header: Header, spent: list[float]) -> Callable[[int], AbstractContextManager[Picture]]:
    """Return what decodes a file at a reduction, without a bound on memory, and notes the CPU seconds."""

    @contextmanager
    def decoded(reduction: int) -> Iterator[Picture]:
        began = time.process_time()
        picture = decode_checked(content, header, reduction)
        spent.append(time.process_time() - began)
        yield picture

    return decoded


def parts_alone(paths: Sequence[Path], pack: Pack, cropper: Cropper) -> tuple[float, float, float]:
    """Return the CPU seconds of decoding, of the search and of the classifiers, for some files, one thread."""
    contents = [path.read_bytes() for path in paths]
    headers = [check(content, Limits()) for content in contents]
    decoding: list[float] = []
    both = 0.0
    crops = []
    for content, header in zip(contents, headers, strict=True):
        decoded = decoder(content, header, decoding)
        started = time.process_time()
        crop = look(header, cropper, decoded).crop
        both += time.process_time() - started
        if crop is not None:
            crops.append(crop)
    stacked = np.stack(crops)
    return sum(decoding), both - sum(decoding), cpu(lambda: pack.predict(stacked))


def detected_crop(pixels: Pixels, cropper: Cropper) -> Pixels | None:
    """Return the crop by the landmarks of the largest face that the detector sees in the picture at its own size."""
    assert cropper.networks is not None
    faces = cropper.networks.detector.detect(pixels)
    if not len(faces):
        return None
    return cropper.cut(pixels, faces.landmarks[int(np.argmax(faces.boxes[:, 2] * faces.boxes[:, 3]))])


def searched_crop(pixels: Pixels, cropper: Cropper) -> Pixels | None:
    """Return the crop as label-images finds it."""
    return cropper.crop(pixels)[1]


def plain_loop(
    paths: Sequence[Path], pack: Pack, cropper: Cropper, crop_of: Callable[[Pixels, Cropper], Pixels | None]
) -> float:
    """Return the CPU seconds of one image at a time: OpenCV's colour decoder, the same models; for a gray pack."""
    files = {output.file for output in pack.manifest.outputs.values()}
    runners = [session((pack.manifest.folder / name).read_bytes(), pack.manifest.folder / name) for name in files]

    def loop() -> None:
        for path in paths:
            pixels = cv2.imread(str(path))
            assert pixels is not None
            crop = crop_of(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8), cropper)
            if crop is not None:
                for runner in runners:
                    runner.run(None, {runner.get_inputs()[0].name: (crop / np.float32(255))[None, None]})

    return cpu(loop)


def touched(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a crop with a hundredth of its pixels one gray level brighter or darker, which no eye would see."""
    changed = crop.astype(np.int16)
    places = rng.choice(changed.size, round(changed.size / 100), replace=False)
    changed.flat[places] += rng.choice([-1, 1], len(places)).astype(np.int16)
    return np.clip(changed, 0, 255).astype(np.uint8)


def agreement(sources: Sequence[Path], pack: Pack, cropper: Cropper) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return, for each picture, whether whole and scaled decoding give the same classes, and how far the crops differ.

    Beside it the same where the face is not looked for again in the whole picture but taken from where it lies in the
    scaled one: what the decoder alone changes. And the same for the scaled crop, touched as `touched` does: what as
    good as nothing changes.
    """
    crops: dict[str, list[Pixels]] = {"scaled": [], "whole": [], "whole, same place": [], "touched": []}
    rng = np.random.default_rng(0)
    points, width, height = cropper.manifest.framing.points, cropper.manifest.width, cropper.manifest.height
    with tempfile.TemporaryDirectory() as folder:
        preparer = Preparer(Path(folder), cropper, Limits())
        for path in sources:
            content = enlarged(path, *SCALED)
            (preparer.root / "picture").write_bytes(content)
            row = preparer.prepare(Entry("picture", len(content), 0), Clock())
            pixels = decode(content).pixels
            _, large = cropper.crop(pixels)
            if row.crop is not None and row.face is not None and large is not None:
                crops["scaled"].append(row.crop)
                crops["whole"].append(large)
                crops["whole, same place"].append(
                    align(pixels, row.face.landmarks, points, width, height, cropper.manifest.colour)
                )
                crops["touched"].append(touched(row.crop, rng))
    said = {kind: pack.predict(np.stack(part)) for kind, part in crops.items()}
    frame = pd.DataFrame(index=range(len(crops["whole"])))
    for name in ATTRIBUTES:
        classes = {kind: part.probabilities[name].argmax(1) for kind, part in said.items()}
        frame[name] = classes["whole"] == classes["scaled"]
        for kind in ("whole, same place", "touched"):
            frame[f"{name}, {kind}"] = classes[kind] == classes["scaled"]
        frame[f"{name} group"] = [pack.manifest.classes[name][k] for k in classes["whole"]]
    differences = {
        kind: float(np.median([np.abs(a.astype(int) - b).mean() for a, b in zip(part, crops["scaled"], strict=True)]))
        for kind, part in crops.items()
    }
    return frame, differences


def report_agreement(sources: Sequence[Path], pack: Pack, cropper: Cropper) -> None:
    """Print how often scaled decoding keeps the labels, overall and in the group where it does so least.

    A small group may fall below the bound by chance: it fails where the exact interval of its share lies below.
    """
    frame, differences = agreement(sources, pack, cropper)
    found, same_place = differences["whole"], differences["whole, same place"]
    click.echo(f"{SCALED[0]} x {SCALED[1]}, scaled against whole decoding, n = {len(frame)}")
    click.echo(f"  crops differ by {found:.2f} of 255 in the median, in the same place by {same_place:.2f}")
    for name in ATTRIBUTES:
        groups = [(float(group[name].mean()), group[name], who) for who, group in frame.groupby("ethnicity group")]
        least, same, worst = min(groups, key=lambda group: group[0])
        high = binomtest(int(same.sum()), len(same)).proportion_ci(method="exact").high
        passed = bool(frame[name].mean() >= LEAST_AGREEMENT and high >= LEAST_AGREEMENT)
        figure = f"{frame[name].mean():.4f}, least for {worst}: {least:.4f} (n = {len(same)})"
        figure += f"; in the same place {frame[f'{name}, whole, same place'].mean():.4f}"
        figure += f"; a gray level in 1 % of the scaled crop {frame[f'{name}, touched'].mean():.4f}"
        tell(f"  {COLUMNS[name]} as with whole decoding", passed, figure, f">= {LEAST_AGREEMENT} in each group")


def report(name: str, store: Path, pack: Pack, runs: int) -> None:
    """Print the costs of a store's images: medians over rounds, in each of which what is compared is measured in turn.

    Other processes make a core slower or faster by the minute, so that only what is measured side by side compares.
    """
    cropper = Cropper.of(pack.manifest)
    first, others = start_and_others(store)
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "labels.parquet"
        label_store(store, out, pack, Options(relabel=True, processes=True))
        for _ in range(runs):
            ours, wall = labelling(store, out, pack)
            parts = parts_alone(others, pack, cropper)
            loops = [plain_loop(others, pack, cropper, kind) for kind in (searched_crop, detected_crop)]
            rounds.append((ours, ours / wall, *parts, *loops))
        labelled = int((read(out).rows.column("status").to_pylist()).count("ok"))
    total, cores, decoding, finding, classifying, searching, detecting = np.array(rounds).T
    apart, needed = decoding + finding + classifying, decoding + classifying
    over, used, speed = (float(np.median(x)) for x in (total / apart, cores, len(others) / total))
    click.echo(f"{name}: {len(first) + len(others)} images, {labelled} labelled, {1000 / speed:.2f} ms CPU an image")
    costs = " + ".join(
        f"{1000 * float(np.median(part)) / len(others):.2f}" for part in (decoding, finding, classifying)
    )
    click.echo(f"  alone: {costs} ms to decode, to search and to classify")
    tell("  CPU over parts", over <= MOST_OF_PARTS, f"{over:.2f}", f"<= {MOST_OF_PARTS:.2f}")
    gain = LEAST_GAIN[name]
    for loop, plain in (("this search", searching), ("the detector at full size", detecting)):
        gained, most = (float(np.median(plain / ours)) for ours in (total, needed))
        wanted = f">= {gain:g}" if gain else "no bound"
        figure = f"{gained:.2f}, over decoding and classifying alone {most:.2f}"
        tell(f"  plain loop with {loop} over this", gained >= gain, figure, wanted)
    tell("  cores used", used >= LEAST_CORES, f"{used:.2f} of {os.cpu_count()}", f">= {LEAST_CORES}, idle machine")
    if name in LEAST_IMAGES:
        least = LEAST_IMAGES[name]
        figure = f"{speed:.0f}, by decoding and classifying alone {len(others) / float(np.median(needed)):.0f}"
        tell("  images a CPU second", speed >= least, figure, f">= {least:g}")


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--images", default=2000, show_default=True, help="Images of each size.")
@click.option("--large", default=120, show_default=True, help="Images of 1 and 12 megapixels.")
@click.option("--agreeing", default=700, show_default=True, help="Images decoded both scaled and whole.")
@click.option("--runs", default=5, show_default=True, help="Rounds, of which the median counts.")
@click.option("--models", type=click.Path(path_type=Path), default=None, help="Folder of the model pack.")
def main(data: Path, images: int, large: int, agreeing: int, runs: int, models: Path | None) -> None:
    """Measure on DATA, a folder with fairface/val/ and utkface/test/."""
    quiet_decoders()
    pack = Pack.load(models or models_folder() / "fairface")
    content = bytes(4_000_000)
    started = time.thread_time()
    for _ in range(9):
        content_hash(content)
    click.echo(f"content hash: {250 * (time.thread_time() - started) / 9:.2f} ms a megabyte")
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
            report(name, store, pack, runs)
    if agreeing:
        report_agreement(faces[:agreeing], pack, Cropper.of(pack.manifest))


if __name__ == "__main__":
    main()
