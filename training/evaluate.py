"""A pack on held-out pictures: true labels beside predicted probabilities, without names and without pixels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from labeler.errors import LabelerError, PackError
from labeler.looks import looks
from labeler.pack import Manifest, Pack, Prediction, read_manifest
from labeler.taxonomy import ATTRIBUTES, FAIRFACE, FAIRFACE_TO_UTKFACE, UTKFACE, group_of_age
from training.metrics import true_column
from training.pictures import Pixels
from training.sources import DATA_SETS, NOTICES, PROVENANCE, checked_data_set, read_evaluation_data
from training.summary import SUMMARY, summarise, write_summary

EVALUATION = "evaluation.parquet"
METADATA = b"efrs.evaluation"
LOOKS = ("sharpness", "contrast", "face_size")
"""What tells whether other pictures look like these, as `labeler.looks` measures it; null where it is not known."""

Probabilities = npt.NDArray[np.float32]


def evaluation_frame(
    frame: pd.DataFrame, prediction: Prediction, crops: Pixels, manifest: Manifest, taxonomy: str
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Put true labels and predictions side by side, in classes that both have.

    Where the labels have another taxonomy than the pack, FairFace's seven ethnicities are added up to UTKFace's five
    (`labeler.taxonomy.FAIRFACE_TO_UTKFACE`), and a true age in years is put into the pack's own age groups; where
    neither is possible the truth is null.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `training.datasets` reads it; its paths are not kept. Optionally ``face_size``.
    prediction : Prediction
        Of the same pictures, in the same order.
    crops : numpy.ndarray
        The same pictures as the pack takes them.
    manifest : Manifest
        Of the pack.
    taxonomy : str
        Of the labels in `frame`.

    Returns
    -------
    (pandas.DataFrame, dict)
        ``true_age_group``, ``true_gender``, ``true_ethnicity``, ``true_age``, the three ``…_probabilities``, ``age``
        and `LOOKS`, sorted by truth and then age, so that the order tells nothing of the files; and the classes.
    """
    classes = dict(manifest.classes)
    probabilities = dict(prediction.probabilities)
    ethnicity = frame["ethnicity"]
    age_group = frame["age_group"]
    if taxonomy != manifest.taxonomy:
        age_group = _regrouped(frame["age"], classes["age"])
        if manifest.taxonomy == FAIRFACE.name:
            probabilities["ethnicity"] = to_five(probabilities["ethnicity"], classes["ethnicity"])
            classes["ethnicity"] = UTKFACE.classes["ethnicity"]
        else:
            ethnicity = ethnicity.map(dict(FAIRFACE_TO_UTKFACE))
    seen = looks(crops)
    sizes = frame["face_size"].to_numpy(np.float32) if "face_size" in frame else np.full(len(frame), np.nan, np.float32)
    result = pd.DataFrame(
        {
            "true_age_group": age_group.to_numpy(),
            "true_gender": frame["gender"].to_numpy(),
            "true_ethnicity": ethnicity.to_numpy(),
            "true_age": frame["age"].to_numpy(np.float32),
            **{f"{name}_probabilities": list(probabilities[name]) for name in ATTRIBUTES},
            "age": prediction.years,
            **dict(zip(LOOKS, (seen[:, 0], seen[:, 1], sizes), strict=True)),
        }
    )
    order = ["true_gender", "true_ethnicity", "true_age_group", "true_age", "age"]
    return result.sort_values(order, ignore_index=True, kind="stable"), classes


def to_five(probabilities: Probabilities, classes: Sequence[str]) -> Probabilities:
    """Add the probabilities of FairFace's ethnicities, shape (n, 7), up to UTKFace's, shape (n, 5)."""
    mapping = np.zeros((len(classes), len(UTKFACE.classes["ethnicity"])), np.float32)
    for position, name in enumerate(classes):
        mapping[position, UTKFACE.index("ethnicity", FAIRFACE_TO_UTKFACE[name])] = 1
    return np.asarray(probabilities @ mapping, np.float32)


def evaluate(pack: Pack, frame: pd.DataFrame, crops: Pixels, about: Mapping[str, Any]) -> pa.Table:
    """Run a pack on held-out pictures.

    Parameters
    ----------
    pack : Pack
        The pack.
    frame : pandas.DataFrame
        True labels, as `training.datasets` reads them.
    crops : numpy.ndarray
        The pictures as the pack takes them, in the order of `frame`.
    about : mapping
        What the file says of the data: ``data_set``, ``split``, ``licence``, ``taxonomy`` and, as
        ``no_face``, how many pictures are left out since no face was found in them.

    Returns
    -------
    pyarrow.Table
        The columns of `evaluation_frame`; its schema's metadata holds ``efrs.evaluation`` (JSON) with `about`, ``n``,
        the pack's name, version and digest, the classes, and the width and height of the ``crop``.
    """
    manifest = pack.manifest
    result, classes = evaluation_frame(frame, pack.predict(crops), crops, manifest, str(about["taxonomy"]))
    document = {
        **about,
        "n": len(result),
        "pack": {"name": manifest.name, "version": manifest.version, "digest": manifest.digest},
        "classes": {name: list(classes[name]) for name in ATTRIBUTES},
        "crop": [manifest.width, manifest.height],
    }
    columns: dict[str, Any] = {}
    for name in ATTRIBUTES:
        column = true_column(name)
        columns[column] = pa.array(result[column], pa.string(), from_pandas=True).dictionary_encode()
    columns["true_age"] = pa.array(result["true_age"], pa.float32(), from_pandas=True)
    for name in ATTRIBUTES:
        values = np.stack(list(result[f"{name}_probabilities"])).astype(np.float32)
        columns[f"{name}_probabilities"] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    columns["age"] = pa.array(result["age"], pa.float32())
    for name in LOOKS:
        columns[name] = pa.array(result[name], pa.float32(), from_pandas=True)
    metadata = {METADATA: json.dumps(document, sort_keys=True).encode()}
    return pa.table(columns).replace_schema_metadata(metadata)


def evaluate_pack(
    folder: str | os.PathLike[str],
    data_set: str,
    source: str | os.PathLike[str],
    split: str | None = None,
    *,
    face: str = "auto",
    progress: bool = False,
) -> pa.Table:
    """Run the pack of a folder on a data set's held-out pictures, each cropped as labelling would; see `evaluate`.

    Parameters
    ----------
    folder : path
        The pack.
    data_set, source, split
        As `training.sources.read_evaluation_data` takes them.
    face : str
        ``auto`` for the pack's framing, ``whole`` for pictures that are crops of faces already.
    progress : bool
        Show a progress bar.

    Raises
    ------
    LabelerError
        If the pack or the data set cannot be read.
    """
    provenance = PROVENANCE[checked_data_set(data_set)]
    pack = Pack.load(folder)
    manifest = pack.manifest
    frame, crops, left_out = read_evaluation_data(data_set, source, split, manifest, face=face, progress=progress)
    about = {
        "data_set": provenance["name"],
        "split": split or Path(source).name,
        "licence": provenance["licence"],
        "taxonomy": DATA_SETS[data_set].name,
        "no_face": left_out,
        "face": face,
    }
    return evaluate(pack, frame, crops, about)


def write_evaluation(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write an evaluation as Parquet.

    Raises
    ------
    LabelerError
        If the file cannot be written.
    """
    try:
        pq.write_table(table, os.fspath(path), compression="zstd")
    except OSError as error:
        raise LabelerError(f"{os.fspath(path)}: cannot be written ({error}); choose another folder") from error


def read_evaluation(path: str | os.PathLike[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read an evaluation and what it says of itself.

    Raises
    ------
    PackError
        If the file is missing, damaged or no evaluation.
    """
    name = os.fspath(path)
    if not Path(name).is_file():
        raise PackError(f"{name}: no such evaluation; write it with train-labelers evaluate")
    try:
        return unpacked(pq.read_table(name))
    except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
        raise PackError(f"{name}: no readable evaluation; write it anew with train-labelers evaluate") from error


def unpacked(table: pa.Table) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return an evaluation's rows and what it says of itself; raise `KeyError` where it is no evaluation."""
    document: dict[str, Any] = json.loads((table.schema.metadata or {})[METADATA])
    return table.to_pandas(), document


def summary_of(table: pa.Table, manifest: Manifest) -> dict[str, Any]:
    """Return an evaluation in aggregate; see `training.summary.summarise`."""
    frame, about = unpacked(table)
    return summarise(frame, about, {name: output.temperature for name, output in manifest.outputs.items()})


def write_in_pack(table: pa.Table, folder: str | os.PathLike[str], data_set: str) -> Path:
    """Write a pack's evaluation into its folder, in aggregate where the data set's terms forbid passing on its rows.

    Returns
    -------
    Path
        What was written: `EVALUATION` or `training.summary.SUMMARY`.
    """
    if PROVENANCE[data_set]["name"] not in NOTICES:
        write_evaluation(table, Path(folder) / EVALUATION)
        return Path(folder) / EVALUATION
    write_summary(summary_of(table, read_manifest(folder)), Path(folder) / SUMMARY)
    return Path(folder) / SUMMARY


def _regrouped(ages: pd.Series[float], groups: Sequence[str]) -> pd.Series[Any]:
    return pd.Series([None if np.isnan(age) else group_of_age(age, groups) for age in ages], dtype=object)
