"""From files to a running review, to the checked sheet, to one sheet for each of several people."""

from __future__ import annotations

import json
import os
import re
import socket
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from audit import population as populations
from audit.files import check_outputs
from audit.population import Population
from audit.result import write_text
from audit.review import sheets as sheet_files
from audit.review.agreement import Labels
from audit.review.errors import ReviewError
from audit.review.forecast import Curves
from audit.review.images import Box, Pictures
from audit.review.session import Gate, addresses, is_local
from audit.review.sheets import Sheets
from audit.review.store import Store
from audit.review.work import Review
from audit.sampling import SCHEMES
from audit.text import plural, shown
from audit.truth import TextTable
from labeler import table
from labeler.decode import quiet_decoders
from labeler.errors import LabelerError
from labeler.pack import MANIFEST, models_folder, read_manifest
from labeler.taxonomy import ATTRIBUTES, COLUMNS

LABELS = "labels.parquet"
"""The label table that is looked for beside the first sheet."""
ANSWERS = ".answers.sqlite"
PORT = 8321
_EVERYWHERE = ("", "0.0.0.0", "::")
_FACE = ("face_x", "face_y", "face_width", "face_height", "face_roll")


@dataclass(frozen=True)
class Known:
    """What a label table says of the images on the sheets.

    Parameters
    ----------
    population : Population
        All of it.
    guesses : mapping of str to labels
        The model's labels by path.
    boxes : mapping of str to Box
        The labelled faces by path.
    no_face : bool
        Whether pictures without a found face are on the sheets.
    """

    population: Population
    guesses: Mapping[str, Labels]
    boxes: Mapping[str, Box]
    no_face: bool


def answers_beside(sheet: Path) -> Path:
    """Return the file of answers that goes with a sheet.

    Examples
    --------
    >>> answers_beside(Path("checks/sheet.csv")).as_posix()
    'checks/sheet.answers.sqlite'
    """
    return sheet.with_name(sheet.stem + ANSWERS)


def classes_of(digest: str, labels: Path | None) -> Mapping[str, tuple[str, ...]]:
    """Return the classes of the pack with a digest, from its label table or from the packs that are installed.

    Raises
    ------
    ReviewError
        If the table is another pack's, or if no pack with this digest is installed.
    """
    if labels is not None:
        info = table.read_info(labels)
        if info.pack_digest != digest:
            raise ReviewError(f"--labels {shown(str(labels))}: the sheet was drawn from another table; give that one")
        return info.classes
    for manifest in sorted(models_folder().glob(f"*/{MANIFEST}")):
        try:
            found = read_manifest(manifest.parent)
        except LabelerError:
            continue
        if found.digest == digest:
            return found.classes
    raise ReviewError("the pack that the sheet names is not installed; give its label table with --labels")


def table_beside(sheet: Path, digest: str) -> Path | None:
    """Return the label table beside a sheet, if there is one and it is of the same pack."""
    beside = sheet.with_name(LABELS)
    try:
        return beside if table.read_info(beside).pack_digest == digest else None
    except LabelerError:
        return None


def read_table(labels: Path, sheets: Sheets) -> Known:
    """Read what a label table says of the images on sheets.

    Raises
    ------
    ReviewError
        If it lacks one of them.
    """
    population = populations.read(labels)
    paths = list(sheets.designs)
    rows = populations.find(labels, pa.array(paths, pa.string()))
    if (rows < 0).any():
        missing = paths[int(np.flatnonzero(rows < 0)[0])]
        raise ReviewError(f"--labels {shown(str(labels))}: has no image {missing!r}; give the table of the sheet")
    found = populations.take(labels, rows, [*_FACE, *COLUMNS.values()]).to_pylist()
    boxes = {
        path: Box(*(row[name] or 0.0 for name in _FACE))
        for path, row in zip(paths, found, strict=True)
        if row["face_width"] and row["face_height"]
    }
    guesses = {path: {name: row[COLUMNS[name]] for name in ATTRIBUTES} for path, row in zip(paths, found, strict=True)}
    no_face = bool((population.outcomes[rows] == populations.NO_FACE).any())
    return Known(population, guesses, boxes, no_face)


def _curves(known: Known, sheets: Sheets) -> Curves | None:
    design = next(iter(sheets.designs.values()))
    scheme = design["stratum"].partition("-")[0]
    if scheme not in SCHEMES or not design["seed"].isdigit():
        return None
    return Curves.of(known.population, scheme, int(design["seed"]), len(sheets.designs), no_face=known.no_face)


def _tables(files: Sequence[Path], labels: Path | None) -> tuple[list[TextTable], str, Path | None]:
    opened = sheet_files.open_sheets(files)
    digest = sheet_files.digest_of(opened)
    return opened, digest, labels or table_beside(files[0], digest)


@contextmanager
def opened(
    files: Sequence[Path], labels: Path | None, answers: Path | None, store: str | None = None
) -> Iterator[tuple[Review, Known | None]]:
    """Open the review of some sheets, and close its file of answers at the end.

    Parameters
    ----------
    files : sequence of Path
        Sheets of one sample.
    labels : Path, optional
        Their label table; else the one beside the first sheet, where there is one.
    answers : Path, optional
        The SQLite file; else the one beside the first sheet.
    store : str, optional
        The store's real path, where pictures are to be shown.

    Raises
    ------
    LabelerError
        Naming the file and the row.
    """
    tables, digest, labels = _tables(files, labels)
    classes = classes_of(digest, labels)
    sheets = sheet_files.gather(tables, classes, store)
    known = read_table(labels, sheets) if labels is not None else None
    kept = Store(answers or answers_beside(files[0]))
    try:
        written = json.dumps({name: list(classes[name]) for name in ATTRIBUTES})
        if (kept.get("classes") or written) != written:
            raise ReviewError(
                f"{shown(str(kept.path))}: holds answers in the classes of another pack; name another with --answers"
            )
        kept.set("classes", written)
        curves = _curves(known, sheets) if known else None
        yield Review.begin(sheets, kept, known.guesses if known else None, curves), known
    finally:
        kept.close()


def export(
    files: Sequence[Path],
    checked: Path | None,
    history: Path | None,
    *,
    labels: Path | None = None,
    answers: Path | None = None,
) -> list[str]:
    """Write the checked sheet and the history of the answers; may be done while the page is in use.

    Parameters
    ----------
    files : sequence of Path
        The sheets.
    checked : Path, optional
        CSV that ``audit-labels report --checked`` reads.
    history : Path, optional
        JSON.
    labels, answers
        As `opened` takes them.

    Returns
    -------
    list of str
        What was written, in words.
    """
    kept = answers or answers_beside(files[0])
    if not kept.is_file():
        raise ReviewError(f"{shown(str(kept))}: no such file of answers; name it with --answers, or start the review")
    check_outputs({"--export": checked, "--history": history}, (*files, labels, kept))
    with opened(files, labels, kept) as (review, _):
        lines = review.lines()
        document = review.history()
    if checked is not None:
        write_text(checked, sheet_files.written(lines))
    if history is not None:
        write_text(history, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    people = sorted({line.annotator or "unnamed" for line in lines if line.answered})
    images = len({line.path for line in lines if line.answered})
    total = len({line.path for line in lines})
    return [f"{plural(images, 'image')} answered, of {total}; by {', '.join(map(shown, people)) or 'nobody'}"]


def cut(files: Sequence[Path], outputs: Sequence[Path], overlap: int, *, labels: Path | None = None) -> list[str]:
    """Cut a sheet into one for each of several people, each named after its file, with some images in common.

    Returns
    -------
    list of str
        What was written, in words.
    """
    check_outputs({f"--cut {output}": output for output in outputs}, (*files, labels))
    tables, digest, labels = _tables(files, labels)
    sheets = sheet_files.gather(tables, classes_of(digest, labels))
    parts = sheet_files.cut(sheets, [output.stem for output in outputs], overlap)
    for output, lines in zip(outputs, parts, strict=True):
        write_text(output, sheet_files.written(lines))
    return [
        f"{shown(output.stem)}: {plural(len(lines), 'image')}" for output, lines in zip(outputs, parts, strict=True)
    ]


def serve(
    files: Sequence[Path],
    store: Path | None,
    *,
    labels: Path | None = None,
    answers: Path | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    purpose: str | None = None,
    ask: Callable[[], str] | None = None,
    browser: bool = True,
    say: Callable[[str], Any] = print,
) -> None:
    """Serve the page on which people answer, until the process is told to end.

    Parameters
    ----------
    files : sequence of Path
        Sheets of one sample.
    store : Path
        The folder that holds their images.
    labels, answers
        As `opened` takes them.
    host, port
        Where to listen: an address of this machine, never all of them at once.
    purpose : str, optional
        What the review is for.
    ask : callable, optional
        Asks for the purpose where none is given or kept.
    browser : bool
        Whether to open a browser.
    say : callable
        Takes the lines that people read.

    Raises
    ------
    LabelerError
        If the review cannot be started.
    """
    if store is None:
        raise ReviewError("--store: name the folder that holds the images")
    if not store.is_dir():
        raise ReviewError(f"--store {shown(str(store))}: no such folder; name the one that holds the images")
    if host in _EVERYWHERE or re.search(r"[^\w.:-]", host):
        raise ReviewError(f"--host {shown(host)}: name one address of this machine, such as 192.168.1.20")
    _check_extra()
    root = os.path.realpath(store)
    quiet_decoders()
    with opened(files, labels, answers, root) as (review, known):
        _keep_purpose(review, purpose, ask)
        pictures = Pictures(
            root,
            {number: path for path, number in review.numbers.items()},
            {review.numbers[path]: box for path, box in (known.boxes if known else {}).items()},
        )
        with _listening(host, port) as listener:
            _run(review, pictures, listener, host, browser, say)


def _check_extra() -> None:
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ReviewError(
            f"the page needs {' and '.join(missing)}, which the extra [review] installs, in the checkout: "
            "python -m pip install '.[review]'"
        )


def _keep_purpose(review: Review, purpose: str | None, ask: Callable[[], str] | None) -> None:
    if purpose is None and not review.store.purposes:
        purpose = ask() if ask else ""
    if purpose is not None:
        if not purpose.strip():
            raise ReviewError("--purpose: say in a sentence what these checks are for; it is kept with the answers")
        review.store.add_purpose(" ".join(purpose.split()))


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise ReviewError(f"--host {shown(host)}: is no address of this machine ({error.strerror})") from error
    with listener:
        # A server that was killed a moment ago still has its port for a minute; this one may take it over.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(64)
        except OSError as error:
            raise ReviewError(
                f"--port {port}: cannot be used on {shown(host)} ({error.strerror}); name another one"
            ) from error
        yield listener


def _run(
    review: Review, pictures: Pictures, listener: socket.socket, host: str, browser: bool, say: Callable[[str], Any]
) -> None:
    import uvicorn

    from audit.review.app import Pages

    port = int(listener.getsockname()[1])
    gate = Gate(review.store, addresses(host, port))
    pages = Pages(review, pictures, gate, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    config = uvicorn.Config(
        pages.application(),
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    link = pages.link()
    say(f"{plural(len(review.numbers), 'image')}; answers are kept in {shown(str(review.store.path))}")
    if not is_local(host):
        say("Whoever shares this network can read along, since nothing is encrypted; use it in a network you trust.")
    say(f"Open this address once: {link}")
    if browser:
        webbrowser.open(link)
    # Once it has shut down, the server raises what Ctrl-C raised; that is how a review is meant to end.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
