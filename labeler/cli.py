"""The command label-images: options, progress and exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from tqdm import tqdm

from labeler import __version__
from labeler.errors import LabelerError
from labeler.faces import MIN_FACE
from labeler.pack import Pack, models_folder
from labeler.pipeline import Options, Summary, count_images, label_store


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("store", type=click.Path(path_type=Path))
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
    type=click.FloatRange(0, 1, min_open=True),
    help="Smallest face looked for first, as a share of the picture's shorter side; smaller costs time.",
)
@click.option("--workers", default=0, show_default="one a core", type=click.IntRange(0), help="Worker threads.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.version_option(__version__, prog_name="label-images")
def main(store: Path, out: Path, models: Path | None, face: str, min_face: float, workers: int, as_json: bool) -> None:
    """Label every face photo below the folder STORE and write one table.

    Each image file becomes one row with its perceived age, gender and ethnicity, or with the status that says why it
    has none. The labels are for data sets, never for decisions about a person.

    Example: label-images /mnt/efrs --out labels.parquet
    """
    try:
        pack = Pack.load(models or models_folder() / "fairface")
        shown = sys.stderr.isatty()
        total = count_images(store) if shown else None
        with tqdm(total=total, unit=" images", disable=not shown) as bar:
            options = Options(workers=workers, face=face, min_face=min_face)
            summary = label_store(store, out, pack, options, bar.update)
    except LabelerError as error:
        click.echo(f"label-images: {_visible(str(error))}", err=True)
        sys.exit(2)
    except OSError as error:
        reason = f"{error.filename or out}: {error.strerror or error}; no table was written"
        click.echo(f"label-images: {_visible(reason)}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo(f"label-images: interrupted; {_visible(str(out))} is as it was", err=True)
        sys.exit(130)
    click.echo(json.dumps(summary.as_dict(), ensure_ascii=True) if as_json else describe(summary))


def describe(summary: Summary) -> str:
    """Return the summary as lines for a person: the counts first, then an example of each failure."""
    failed = sum(summary.failed.values())
    kinds = ", ".join(f"{count} {status}" for status, count in summary.failed.items())
    counts = (
        f"{summary.files} files: {summary.labelled} labelled, {failed} failed{f' ({kinds})' if kinds else ''}, "
        f"{summary.images_per_second:.0f} images per second -> {_visible(summary.table)}"
    )
    lines = [counts]
    lines += [f"  {status}, for example {_visible(text)}" for status, text in summary.examples.items()]
    lines += [f"  folder not listed: {_visible(text)}" for text in summary.unlisted]
    return "\n".join(lines)


def _visible(text: str) -> str:
    """Return text with control characters escaped, so that a file name cannot rewrite the terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
