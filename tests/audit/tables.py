"""Label tables and truth files made from a seed, for tests that need no pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from labeler import table
from labeler.taxonomy import ATTRIBUTES, COLUMNS, FAIRFACE, Taxonomy, group_of_age

YEARS = (1.0, 6.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0)
HOSTILE = (
    'a b/"><script>alert(1)</script>.jpg',
    "line\nbreak.jpg",
    "override\u202egpj.exe",
    "{{ 7 * 7 }}{% raw %}.jpg",
    "&amp;<!--.jpg",
)


@dataclass(frozen=True)
class Made:
    """A label table and what is true of its images."""

    labels: Path
    truth: Path
    classes: Mapping[str, tuple[str, ...]]
    true: Mapping[str, npt.NDArray[np.int64]]
    years: npt.NDArray[np.float64]
    probabilities: Mapping[str, npt.NDArray[np.float32]]


def information(taxonomy: Taxonomy = FAIRFACE) -> table.TableInfo:
    return table.TableInfo(
        pack_name="test pack",
        pack_version="1",
        pack_digest="0" * 64,
        preprocessing_version="1",
        store="faces",
        tool_version="0.1.0",
        options={"threshold": "0.7"},
        classes=dict(taxonomy.classes),
    )


def make(
    folder: Path,
    n: int = 600,
    seed: int = 1,
    skill: float = 2.0,
    failures: Sequence[str] = (),
    mixes: Mapping[str, Sequence[float]] | None = None,
) -> Made:
    """Write ``labels.parquet`` and ``truth.csv``: n labelled images, and a failed one for each name in failures."""
    rng = np.random.default_rng(seed)
    info = information()
    years = np.minimum(rng.gamma(4.0, 8.0, n).round(), 110.0)
    true: dict[str, npt.NDArray[np.int64]] = {}
    probabilities: dict[str, npt.NDArray[np.float32]] = {}
    for name in ATTRIBUTES:
        classes = info.classes[name]
        if name == "age":
            true[name] = np.array([classes.index(group_of_age(age, classes)) for age in years], dtype=np.int64)
        else:
            mix = (mixes or {}).get(name) or np.linspace(3, 1, len(classes)) / np.linspace(3, 1, len(classes)).sum()
            true[name] = rng.choice(len(classes), n, p=mix)
        logits = rng.normal(size=(n, len(classes))) + skill * np.eye(len(classes))[true[name]]
        odds = np.exp(logits)
        probabilities[name] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    paths = [f"part {i % 7}/{i:06d}.jpg" for i in range(n)]
    write_labels(folder / "labels.parquet", info, paths, probabilities, failures)
    header = "path,age,gender,ethnicity"
    lines = [
        f"{paths[i]},{years[i]:.0f},{info.classes['gender'][true['gender'][i]]},"
        f"{info.classes['ethnicity'][true['ethnicity'][i]]}"
        for i in range(n)
    ]
    (folder / "truth.csv").write_text("\n".join([header, *lines]) + "\n")
    return Made(folder / "labels.parquet", folder / "truth.csv", info.classes, true, years, probabilities)


def write_labels(
    path: Path,
    info: table.TableInfo,
    paths: Sequence[str],
    probabilities: Mapping[str, npt.NDArray[np.float32]],
    failures: Sequence[str] = (),
) -> None:
    """Write a label table of labelled images with these probabilities, then of failed ones."""
    n, failed = len(paths), len(failures)
    schema = table.schema(info.classes, info)
    columns: dict[str, list[Any]] = {
        "path": [*paths, *failures],
        "status": ["ok"] * n + [("corrupt", "no_face", "unsupported")[i % 3] for i in range(failed)],
        "error": [None] * n + [f"cannot be decoded: {name}" for name in failures],
    }
    for name in ATTRIBUTES:
        best = probabilities[name].argmax(axis=1)
        columns[COLUMNS[name]] = [info.classes[name][i] for i in best] + [None] * failed
        columns[f"{name}_probabilities"] = [*probabilities[name].tolist(), *[None] * failed]
    columns["age"] = [*(probabilities["age"] @ np.array(YEARS)).tolist(), *[None] * failed]
    arrays = [
        pa.array(columns[field.name], type=field.type) if field.name in columns else pa.nulls(n + failed, field.type)
        for field in schema
    ]
    rows = pa.Table.from_arrays(arrays, schema=schema).sort_by("path")
    table.write(path, rows.to_batches(), info)
