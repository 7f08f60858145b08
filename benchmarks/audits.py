"""What an audit costs: ten million rows, a million hashes, 126 intersections; each figure beside its bound.

The table is made up: 65,536 different rows of probabilities in ever new order, a thousand folders, one image in fifty a
near-duplicate. CPU time and peak memory are those of a process of its own.

Example: python benchmarks/audits.py --rows 10000000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from audit import agreement, duplicates
from labeler import table
from labeler.taxonomy import ATTRIBUTES, COLUMNS, FAIRFACE

ROWS, SECONDS, MEGABYTES = 10_000_000, 60.0, 1000.0
"""Rows of the large audit; CPU seconds and megabytes of memory that it may take."""
HASHES, HASH_SECONDS = 1_000_000, 60.0
REPLICATES, INTERSECTION_SECONDS = 2000, 10.0
REPEATED = 0.02
FOLDERS = 1000

INFO = table.TableInfo(
    pack_name="made up",
    pack_version="1",
    pack_digest="0" * 64,
    preprocessing_version="1",
    store="made up",
    tool_version="1",
    options={},
    classes=dict(FAIRFACE.classes),
)


def probabilities(n: int, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    """Return made-up probabilities of n images, as sure as a fair classifier's."""
    found = {}
    for name in ATTRIBUTES:
        k = len(FAIRFACE.classes[name])
        odds = np.exp(rng.normal(size=(n, k)) + 2.5 * np.eye(k)[rng.integers(0, k, n)])
        found[name] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def hashes(n: int, rng: np.random.Generator) -> npt.NDArray[np.uint64]:
    """Return hashes of n images, some of which differ from another in one or two bits."""
    found = rng.integers(0, 2**63, n, dtype=np.uint64) * np.uint64(2)
    again = rng.choice(n, int(n * REPEATED), replace=False)
    flips = rng.integers(0, 64, (2, len(again))).astype(np.uint64)
    found[again] = found[rng.integers(0, n, len(again))] ^ (np.uint64(1) << flips[0]) ^ (np.uint64(1) << flips[1])
    return found


def batches(rows: int, seed: int = 0) -> Iterator[pa.RecordBatch]:
    """Yield a label table's rows; two of a hundred have no label."""
    rng = np.random.default_rng(seed)
    size = table.ROW_GROUP_ROWS
    f = probabilities(size, rng)
    marks = hashes(rows, rng)
    schema = table.schema(FAIRFACE.classes)
    names = np.array([f"{folder:04d}/" for folder in range(FOLDERS)])
    for start in range(0, rows, size):
        n = min(size, rows - start)
        order = rng.permutation(size)[:n]
        numbers = np.arange(start, start + n)
        path = np.char.add(names[numbers * FOLDERS // max(rows, 1)], np.char.zfill(numbers.astype("U9"), 9))
        missing = rng.random(n) < 0.02
        columns: dict[str, Any] = {
            "path": pa.array(np.char.add(path, ".jpg")),
            "status": pa.DictionaryArray.from_arrays(missing.astype(np.int8), np.array(table.STATUSES[:2])),
            "width": pa.array(np.full(n, 224, np.int32)),
            "height": pa.array(np.full(n, 224, np.int32)),
            "phash": pa.array(marks[start : start + n], mask=missing),
            "age": pa.array(rng.uniform(0, 80, n).astype(np.float32), mask=missing),
            "face_width": pa.array(rng.uniform(30, 200, n).astype(np.float32), mask=missing),
            "face_height": pa.array(rng.uniform(30, 200, n).astype(np.float32), mask=missing),
        }
        for name in ATTRIBUTES:
            values, k = f[name][order], len(FAIRFACE.classes[name])
            best = pa.array(values.argmax(axis=1).astype(np.int8), mask=missing)
            columns[COLUMNS[name]] = pa.DictionaryArray.from_arrays(best, np.array(FAIRFACE.classes[name]))
            columns[f"{name}_confidence"] = pa.array(values.max(axis=1), mask=missing)
            columns[f"{name}_probabilities"] = pa.FixedSizeListArray.from_arrays(
                pa.array(values.ravel()), k, mask=pa.array(missing)
            )
        arrays = [
            columns[item.name].cast(item.type) if item.name in columns else pa.nulls(n, item.type) for item in schema
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def audit_in_a_process(labels: Path, out: Path) -> tuple[float, float]:
    """Return the CPU seconds and the peak megabytes of ``audit-labels report`` in a process of its own."""
    call = f"from audit.cli import main; main(['report', {str(labels)!r}, '--json', {str(out)!r}])"
    code = (
        "import resource, sys\n"
        f"try:\n    {call}\nexcept SystemExit:\n    pass\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, kilobytes = done.stderr.split()[-2:]
    return float(seconds), float(kilobytes) / 1024


def time_hashes(n: int) -> float:
    """Return the CPU seconds of finding near-duplicates among n hashes."""
    marks = hashes(n, np.random.default_rng(1))
    start = time.process_time()
    duplicates.groups(marks)
    return time.process_time() - start


def time_intersections(replicates: int, images: int = 100_000) -> tuple[float, int]:
    """Return the CPU seconds of all metrics of all groups and intersections, and how many groups were measured."""
    rng = np.random.default_rng(2)
    f = probabilities(images, rng)
    true = {name: rng.integers(0, len(FAIRFACE.classes[name]), images) for name in ATTRIBUTES}
    predicted = {name: values.argmax(axis=1).astype(np.int64) for name, values in f.items()}
    known = agreement.Images(
        "made up",
        dict(FAIRFACE.classes),
        true,
        predicted,
        {name: values.astype(np.float64) for name, values in f.items()},
    )
    start = time.process_time()
    found = agreement.Records(known, agreement.Settings(replicates=replicates))
    seconds = time.process_time() - start
    return seconds, len({(r["attribute"], json.dumps(r["group"])) for r in found.performance})


def judged(what: str, figure: float, bound: float, unit: str) -> bool:
    """Print a figure beside its bound."""
    good = figure <= bound
    print(f"{what}: {figure:,.1f} {unit} (bound {bound:,.0f}) {'PASS' if good else 'FAIL'}", flush=True)
    return good


def main() -> None:
    """Print each figure beside its bound; the exit code is 1 if one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="of the large table; 0 leaves it out")
    parser.add_argument("--folder", type=Path, help="where to keep the table; else it is made in a temporary folder")
    options = parser.parse_args()
    results = []
    seconds, groups = time_intersections(REPLICATES)
    results.append(
        judged(f"{groups} groups and intersections x {REPLICATES} replicates", seconds, INTERSECTION_SECONDS, "CPU s")
    )
    results.append(judged(f"near-duplicates of {HASHES:,} hashes", time_hashes(HASHES), HASH_SECONDS, "CPU s"))
    if options.rows:
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.folder or Path(temporary)
            labels = folder / f"made-{options.rows}.parquet"
            if not labels.exists():
                table.write(labels, batches(options.rows), INFO)
            seconds, megabytes = audit_in_a_process(labels, Path(temporary) / "audit.json")
            part = options.rows / ROWS
            results.append(judged(f"audit of {options.rows:,} rows", seconds, SECONDS * max(part, 0.1), "CPU s"))
            results.append(judged(f"audit of {options.rows:,} rows, peak memory", megabytes, MEGABYTES, "MB"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"(this benchmark itself used {peak:,.0f} MB)")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
