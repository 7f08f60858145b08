"""The content of audit.json, the only thing a report may read: built from a label table, written with fixed bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from audit import balance, performance, prevalence, truth, verdict
from audit.estimate import REPLICATES, Estimate, FloatArray, IntArray, proportion
from labeler import __version__, table
from labeler.errors import TableError
from labeler.taxonomy import ATTRIBUTES, COLUMNS

SCHEMA_VERSION = 1
EXAMPLES = 20
"""How many of the files without a label are named, the first by path."""

OK = table.STATUSES.index("ok")

ORDERED = frozenset({"age"})
"""Attributes whose classes have an order."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What an audit was asked for.

    Parameters
    ----------
    confidence : float
        Of every interval, strictly between 0 and 1.
    min_cell : int
        Groups with fewer images are suppressed, 1 or more.
    seed, replicates : int
        Where the bootstrap's random numbers begin, and how many resamples it draws.
    """

    confidence: float = 0.95
    min_cell: int = 10
    seed: int = 0
    replicates: int = REPLICATES


def columns(with_truth: bool) -> list[str]:
    """Return the columns of a label table that an audit reads.

    Examples
    --------
    >>> columns(with_truth=False)
    ['path', 'status', 'error', 'age_group', 'gender', 'ethnicity']
    """
    names = ["path", "status", "error", *COLUMNS.values()]
    if with_truth:
        names += ["age", *(f"{attribute}_probabilities" for attribute in ATTRIBUTES)]
    return names


def audit_files(
    labels: str | os.PathLike[str], truth_file: str | os.PathLike[str] | None = None, options: Options | None = None
) -> Document:
    """Audit a label table in a file, with a truth file if there is one.

    Raises
    ------
    TableError, TruthError
        If one of them cannot be read.
    """
    labels = Path(labels)
    label_table = table.read(labels, columns(truth_file is not None))
    checked, sources = None, {"labels": _source(labels)}
    if truth_file is not None:
        checked = truth.read(truth_file, label_table.rows.column("path"), label_table.info.classes)
        sources["truth"] = _source(Path(truth_file))
    return build(label_table, checked, options, sources)


def build(
    label_table: table.LabelTable,
    checked: truth.Truth | None = None,
    options: Options | None = None,
    sources: Mapping[str, Mapping[str, str]] | None = None,
) -> Document:
    """Return the content of audit.json.

    Parameters
    ----------
    label_table : LabelTable
        With at least the `columns` that are needed.
    checked : Truth, optional
        True labels of some of its rows.
    options : Options, optional
        As they stand where not given.
    sources : mapping, optional
        Name and SHA-256 of the files that went in, for the provenance.

    Returns
    -------
    dict
        Only text, whole and finite numbers, True, False, None, lists and dicts: see ``audit/schema/audit-1.json``.
    """
    options = options or Options()
    classes = label_table.info.classes
    codes = {name: class_codes(label_table.rows.column(COLUMNS[name]), classes[name]) for name in ATTRIBUTES}
    counts = {
        name: np.bincount(codes[name][codes[name] >= 0], minlength=len(classes[name])).astype(np.int64)
        for name in ATTRIBUTES
    }
    outcomes = class_codes(label_table.rows.column("status"), table.STATUSES)
    decision = verdict.of_raw_shares(int((outcomes == OK).sum()))
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "efrs-labeler", "version": __version__},
        "pack": _pack(label_table.info),
        "options": {
            "confidence": options.confidence,
            "min_cell": options.min_cell,
            "seed": options.seed,
            "replicates": options.replicates,
            "target": "uniform",
        },
        "store": _store(label_table, outcomes, checked),
        "missingness": _missingness(outcomes, options),
        "shares": [record for name in ATTRIBUTES for record in _shares(name, counts[name], classes[name], options)],
        "balance": [record for name in ATTRIBUTES for record in _balance(name, counts[name], options)],
        "performance": list(_performance(label_table, codes, outcomes, checked, options)) if checked else [],
        "verdict": {
            "result": decision.result,
            "margin": None,
            "confidence": options.confidence,
            "basis": decision.basis,
            "reasons": list(decision.reasons),
        },
        "provenance": {name: dict(source) for name, source in (sources or {}).items()},
    }


def class_codes(column: pa.ChunkedArray[Any], labels: tuple[str, ...]) -> IntArray:
    """Return a label column as positions in its attribute's classes, -1 where there is no label.

    Raises
    ------
    TableError
        If the column holds a class that the table does not declare.

    Examples
    --------
    >>> class_codes(pa.chunked_array([pa.array(["b", None, "a"]).dictionary_encode()]), ("a", "b")).tolist()
    [1, -1, 0]
    """
    parts = [np.empty(0, dtype=np.int64)]
    chunk: Any  # the stubs know no array with a dictionary
    for chunk in column.chunks:
        # The last place of the map stands for null, which is code -1.
        positions = np.full(len(chunk.dictionary) + 1, -1, dtype=np.int64)
        for code, label in enumerate(chunk.dictionary.to_pylist()):
            if label not in labels:
                raise TableError(
                    f"the label table holds the class {label!r}, which it does not declare; "
                    "write it anew with label-images"
                )
            positions[code] = labels.index(label)
        parts.append(positions[chunk.indices.fill_null(-1).to_numpy()])
    return np.concatenate(parts)


def to_json(document: Mapping[str, Any]) -> str:
    """Return audit.json's text: the same document gives the same bytes on every machine.

    Raises
    ------
    ValueError
        If it holds a number that JSON cannot say (NaN, infinity).

    Examples
    --------
    >>> print(to_json({"b": 1, "a": None}), end="")
    {
      "b": 1,
      "a": null
    }
    """
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file in one step: a reader sees the old one or the new one, never a part.

    Lone surrogates, which stand for bytes of a file name that are no text, are written as escapes.
    """
    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def _source(path: Path) -> dict[str, str]:
    with path.open("rb") as stream:
        return {"file": path.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _pack(info: table.TableInfo) -> Document:
    return {
        "name": info.pack_name,
        "version": info.pack_version,
        "digest": info.pack_digest,
        "preprocessing_version": info.preprocessing_version,
        "tool_version": info.tool_version,
        "options": {key: info.options[key] for key in sorted(info.options)},
        "classes": {name: list(info.classes[name]) for name in ATTRIBUTES},
    }


def _missingness(outcomes: IntArray, options: Options) -> list[Document]:
    counts = np.bincount(outcomes, minlength=len(table.STATUSES))
    records = []
    for status, number in zip(table.STATUSES, counts.tolist(), strict=True):
        share = proportion(number, len(outcomes), options.confidence)
        if len(outcomes) == 0:
            share = Estimate.undefined(0, "the table holds no file")
        records.append({"outcome": status, "group": {}, "count": number, **_fields(share)})
    return records


def _store(label_table: table.LabelTable, outcomes: IntArray, checked: truth.Truth | None) -> Document:
    failed = np.flatnonzero(outcomes != OK)
    examples = label_table.rows.select(["path", "status", "error"]).take(failed[:EXAMPLES])
    return {
        "name": label_table.info.store,
        "files": len(outcomes),
        "labelled": len(outcomes) - len(failed),
        "not_labelled": len(failed),
        "examples": examples.to_pylist(),
        "truth": _truth(checked, outcomes) if checked else None,
    }


def _truth(checked: truth.Truth, outcomes: IntArray) -> Document:
    return {
        "file": checked.name,
        "columns": list(checked.columns),
        "images": len(checked.rows),
        "labelled": int((outcomes[checked.rows] == OK).sum()),
        "weighted": checked.weights is not None,
    }


def _fields(estimate: Estimate, n_eff: bool = False) -> Document:
    fields: Document = {
        "value": _rounded(estimate.value),
        "low": _rounded(estimate.low),
        "high": _rounded(estimate.high),
        "n": estimate.n,
    }
    if n_eff:
        fields["n_eff"] = _rounded(estimate.n_eff)
    return fields | {"status": estimate.status, "reason": estimate.reason}


def _rounded(value: float | None) -> float | None:
    # Beyond 12 decimals two builds of a maths library may differ; + 0.0 turns -0.0 into 0.0.
    return None if value is None else round(float(value), 12) + 0.0


def _shares(attribute: str, counts: IntArray, labels: tuple[str, ...], options: Options) -> Iterator[Document]:
    target = prevalence.uniform(len(labels))
    for share in prevalence.raw_shares(counts, labels, target, options.confidence):
        yield {
            "attribute": attribute,
            "class": share.label,
            "grade": "raw",
            "count": share.count,
            "target": _rounded(share.target),
            **_fields(share.estimate, n_eff=True),
        }


def _balance(attribute: str, counts: IntArray, options: Options) -> Iterator[Document]:
    target = prevalence.uniform(len(counts))
    for name in balance.STATISTICS:
        found = balance.measure(name, counts, target, options.confidence, options.replicates, options.seed)
        yield {
            "attribute": attribute,
            "statistic": name,
            "chance": _rounded(found.chance),
            **_fields(found.estimate),
        }


@dataclass(frozen=True)
class _Checked:
    """The labelled images whose truth is known, one entry each."""

    true: Mapping[str, IntArray]
    predicted: Mapping[str, IntArray]
    probabilities: Mapping[str, FloatArray]
    errors: FloatArray | None


def _performance(
    label_table: table.LabelTable,
    codes: Mapping[str, IntArray],
    outcomes: IntArray,
    checked: truth.Truth,
    options: Options,
) -> Iterator[Document]:
    images = _checked_images(label_table, codes, outcomes, checked)
    classes = label_table.info.classes
    for attribute in images.true:
        for group, members in _groups(attribute, images.true, classes):
            measured = _measure(attribute, members, images, options)
            for metric, estimate in measured.items():
                yield {
                    "attribute": attribute,
                    "metric": metric,
                    "group": group,
                    **_fields(estimate),
                    "basis": checked.name,
                }


def _checked_images(
    label_table: table.LabelTable, codes: Mapping[str, IntArray], outcomes: IntArray, checked: truth.Truth
) -> _Checked:
    kept = outcomes[checked.rows] == OK
    chosen = checked.rows[kept]
    rows = label_table.rows.select(columns(with_truth=True)).take(chosen)
    errors = None
    if checked.years is not None:
        errors = rows.column("age").to_numpy().astype(np.float64) - checked.years[kept]
    return _Checked(
        true={name: checked.codes[name][kept] for name in ATTRIBUTES if name in checked.codes},
        predicted={name: codes[name][chosen] for name in ATTRIBUTES},
        probabilities={
            name: _matrix(rows.column(f"{name}_probabilities"), len(label_table.info.classes[name]))
            for name in ATTRIBUTES
        },
        errors=errors,
    )


def _matrix(column: pa.ChunkedArray[Any], classes: int) -> FloatArray:
    lists: Any = column.combine_chunks()
    values: FloatArray = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return values.reshape(-1, classes)


def _groups(
    attribute: str, true: Mapping[str, IntArray], classes: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[dict[str, str], np.typing.NDArray[np.bool_]]]:
    """Yield all images, then those of each declared class of each other attribute, by their true labels."""
    yield {}, np.ones(len(true[attribute]), dtype=bool)
    for other in true:
        if other == attribute:
            continue
        for code, label in enumerate(classes[other]):
            yield {other: label}, true[other] == code


def _measure(
    attribute: str, members: np.typing.NDArray[np.bool_], images: _Checked, options: Options
) -> dict[str, Estimate]:
    known = members & (images.true[attribute] >= 0)
    measured = performance.measure(
        images.true[attribute][known],
        images.predicted[attribute][known],
        images.probabilities[attribute][known],
        ordered=attribute in ORDERED,
        min_cell=options.min_cell,
        confidence=options.confidence,
        replicates=options.replicates,
        seed=options.seed,
    )
    if attribute == "age" and images.errors is not None:
        errors = images.errors[members & ~np.isnan(images.errors)]
        measured |= performance.measure_years(errors, options.min_cell, options.confidence)
    return measured
