"""The command train-labelers: truth files, training, export and evaluation of model packs."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
import pandas as pd

from labeler import __version__
from labeler.errors import LabelerError
from labeler.pack import read_manifest
from labeler.taxonomy import TAXONOMIES
from training.card import write_card
from training.evaluate import evaluate_pack, summary_of, unpacked, write_evaluation, write_in_pack
from training.framing import measure_framing, read_framing, write_framing
from training.metrics import measure
from training.settings import BALANCES, Settings, read_settings
from training.sources import DATA_SETS, read_training_data
from training.splits import split_data_set, write_split
from training.summary import write_summary
from training.truth import write_truth

FACE_HELP = "auto for the pack's framing, whole for pictures that are crops of faces already."
INT8_HELP = "int8 where it is as good on the validation pictures."

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
            f"{error.name} is not installed; install the extra, in the checkout: python -m pip install '.[train]'"
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
@click.option("--splits", type=click.Path(), help="CSV with img_name and split: which pictures are for validation.")
@click.option("--init", type=click.Path(), help="Run whose weights training starts from.")
@click.option("--teacher", help="Runs whose outputs are soft targets, with commas between.")
@click.option("--limit", type=click.IntRange(1), help="Take only the first so many pictures, to try something out.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Cores for the network.")
@named_errors
def train(
    data_set: str,
    source: str,
    out: str,
    config: str | None,
    splits: str | None,
    init: str | None,
    teacher: str | None,
    limit: int | None,
    threads: int,
    **options: Any,
) -> None:
    """Train a network on the training split of a data set, or continue a training that was stopped.

    SOURCE is FairFace's label file, whose images lie beside it, or the CSV file of the AGE data set.
    """
    training, trained = with_torch("training.train"), with_torch("training.trained")
    settings = read_settings(config) if config else Settings()
    settings = replace(settings, **{name: value for name, value in options.items() if value is not None})
    settings.check("options")
    training.prepare_process()
    data = read_training_data(
        data_set, source, colour=settings.colour, framing=settings.framing, splits=splits, limit=limit, progress=True
    )
    start = trained.read_trained(init) if init else None
    teachers = [trained.read_trained(name) for name in teacher.split(",")] if teacher else []
    lessons = [
        data.pictures
        if teacher.settings.colour == settings.colour
        else read_training_data(
            data_set,
            source,
            colour=teacher.settings.colour,
            framing=settings.framing,
            splits=splits,
            limit=limit,
            progress=True,
        ).pictures
        for teacher in teachers
    ]
    run = training.Run(data, settings, out, threads=threads, init=start, teachers=teachers, lessons=lessons)
    run.train(progress=True)
    best = min(run.history, key=lambda row: row["validation_loss"])
    click.echo(f"{out}: {len(run.history)} epochs; best: {json.dumps(best)}")


def _tell(out: str, found: Mapping[str, float]) -> None:
    """Print what `validation_row` says of a run that was not trained but made."""
    click.echo(f"{out}: {json.dumps({name: round(value, 4) for name, value in found.items()})}")


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="Folder of the run to write.")
@named_errors
def average(runs: tuple[str, ...], out: str) -> None:
    """Average the weights of RUNS, each started from another of them, into a run that can be exported."""
    trained, averaging = with_torch("training.trained"), with_torch("training.average")
    found = averaging.average_runs([trained.read_trained(run) for run in runs], out)
    _tell(out, found)


@main.command()
@click.argument("first", type=click.Path())
@click.argument("second", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="Folder of the run to write.")
@named_errors
def join(first: str, second: str, out: str) -> None:
    """Lay the networks of FIRST, residual, and SECOND, residual-mirrored, side by side: they answer with their mean."""
    trained, joining = with_torch("training.trained"), with_torch("training.join")
    found = joining.join_runs(trained.read_trained(first), trained.read_trained(second), out)
    _tell(out, found)


@main.command()
@click.argument("pack", type=click.Path())
@click.argument("data_set", type=click.Choice(list(DATA_SETS)))
@click.argument("source", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="Folder of the run to write.")
@click.option("--splits", type=click.Path(), help="CSV with img_name and split, by which the pack was trained.")
@named_errors
def restore(pack: str, data_set: str, source: str, out: str, splits: str | None) -> None:
    """Turn PACK into a run again, whose weights can be trained on, averaged or exported anew."""
    restoring = with_torch("training.restore")
    shape = read_manifest(pack)
    data = read_training_data(
        data_set, source, colour=shape.colour, framing=shape.framing.kind, splits=splits, progress=True
    )
    found = restoring.restore_run(pack, data, out)
    _tell(out, found)


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
@click.option("--int8", type=click.Choice(["auto", "never"]), default="never", show_default=True, help=INT8_HELP)
@click.option("--flip", is_flag=True, help="Average over the crop and its mirror image, for twice the time.")
@click.option("--framing", type=click.Path(), help="File of train-labelers framing, for a network of whole pictures.")
@named_errors
def export(
    run: str,
    out: str,
    name: str | None,
    pack_version: str,
    description: str,
    int8: str,
    flip: bool,
    framing: str | None,
) -> None:
    """Write the best weights of a training run as a model pack: one ONNX file and its manifest."""
    trained, exporting = with_torch("training.trained"), with_torch("training.export")
    points = read_framing(framing) if framing else None
    document = exporting.export_pack(
        trained.read_trained(run),
        out,
        name=name or Path(out).name,
        version=pack_version,
        description=description,
        options=exporting.Options(flip, int8, points),
    )
    if "int8" in document["training"]:
        click.echo(json.dumps(document["training"]["int8"]))
    files = ", ".join(f"{file} ({entry['bytes']:,} bytes)" for file, entry in document["files"].items())
    click.echo(f"{out}: {files}")


@main.command()
@click.argument("pack", type=click.Path())
@click.argument("data_set", type=click.Choice(list(DATA_SETS)))
@click.argument("source", type=click.Path())
@click.option("--split", help="For fairface: the split to evaluate on, such as val.")
@click.option("--face", type=click.Choice(["auto", "whole"]), default="auto", show_default=True, help=FACE_HELP)
@click.option("--out", type=click.Path(), help="File to write instead: rows as .parquet, in aggregate as .json.")
@named_errors
def evaluate(pack: str, data_set: str, source: str, split: str | None, face: str, out: str | None) -> None:
    """Run a pack on held-out pictures, print its metrics and write its evaluation.

    SOURCE is FairFace's label file, whose images lie beside it, or a folder of UTKFace images. Without --out the
    evaluation goes into the pack: evaluation.parquet, or evaluation.json with aggregate tables only where the data
    set's terms forbid passing on its labels. The pack's card is then written anew from it. A file named
    evaluation-SOMETHING.json inside the pack is shown on the card as figures for other pictures.
    """
    table = evaluate_pack(pack, data_set, source, split, face=face, progress=True)
    frame, about = unpacked(table)
    rows = pd.DataFrame(asdict(metric) for metric in measure(frame, about["classes"]) if "×" not in metric.by)
    click.echo(rows.to_string(index=False, float_format="%.4f", na_rep=""))
    if out is None:
        write_in_pack(table, pack, data_set)
        write_card(pack)
    elif out.endswith(".json"):
        write_summary(summary_of(table, read_manifest(pack)), out)
    else:
        write_evaluation(table, out)


@main.command()
@click.argument("data_set", type=click.Choice(list(DATA_SETS)))
@click.argument("folder", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="JSON file to write.")
@named_errors
def framing(data_set: str, folder: str, out: str) -> None:
    """Measure where a data set's own framing puts the five landmarks of a face, in a FOLDER of its pictures."""
    measured = measure_framing(data_set, folder, progress=True)
    write_framing(measured, out)
    points = ", ".join(f"({x}, {y})" for x, y in measured.points)
    click.echo(f"{out}: {points}; {measured.found} faces in {measured.pictures} pictures")


@main.command()
@click.argument("source", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="Folder of the detector, such as models/yunet.")
@named_errors
def detector(source: str, out: str) -> None:
    """Make the face detector of the published YuNet: SOURCE is face_detection_yunet_2023mar as ONNX in float32."""
    with_torch("training.detector").write_detector(source, out)
    click.echo(f"{out}: written")


@main.command()
@click.argument("labels", type=click.Path())
@click.option("--run", required=True, type=click.Path(), help="Folder for the checkpoints; a run there is continued.")
@click.option("--out", required=True, type=click.Path(), help="Folder of the aligner, such as models/aligner.")
@click.option("--limit", type=click.IntRange(1), help="Take only the first so many pictures.")
@click.option("--epochs", type=click.IntRange(1), help="Of each stage, instead of its own.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Cores.")
@named_errors
def aligner(labels: str, run: str, out: str, limit: int | None, epochs: int | None, threads: int) -> None:
    """Train the aligner on FairFace, whose label file is LABELS: where a face lies, by what the detector sees."""
    training = with_torch("training.aligner")
    with_torch("training.train").prepare_process()
    about = training.train_aligner(labels, run, out, limit=limit, epochs=epochs, threads=threads, progress=True)
    click.echo(f"{out}: {json.dumps(about['validation'])}")


@main.command()
@click.argument("labels", type=click.Path())
@click.option("--run", required=True, type=click.Path(), help="Folder for the checkpoint; a run there is continued.")
@click.option("--out", required=True, type=click.Path(), help="Folder of the verifier, such as models/verifier.")
@click.option("--limit", type=click.IntRange(1), help="Take only the first so many pictures.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the windows, instead of its own number.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Cores.")
@named_errors
def verifier(labels: str, run: str, out: str, limit: int | None, epochs: int | None, threads: int) -> None:
    """Train the verifier on FairFace, whose label file is LABELS: whether a face lies where the aligner comes to."""
    training = with_torch("training.verifier")
    with_torch("training.train").prepare_process()
    about = training.train_verifier(labels, run, out, limit=limit, epochs=epochs, threads=threads, progress=True)
    click.echo(f"{out}: {json.dumps(about['validation'])}")


@main.command()
@click.argument("data_set", type=click.Choice(list(DATA_SETS)))
@click.argument("source", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="CSV file to write: img_name, split, duplicate_group.")
@click.option("--share", type=float, default=0.1, show_default=True, help="Of the pictures that go to validation.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the choice.")
@named_errors
def split(data_set: str, source: str, out: str, share: float, seed: int) -> None:
    """Split a data set into training and validation, near-duplicates on one side.

    SOURCE is FairFace's label file, the CSV file of the AGE data set, or a folder of UTKFace images. Also printed is
    how often near-duplicates are labelled differently: no classifier can agree with both labels.
    """
    result = split_data_set(data_set, source, share=share, seed=seed)
    write_split(result, out)
    counts = ", ".join(f"{n} {name}" for name, n in result.frame["split"].value_counts().items())
    click.echo(f"{out}: {counts}; {result.duplicates} of {len(result.frame)} pictures have a near-duplicate")
    table = pd.DataFrame(asdict(conflict) for conflict in result.conflicts)
    click.echo(table.to_string(index=False, float_format="%.4f", na_rep=""))


@main.command()
@click.argument("source", type=click.Path())
@click.option("--splits", required=True, type=click.Path(), help="CSV with img_name and split.")
@click.option("--test", required=True, type=click.Path(), help="Folder of UTKFace images in neither split.")
@click.option("--pack", required=True, type=click.Path(), help="Our pack, to stand beside the published networks.")
@click.option(
    "--runs", required=True, type=click.Path(), help="Folder for the runs; trained ones are taken as they are."
)
@click.option("--docs", required=True, type=click.Path(), help="Folder for reproduction.md and its pictures.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Cores for the networks.")
@named_errors
def reproduce(source: str, splits: str, test: str, pack: str, runs: str, docs: str, threads: int) -> None:
    """Repeat the published experiments on perceived gender beside a pack of ours, and write the page about it.

    SOURCE is the CSV file of the AGE data set.
    """
    with_torch("training.train").prepare_process()
    reproduction = with_torch("training.reproduction")
    click.echo(reproduction.reproduce(source, splits, test, pack, runs, docs, threads=threads, progress=True))


@main.command()
@click.argument("pack", type=click.Path())
@named_errors
def card(pack: str) -> None:
    """Write a pack's CARD.md from its manifest and its evaluation."""
    click.echo(write_card(pack))
