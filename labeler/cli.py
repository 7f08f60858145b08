"""The command label-images: options, progress and exit codes."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from labeler import __version__
from labeler.crew import GIVEN_UP
from labeler.decode import Limits
from labeler.errors import LabelerError
from labeler.faces import MIN_FACE
from labeler.pack import Pack, models_folder, read_manifest
from labeler.pipeline import Options, Summary, compare_store, count_images, label_store
from labeler.table import check_table_output

_LIMITS = Limits()


class _Folder(click.Path):
    """A folder by its name, which an unset variable is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not os.fspath(value):
            self.fail("the name is empty; name the folder that holds the images", param, ctx)
        return super().convert(value, param, ctx)


class _Number(click.FloatRange):
    """A number of a range, which "nan" is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class _Percentage(click.ParamType[float]):
    """A share, written as ``5%`` or ``0.05``."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share, 0 to 1."""
        text = str(value).strip()
        try:
            # Rounded, since 0.7 / 100 would be less than 7 / 1000.
            share = round(float(text.removesuffix("%")) / (100 if text.endswith("%") else 1), 12)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is no share between 0% and 100%", param, ctx)
        return share


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("store", type=_Folder(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The label table to write, Parquet.")
@click.option(
    "--models",
    type=click.Path(path_type=Path),
    help="Folder of the model pack.  [default: the pack fairface that comes with the package]",
)
@click.option(
    "--face",
    type=click.Choice(["auto", "whole"]),
    default="auto",
    show_default=True,
    help="Find the face, or take each picture as the crop (for stores of face crops).",
)
@click.option(
    "--min-face",
    default=MIN_FACE,
    show_default=True,
    type=_Number(0, 1, min_open=True),
    help="Smallest face looked for first, as a share of the picture's shorter side; smaller costs time.",
)
@click.option(
    "--workers",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Worker processes; 0 is one for each core that the command may use.",
)
@click.option("--dry-run", is_flag=True, help="Print how many files are new, changed, gone and unchanged; do nothing.")
@click.option("--verify", is_flag=True, help="Read unchanged files too, and tell whose content is not what it was.")
@click.option("--relabel", is_flag=True, help="Label every file anew.")
@click.option("--limit", type=click.IntRange(0), help="Label at most so many files; the rest waits for the next run.")
@click.option(
    "--max-pixels", default=_LIMITS.pixels, show_default=True, type=click.IntRange(1), help="Refuse larger pictures."
)
@click.option(
    "--max-bytes", default=_LIMITS.file_bytes, show_default=True, type=click.IntRange(1), help="Refuse larger files."
)
@click.option(
    "--max-seconds",
    default=_LIMITS.seconds,
    show_default=True,
    type=_Number(0, min_open=True),
    help="Give up a file that takes longer.",
)
@click.option(
    "--max-failures",
    type=_Percentage(),
    help="End with exit code 1 if a larger share of all files of the store failed, such as 5%; no face is no failure.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.version_option(__version__, prog_name="label-images")
def main(
    store: Path,
    out: Path,
    models: Path | None,
    face: str,
    min_face: float,
    workers: int,
    dry_run: bool,
    verify: bool,
    relabel: bool,
    limit: int | None,
    max_pixels: int,
    max_bytes: int,
    max_seconds: float,
    max_failures: float | None,
    as_json: bool,
) -> None:
    """Label every face photo below the folder STORE and keep one table of them up to date.

    Each image file becomes one row with its perceived age, gender and ethnicity, or with the status that says why it
    has none. The labels are for data sets, never for decisions about a person. Only new and changed files are labelled;
    a run that is interrupted goes on where it was.

    Example: label-images /mnt/efrs --out labels.parquet
    """
    options = Options(
        workers=workers,
        face=face,
        min_face=min_face,
        limits=Limits(max_pixels, max_bytes, max_seconds),
        most=limit,
        verify=verify,
        relabel=relabel,
        processes=True,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # Before the pack is loaded and the store is counted for the progress bar.
        check_table_output(out)
        folder = models or models_folder() / "fairface"
        if dry_run:
            counts = asdict(compare_store(store, out, read_manifest(folder), options))
            click.echo(json.dumps(counts) if as_json else _in_words(counts))
            return
        pack = Pack.load(folder)
        if pack.manifest.notice:
            click.echo(f"label-images: the pack {pack.manifest.name}: {_visible(pack.manifest.notice)}", err=True)
        summary = _label(store, out, pack, options)
    except LabelerError as error:
        click.echo(f"label-images: {_visible(str(error))}", err=True)
        sys.exit(2)
    except OSError as error:
        reason = f"{error.filename or out}: {error.strerror or error}; the table is as it was"
        click.echo(f"label-images: {_visible(reason)}", err=True)
        _end(1)
    except KeyboardInterrupt:
        reason = f"interrupted; {_visible(str(out))} is as it was, and the next run goes on from here"
        click.echo(f"label-images: {reason}", err=True)
        _end(130)
    printed = _print(json.dumps(summary.as_dict(), ensure_ascii=True) if as_json else describe(summary))
    code = 1 if summary.altered_files or not printed else 0
    if max_failures is not None and summary.failure_share > max_failures:
        click.echo(f"label-images: {_visible(_too_many(summary, max_failures))}", err=True)
        code = 1
    _end(code)


def _print(text: str) -> bool:
    """Print the summary; return whether that could be done, and say it where not, for the table is written."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except OSError as error:
        click.echo(f"label-images: the table is written, but not the summary: {error.strerror}", err=True)
        # Whatever Python would still write there at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    return True


def _end(code: int) -> None:
    """End with an exit code, and with a decoder that does not end."""
    if any(thread.name == GIVEN_UP for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if code:
        sys.exit(code)


def _label(store: Path, out: Path, pack: Pack, options: Options) -> Summary:
    """Label with a progress bar where somebody looks on."""
    shown = sys.stderr is not None and sys.stderr.isatty()
    total = count_images(store) if shown else None
    with tqdm(total=total, unit=" images", disable=not shown) as bar:
        return label_store(store, out, pack, options, bar.update)


def describe(summary: Summary) -> str:
    """Return the summary as lines for a person: the counts first, then a file of each status without labels."""
    others = sum(summary.failed.values())
    kinds = ", ".join(f"{count} {status}" for status, count in summary.failed.items())
    counts = (
        f"{summary.files} files: {summary.labelled} labelled, {others} without labels{f' ({kinds})' if kinds else ''}, "
        f"{summary.images_per_second:.0f} images per second -> {_visible(summary.table)}"
    )
    lines = [counts]
    if not summary.files:
        lines.append("  no image was found; is this the right folder, and is it mounted?")
    changes = {name: count for name, count in asdict(summary.counts).items() if count}
    if set(changes) - {"new"}:
        lines.append("  " + _in_words(changes))
    lines += [f"  {status}, for example {_visible(text)}" for status, text in summary.examples.items()]
    if summary.altered_files:
        example = _visible(summary.altered[0])
        lines.append(f"  altered under the same size and time: {summary.altered_files}, for example {example}")
    if summary.unlisted_folders:
        lines.append(f"  folders not listed: {summary.unlisted_folders}, for example {_visible(summary.unlisted[0])}")
    return "\n".join(lines)


def _too_many(summary: Summary, allowed: float) -> str:
    """Return the line that says that more files failed than are allowed."""
    return (
        f"--max-failures {100 * allowed:g}%: {summary.failures} of {summary.known} files failed "
        f"({100 * summary.failure_share:.3g}%); see status and error in {summary.table}, "
        "then mend or remove these files, or allow more"
    )


def _in_words(counts: Mapping[str, int]) -> str:
    """Return counts as a person reads them; rows made in another way are no changes of the store."""
    words = {
        "relabelled": "relabelled because of another pack, another option or --relabel",
        "retried": "tried again since they could not be read",
    }
    return ", ".join(f"{n} {words.get(name, name)}" for name, n in counts.items() if n or name not in words)


def _visible(text: str) -> str:
    """Return text with control characters escaped, so that a file name cannot rewrite the terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
