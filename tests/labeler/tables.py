"""Label tables for tests: random rows in the schema, in batches of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from labeler.table import STATUSES, TableInfo, schema
from labeler.taxonomy import ATTRIBUTES, COLUMNS, FAIRFACE

INFO = TableInfo(
    pack_name="tiny",
    pack_version="0.0.1",
    pack_digest="0" * 64,
    preprocessing_version="1",
    store="störe",
    tool_version="0.0.1",
    options={"limit_pixels": "1"},
    classes=FAIRFACE.classes,
)


def row(path: str, seed: int = 0, status: str | None = None) -> dict[str, Any]:
    """Return a row as Python values; what it holds depends on the seed alone."""
    rng = np.random.default_rng(seed)
    became = status or STATUSES[int(rng.integers(len(STATUSES)))]
    values: dict[str, Any] = dict.fromkeys(schema(FAIRFACE.classes).names)
    values |= {"path": path, "size_bytes": int(rng.integers(2**40)), "mtime_ns": int(rng.integers(2**62))}
    values |= {"status": became, "error": None if became == "ok" else "some reason"}
    if became == "ok":
        values |= {"width": 10, "height": 2**31 - 1, "faces": 1, "age": 33.25, "phash": 2**64 - 1 - seed}
        for attribute in ATTRIBUTES:
            classes = FAIRFACE.classes[attribute]
            probabilities = rng.dirichlet(np.ones(len(classes))).astype(np.float32)
            values[COLUMNS[attribute]] = classes[int(probabilities.argmax())]
            values[f"{attribute}_confidence"] = float(probabilities.max())
            values[f"{attribute}_probabilities"] = probabilities.tolist()
    return values


def rows(count: int) -> list[dict[str, Any]]:
    """Return rows in the order of their paths."""
    return [row(f"{k:06}.jpg", k) for k in range(count)]


def batches(values: Sequence[dict[str, Any]], size: int) -> list[pa.RecordBatch]:
    """Return rows as record batches of a size."""
    plain = schema(FAIRFACE.classes)
    return [pa.RecordBatch.from_pylist(list(values[k : k + size]), plain) for k in range(0, len(values), size)]
