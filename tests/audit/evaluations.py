"""A pack's evaluation made from a seed, for tests that need no pack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from labeler.taxonomy import ATTRIBUTES, COLUMNS, FAIRFACE


def write_evaluation(path: Path, n: int = 500, seed: int = 3, skill: float = 2.0, looks: bool = True) -> Path:
    """Write what ``train-labelers evaluate`` would, of n made-up pictures; without looks, as older versions did."""
    rng = np.random.default_rng(seed)
    columns: dict[str, pa.Array[Any]] = {}
    for name in ATTRIBUTES:
        classes = FAIRFACE.classes[name]
        true = rng.integers(0, len(classes), n)
        odds = np.exp(rng.normal(size=(n, len(classes))) + skill * np.eye(len(classes))[true])
        columns[f"true_{COLUMNS[name]}"] = pa.array([classes[k] for k in true]).dictionary_encode()
        values = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        columns[f"{name}_probabilities"] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(classes))
    columns["true_age"] = pa.nulls(n, pa.float32())
    columns["age"] = pa.array(rng.uniform(0, 80, n).astype(np.float32))
    about: dict[str, Any] = {
        "data_set": "Made",
        "split": "val",
        "classes": {name: list(FAIRFACE.classes[name]) for name in ATTRIBUTES},
        "pack": {"digest": "0" * 64},
    }
    if looks:
        columns["sharpness"] = pa.array(rng.gamma(9.0, 0.07, n).astype(np.float32))
        columns["contrast"] = pa.array(rng.gamma(9.0, 0.02, n).astype(np.float32))
        columns["face_size"] = pa.array(rng.uniform(0.4, 2.0, n).astype(np.float32))
        about["crop"] = [48, 48]
    table = pa.table(columns).replace_schema_metadata({b"efrs.evaluation": json.dumps(about).encode()})
    pq.write_table(table, path)
    return path
