"""The command train-labelers: truth files, training, export and evaluation of model packs."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
import pandas as pd

from labeler import __version__
from labeler.errors import LabelerError
from labeler.taxonomy import TAXONOMIES
from training.card import write_card
from training.evaluate import EVALUATION, evaluate_pack, read_evaluation, write_evaluation
from training.metrics import measure
from training.settings import BALANCES, Settings, read_settings
from training.sources import DATA_SETS, read_training_data
from training.truth import write_truth

P = ParamSpec("P")
R = TypeVar("R")


def named_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Print a `LabelerError` of a command as one line and end with exit code 2."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except LabelerError as error:
            click.echo(f"Error: {' '.join(str(error).split())}", err=True)
            sys.exit(2)

    return wrapped


def with_torch(module: str) -> Any:
    """Import a module of this package that needs the extra ``[train]``."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise LabelerError(
            f"{error.name} is not installed; install the extra: pip install 'efrs-labeler[train]'"
        ) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="train-labelers")
def main() -> None:
    """Train, evaluate and export the classifiers of a model pack."""


@main.command()
@click.argument("data_set", type=click.Choice(list(DATA_SETS)))
@click.argument("source", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="CSV file to write.")
@click.option("--split", help="For fairface: train or val; its folder is stripped from the paths.")
@click.option("--taxonomy", type=click.Choice(sorted(TAXONOMIES)), help="Write labels in this pack taxonomy.")
@named_errors
def truth(data_set: str, source: str, out: str, split: str | None, taxonomy: str | None) -> None:
    """Turn a data set's labels into a truth file for audit-labels.

    SOURCE is FairFace's label file, a folder of UTKFace images, or the CSV file of the AGE data set.
    """
    rows = write_truth(data_set, source, out, split=split, taxonomy=taxonomy)
    click.echo(f"{out}: {rows} rows")


@main.command()
@click.argument("data_set", type=click.Choice(list(DATA_SETS)))
@click.argument("source", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="Folder of the run; the same call again continues it.")
@click.option("--config", type=click.Path(), help="JSON file of settings, as settings.json of a run.")
@click.option("--network", help="Name of the network.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training pictures.")
@click.option("--batch", type=click.IntRange(2), help="Crops a step.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Peak of the learning rate.")
@click.option("--balance", type=click.Choice(BALANCES), help="Groups to show more equally often.")
@click.option("--patience", type=click.IntRange(0), help="Epochs without improvement before stopping; 0 for never.")
@click.option("--seed", type=click.IntRange(0), help="Seed of everything.")
@click.option("--splits", type=click.Path(), help="For utkface: CSV with img_name and split.")
@click.option("--limit", type=click.IntRange(1), help="Take only the first so many pictures, to try something out.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Cores for the network.")
@named_errors
def train(
    data_set: str,
    source: str,
    out: str,
    config: str | None,
    splits: str | None,
    limit: int | None,
    threads: int,
    **options: Any,
) -> None:
    """Train a network on the training split of a data set, or continue a training that was stopped.

    SOURCE is FairFace's label file, whose images lie beside it, or the CSV file of the AGE data set.
    """
    training = with_torch("training.train")
    settings = read_settings(config) if config else Settings()
    settings = replace(settings, **{name: value for name, value in options.items() if value is not None})
    settings.check("options")
    training.prepare_process()
    data = read_training_data(
        data_set, source, colour=settings.colour, framing=settings.framing, splits=splits, limit=limit, progress=True
    )
    run = training.Run(data, settings, out, threads=threads)
    run.train(progress=True)
    best = min(run.history, key=lambda row: row["validation_loss"])
    click.echo(f"{out}: {len(run.history)} epochs; best: {json.dumps(best)}")


@main.command()
@click.argument("run", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="Folder of the pack to write.")
@click.option("--name", help="Name of the pack; the folder's name by default.")
@click.option("--pack-version", default=__version__, show_default=True, help="Version of the pack.")
@click.option(
    "--description",
    default="Perceived age, gender and ethnicity from one face.",
    show_default=True,
    help="One sentence for the manifest and the card.",
)
@named_errors
def export(run: str, out: str, name: str | None, pack_version: str, description: str) -> None:
    """Write the best weights of a training run as a model pack: one ONNX file and its manifest."""
    training = with_torch("training.train")
    exporting = with_torch("training.export")
    document = exporting.export_pack(
        training.read_trained(run),
        out,
        name=name or Path(out).name,
        version=pack_version,
        description=description,
    )
    files = ", ".join(f"{file} ({entry['bytes']:,} bytes)" for file, entry in document["files"].items())
    click.echo(f"{out}: {files}")


@main.command()
@click.argument("pack", type=click.Path())
@click.argument("data_set", type=click.Choice(list(DATA_SETS)))
@click.argument("source", type=click.Path())
@click.option("--split", help="For fairface: the split to evaluate on, such as val.")
@click.option("--out", type=click.Path(), help="Parquet file to write; evaluation.parquet in the pack by default.")
@named_errors
def evaluate(pack: str, data_set: str, source: str, split: str | None, out: str | None) -> None:
    """Run a pack on held-out pictures, print its metrics and write its evaluation.

    SOURCE is FairFace's label file, whose images lie beside it, or a folder of UTKFace images. Without --out the
    evaluation goes into the pack, and the pack's card is written anew from it.
    """
    path = Path(out) if out else Path(pack) / EVALUATION
    write_evaluation(evaluate_pack(pack, data_set, source, split, progress=True), path)
    if out is None:
        write_card(pack)
    frame, about = read_evaluation(path)
    table = pd.DataFrame(asdict(metric) for metric in measure(frame, about["classes"]))
    click.echo(table.to_string(index=False, float_format="%.4f", na_rep=""))


@main.command()
@click.argument("pack", type=click.Path())
@named_errors
def card(pack: str) -> None:
    """Write a pack's CARD.md from its manifest and its evaluation."""
    click.echo(write_card(pack))
