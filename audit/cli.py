"""The command audit-labels and its verbs: options, the summary and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click

from audit import drift, history, markdown, plan, result, run
from audit.sampling import ALL, STRATIFIERS
from audit.text import shown
from audit.verdict import EXIT_CODES
from labeler import __version__
from labeler.errors import LabelerError
from labeler.taxonomy import ATTRIBUTES

Arguments = ParamSpec("Arguments")

FILE = click.Path(path_type=Path)
DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])
CONFIDENCE = click.option(
    "--confidence",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of every interval.",
)
CHECKED = click.option(
    "--checked", multiple=True, type=FILE, help="A filled sheet of audit-labels sample; may be given several times."
)


def guarded(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Turn an error into one line and an exit code: 2 for a call that cannot be carried out, 1 for a failed write."""

    @wraps(command)
    def inner(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except LabelerError as error:
            click.echo(f"audit-labels: {shown(str(error))}", err=True)
            sys.exit(2)
        except OSError as error:
            named = f"{shown(str(error.filename))}: " if error.filename else ""
            click.echo(f"audit-labels: {named}{error.strerror or error}", err=True)
            sys.exit(1)

    return inner


def say(lines: Iterable[str], *written: Path | None, aside: bool = False) -> None:
    """Print lines, then where each file is; aside, on stderr, where stdout is a file's content."""
    click.echo("\n".join(lines), err=aside)
    for path in written:
        if path is not None:
            click.echo(f"-> {shown(str(path))}", err=aside)


def asked_purpose() -> str:
    """Ask what a review is for; where nobody can answer, ask for the option."""
    try:
        return str(click.prompt("What are these checks for"))
    except click.Abort as error:
        raise LabelerError("--purpose: say what these checks are for; the question was not answered") from error


def day(date: datetime | None) -> str | None:
    """Return a time as an audit keeps it: without its hour where that is midnight."""
    return None if date is None else date.isoformat(timespec="minutes").removesuffix("T00:00")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="audit-labels")
def main() -> None:
    """Turn a label table into numbers with intervals that a data team can act on."""


@main.command()
@click.argument("labels", type=FILE)
@click.option("--truth", type=FILE, help="True labels of some images, CSV or Parquet.")
@CHECKED
@click.option("--models", type=FILE, help="Folder of the pack that labelled the table, for the model-based shares.")
@click.option("--out", type=FILE, help="The page to write, one HTML file.")
@click.option("--json", "json_out", type=FILE, help="The same numbers, as JSON.")
@click.option("--markdown", "markdown_out", type=FILE, help="A summary in Markdown; - prints it.")
@click.option(
    "--thumbnails",
    type=click.IntRange(1, 100),
    metavar="N",
    help="Show faces: the N least sure of each attribute, N groups of near-duplicates, N disagreements with people.",
)
@click.option("--store", type=FILE, help="The labelled folder, for --thumbnails.")
@click.option("--previous", type=FILE, help="The audit.json of an earlier audit, to show what changed since.")
@click.option("--previous-labels", type=FILE, help="Its label table, to show which images are new or gone.")
@click.option("--date", type=DATE, help="The day or time that the audit speaks of, for audit-labels history.")
@click.option("--target", default="uniform", show_default=True, help="Shares wanted: uniform, a CSV or a label table.")
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Ask for a verdict: every share within this of its target passes.",
)
@click.option("--min-cell", default=10, show_default=True, type=click.IntRange(1), help="Smaller groups are hidden.")
@CONFIDENCE
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the bootstrap.")
@guarded
def report(
    labels: Path,
    truth: Path | None,
    checked: tuple[Path, ...],
    models: Path | None,
    out: Path | None,
    json_out: Path | None,
    markdown_out: Path | None,
    thumbnails: int | None,
    store: Path | None,
    previous: Path | None,
    previous_labels: Path | None,
    date: datetime | None,
    target: str,
    margin: float | None,
    min_cell: int,
    confidence: float,
    seed: int,
) -> None:
    """Write the audit of the label table LABELS as a page, as JSON, as Markdown, or as several of them.

    Exit codes: 0 pass or no margin set, 1 fail or a file could not be written, 2 could not run, 3 inconclusive.

    Example: audit-labels report labels.parquet --checked sheet.csv --margin 0.05 --out audit.html --json audit.json
    """
    options = result.Options(
        confidence=confidence,
        min_cell=min_cell,
        seed=seed,
        target=target,
        margin=margin,
        date=day(date),
    )
    document = run.write(
        labels,
        truth,
        out,
        json_out,
        options,
        checked=checked,
        models=models,
        markdown_out=markdown_out,
        thumbnails=thumbnails,
        store=store,
        previous=previous,
        previous_labels=previous_labels,
    )
    printed = markdown_out is not None and str(markdown_out) == run.STDOUT
    say(run.summary(document), out, json_out, None if printed else markdown_out, aside=printed)
    if printed:
        click.echo(markdown.render(document), nl=False)
    sys.exit(EXIT_CODES[document["verdict"]["result"]])


@main.command()
@click.argument("labels", type=FILE)
@click.option("--n", required=True, type=click.IntRange(1), help="Images to draw, or to add.")
@click.option("--out", required=True, type=FILE, help="The sheet to write, CSV.")
@click.option(
    "--by",
    default=ALL,
    show_default=True,
    type=click.Choice(STRATIFIERS),
    help="Whose predicted class and confidence make the strata: for one attribute, or for all at once.",
)
@click.option("--focus", type=click.Choice(["rare"]), help="Give small classes more.")
@click.option("--include", type=click.Choice(["no_face"]), help="Also draw from the pictures without a found face.")
@click.option("--grow", type=FILE, help="An earlier sheet to add to; its answers and its seed are kept.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the draw.")
@CONFIDENCE
@guarded
def sample(
    labels: Path,
    n: int,
    out: Path,
    by: str,
    focus: str | None,
    include: str | None,
    grow: Path | None,
    seed: int,
    confidence: float,
) -> None:
    """Draw images of the label table LABELS that people should check, and say what that will show.

    Example: audit-labels sample labels.parquet --n 300 --out sheet.csv
    """
    drawn = run.sample(
        labels,
        n,
        out,
        by=by,
        seed=seed,
        rare=focus == "rare",
        no_face=include == "no_face",
        grow=grow,
        confidence=confidence,
    )
    say(run.forecast_lines(drawn), out)


@main.command("plan")
@click.argument("labels", type=FILE)
@click.option("--target", default="uniform", show_default=True, help="Shares wanted: uniform, a CSV or a label table.")
@click.option(
    "--attribute", multiple=True, type=click.Choice(ATTRIBUTES), help="Balance only this; may be given several times."
)
@CHECKED
@click.option("--out", type=FILE, help="Which images to keep and their weights: Parquet, or CSV by its ending.")
@CONFIDENCE
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Which images of a class are kept.")
@guarded
def make_plan(
    labels: Path,
    target: str,
    attribute: tuple[str, ...],
    checked: tuple[Path, ...],
    out: Path | None,
    confidence: float,
    seed: int,
) -> None:
    """Say what to collect, which images to keep and how to weight them so that LABELS reaches a target.

    Example: audit-labels plan labels.parquet --attribute ethnicity --out plan.parquet
    """
    made = run.make_plan(labels, target, out, checked=checked, attributes=attribute, confidence=confidence, seed=seed)
    say(plan.describe(made), out)


@main.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option("--json", "json_out", type=FILE, help="Every change, as JSON.")
@click.option(
    "--old-labels", type=FILE, help="The label table of OLD, to list new, gone and otherwise labelled images."
)
@click.option("--new-labels", type=FILE, help="The label table of NEW.")
@guarded
def diff(old: Path, new: Path, json_out: Path | None, old_labels: Path | None, new_labels: Path | None) -> None:
    """Say how the shares changed from the audit OLD to the audit NEW, both written by report --json.

    Example: audit-labels diff last-month.json audit.json
    """
    document = run.diff(old, new, json_out, old_labels=old_labels, new_labels=new_labels)
    say(drift.describe(document), json_out)


@main.command("history")
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("--out", required=True, type=FILE, help="The page to write, one HTML file.")
@guarded
def make_history(folder: Path, out: Path) -> None:
    """Write a page over the audits in DIR, each written by report --json: shares over time, verdicts, packs.

    Example: audit-labels history audits --out history.html
    """
    say(history.describe(run.write_history(folder, out)), out)


@main.command()
@click.argument("sheets", type=FILE, nargs=-1, required=True)
@click.option("--store", type=FILE, help="The folder that holds the images.")
@click.option("--labels", type=FILE, help="The sheets' label table; labels.parquet beside the first sheet is found.")
@click.option("--answers", type=FILE, help="The SQLite file of answers; beside the first sheet unless named.")
@click.option("--purpose", help="What the checks are for; asked at the first start, and kept with the answers.")
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine to listen at.")
@click.option("--port", default=8321, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--export", "checked", type=FILE, help="Serve nothing; write the checked sheet, for report --checked.")
@click.option(
    "--history", "history_out", type=FILE, help="Serve nothing; write every answer with who and when, as JSON."
)
@click.option(
    "--cut", multiple=True, type=FILE, help="Serve nothing; write one person's sheet, named after the person."
)
@click.option("--overlap", default=0, type=click.IntRange(0), help="With --cut: images that every person labels.")
@guarded
def review(
    sheets: tuple[Path, ...],
    store: Path | None,
    labels: Path | None,
    answers: Path | None,
    purpose: str | None,
    host: str,
    port: int,
    no_browser: bool,
    checked: Path | None,
    history_out: Path | None,
    cut: tuple[Path, ...],
    overlap: int,
) -> None:
    """Let people check the images of SHEETS in a browser: blind, by key or tap, with nothing lost.

    Example: audit-labels review sheet.csv --store faces, then audit-labels review sheet.csv --export checked.csv
    """
    from audit.review import run as reviews

    if cut or overlap:
        say(reviews.cut(sheets, cut, overlap, labels=labels), *cut)
    elif checked is not None or history_out is not None:
        say(reviews.export(sheets, checked, history_out, labels=labels, answers=answers), checked, history_out)
    else:
        reviews.serve(
            sheets,
            store,
            labels=labels,
            answers=answers,
            host=host,
            port=port,
            purpose=purpose,
            ask=asked_purpose,
            browser=not no_browser,
            say=click.echo,
        )


@main.command("datasheet")
@click.argument("labels", type=FILE)
@click.option("--out", required=True, type=FILE, help="The data sheet to write, Markdown.")
@click.option("--croissant", "croissant_out", type=FILE, help="The same as Croissant JSON-LD, for machines.")
@click.option("--about", "about_file", type=FILE, help="What only the owner of the store can say: a TOML file.")
@click.option("--truth", type=FILE, help="True labels of some images, CSV or Parquet.")
@CHECKED
@click.option("--models", type=FILE, help="Folder of the pack that labelled the table, for its model card.")
@click.option("--date", type=DATE, help="The day that the data sheet speaks of.")
@click.option("--min-cell", default=10, show_default=True, type=click.IntRange(1), help="Smaller groups are hidden.")
@CONFIDENCE
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the bootstrap.")
@guarded
def make_datasheet(
    labels: Path,
    out: Path,
    croissant_out: Path | None,
    about_file: Path | None,
    truth: Path | None,
    checked: tuple[Path, ...],
    models: Path | None,
    date: datetime | None,
    min_cell: int,
    confidence: float,
    seed: int,
) -> None:
    """Write a data sheet of the label table LABELS under the headings of "Datasheets for Datasets".

    Example: audit-labels datasheet labels.parquet --about about.toml --out DATASHEET.md --croissant croissant.json
    """
    options = result.Options(confidence=confidence, min_cell=min_cell, seed=seed, date=day(date))
    lines = run.write_datasheet(
        labels,
        out,
        options,
        about_file=about_file,
        croissant_out=croissant_out,
        truth_file=truth,
        checked=checked,
        models=models,
    )
    say(lines, out, croissant_out)
