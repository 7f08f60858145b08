"""The command audit-labels and its verbs: options, the summary and exit codes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from audit import result, run
from audit.text import shown
from labeler import __version__
from labeler.errors import LabelerError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="audit-labels")
def main() -> None:
    """Turn a label table into numbers with intervals that a data team can act on."""


@main.command()
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--truth", type=click.Path(path_type=Path), help="True labels of some images, CSV or Parquet.")
@click.option("--out", type=click.Path(path_type=Path), help="The page to write, one HTML file.")
@click.option("--json", "json_out", type=click.Path(path_type=Path), help="The same numbers, as JSON.")
@click.option("--min-cell", default=10, show_default=True, type=click.IntRange(1), help="Smaller groups are hidden.")
@click.option(
    "--confidence",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of every interval.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the bootstrap.")
def report(
    labels: Path,
    truth: Path | None,
    out: Path | None,
    json_out: Path | None,
    min_cell: int,
    confidence: float,
    seed: int,
) -> None:
    """Write the audit of the label table LABELS as a page, as JSON, or both.

    Example: audit-labels report labels.parquet --truth truth.csv --out audit.html --json audit.json
    """
    try:
        options = result.Options(confidence=confidence, min_cell=min_cell, seed=seed)
        document = run.write(labels, truth, out, json_out, options)
    except LabelerError as error:
        click.echo(f"audit-labels: {shown(str(error))}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"audit-labels: {shown(str(error.filename or out or json_out))}: {error.strerror}", err=True)
        sys.exit(2)
    click.echo("\n".join(run.summary(document)))
    for written in (out, json_out):
        if written is not None:
            click.echo(f"-> {shown(str(written))}")
