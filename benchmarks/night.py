"""What a night costs in which next to nothing is new: CPU time and memory of walk, join and rewriting."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa

from labeler.merge import Counts, Keep, Merge
from labeler.pack import models_folder, read_manifest
from labeler.pipeline import Options, _plan
from labeler.store import Block, Entry, check_store, scan
from labeler.table import Rows, TableInfo, read_info, schema, write
from labeler.taxonomy import ATTRIBUTES, COLUMNS

BATCH = 8192
MOST_UNCHANGED = 6.0
"""CPU seconds that a million files may take in a night with nothing new."""

MOST_REWRITE = 2.0
"""CPU seconds that the rows of a million files may take to be written anew."""

MOST_MEMORY = 400.0
"""Megabytes at any size of store."""


def fill(store: Path, files: int) -> None:
    """Make empty files, a thousand in a folder."""
    for k in range(files):
        if k % 1000 == 0:
            folder = store / f"{k // 1000:06}"
            folder.mkdir()
        os.close(os.open(f"{folder}/img_{k:09}.jpg", os.O_CREAT))


def invented(count: int) -> Iterator[Entry]:
    """Yield files that are nowhere, in the order of a walk."""
    for k in range(count):
        yield Entry(f"{k // 1000:06}/img_{k:09}.jpg", 40_000 + k % 977, 1_700_000_000_000_000_000 + k)


def invented_blocks(count: int) -> Iterator[Block]:
    """Yield the same files in the blocks of a walk."""
    entries = invented(count)
    while chunk := list(itertools.islice(entries, 1000)):
        paths, sizes, times, _ = zip(*chunk, strict=True)
        yield Block(paths, sizes, times)


def table_of(entries: Iterator[Entry], info: TableInfo) -> Iterator[pa.RecordBatch]:
    """Yield a labelled row for each file, with random labels."""
    plain = schema(info.classes)
    rng = np.random.default_rng(1)
    while chunk := [entry for _, entry in zip(range(BATCH), entries, strict=False)]:
        columns: dict[str, Any] = {name: [None] * len(chunk) for name in plain.names}
        columns |= {
            "path": [entry.path for entry in chunk],
            "size_bytes": [entry.size_bytes for entry in chunk],
            "mtime_ns": [entry.mtime_ns for entry in chunk],
            "content_hash": rng.integers(0, 2**63, len(chunk)),
            "phash": rng.integers(0, 2**63, len(chunk)),
            "status": ["ok"] * len(chunk),
            "age": rng.random(len(chunk), np.float32),
        }
        for name in plain.names:
            if name.startswith("face_"):
                columns[name] = rng.random(len(chunk), np.float32)
        for attribute in ATTRIBUTES:
            classes = info.classes[attribute]
            values = rng.dirichlet(np.ones(len(classes)), len(chunk)).astype(np.float32)
            columns[COLUMNS[attribute]] = [classes[k] for k in values.argmax(1)]
            columns[f"{attribute}_confidence"] = values.max(1)
            columns[f"{attribute}_probabilities"] = list(values)
        yield pa.RecordBatch.from_arrays([pa.array(columns[item.name], item.type) for item in plain], schema=plain)


def measured(work: Callable[..., object], *given: object) -> tuple[float, float, object]:
    """Return CPU seconds and peak memory in MB of a call in a process of its own, and what it returned."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_call, (work, *given))


def _call(work: Callable[..., object], *given: object) -> tuple[float, float, object]:
    started = time.process_time()
    result = work(*given)
    return time.process_time() - started, peak_memory(), result


def peak_memory() -> float:
    """Return this process's peak memory in MB; what `resource` says on Linux would count the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def nothing_new(store: Path, out: Path) -> Counts:
    """Walk a store and join it with its table."""
    plan = _plan(check_store(store), out, read_manifest(models_folder() / "fairface"), Options())
    for _ in plan.merge.steps():
        pass
    return plan.merge.counts


def join(out: Path, count: int) -> Counts:
    """Join as many invented files with their table."""
    merge = Merge(invented_blocks(count), [Rows([out])])
    for _ in merge.steps():
        pass
    return merge.counts


def rewrite(out: Path, count: int) -> int:
    """Join, and write the table anew without its first row."""
    rows = Rows([out])
    merge = Merge(invented_blocks(count), [rows])
    kept = (
        batch for step in merge.steps() if isinstance(step, Keep) for batch in rows.take(max(step.start, 1), step.stop)
    )
    return write(out.with_name("new.parquet"), kept, read_info(out))


def read_and_write(out: Path) -> int:
    """Write a table anew as it is."""
    rows = Rows([out])
    return write(out.with_name("new.parquet"), rows.take(0, rows.count), read_info(out))


def tell(what: str, seconds: float, most: float, memory: float, *, timed: bool = True) -> None:
    """Print a figure beside its bound; a small table's time is that of the start."""
    passed = (seconds <= most or not timed) and memory <= MOST_MEMORY
    time_told = f"{seconds:.2f} CPU s a million (wanted <= {most:g}), " if timed else ""
    click.echo(f"{'PASS' if passed else 'FAIL'} {what}: {time_told}{memory:.0f} MB at most (wanted <= {MOST_MEMORY:g})")


@click.command()
@click.option("--files", default=1_000_000, show_default=True, help="Empty files to walk.")
@click.option("--rows", multiple=True, type=int, default=[10_000, 1_000_000], help="Rows of invented tables.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the files are made.  [default: a temporary one]")
def main(files: int, rows: list[int], folder: Path | None) -> None:
    """Measure nights without anything new: all figures are CPU seconds and peak memory of a process of its own."""
    info = _plan(Path.cwd(), Path("none.parquet"), read_manifest(models_folder() / "fairface"), Options()).info
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store, out = Path(place) / "store", Path(place) / "labels.parquet"
        if files:
            store.mkdir()
            fill(store, files)
            walked = scan(store)
            write(out, table_of((entry for entry in walked if isinstance(entry, Entry)), info), info)
            seconds, memory, counts = measured(nothing_new, store, out)
            tell(f"{files} files, nothing new", seconds / files * 1e6, MOST_UNCHANGED, memory)
            click.echo(f"  {counts}")
        for count in rows:
            write(out, table_of(invented(count), info), info)
            for name, work, given, bound in (
                ("join", join, (out, count), MOST_UNCHANGED),
                ("rewrite", read_and_write, (out,), MOST_REWRITE),
                ("join and rewrite", rewrite, (out, count), MOST_UNCHANGED + MOST_REWRITE),
            ):
                seconds, memory, _ = measured(work, *given)
                tell(f"{count} rows, {name}", seconds / count * 1e6, bound, memory, timed=count >= 100_000)


if __name__ == "__main__":
    main()
