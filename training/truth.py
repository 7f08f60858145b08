"""A data set's labels as a truth file, which audit-labels compares with a label table."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from labeler.errors import LabelerError
from labeler.table import check_output
from labeler.taxonomy import FAIRFACE, FAIRFACE_TO_UTKFACE, TAXONOMIES, UTKFACE, group_of_age
from training.datasets import read_age_csv, read_fairface, read_utkface
from training.sources import DATA_SETS, checked_data_set

COLUMNS = ("path", "age", "age_group", "gender", "ethnicity", "source")
"""The columns a truth file may have, in this order; those a data set cannot fill are left out."""


def truth_frame(
    data_set: str,
    source: str | os.PathLike[str],
    *,
    split: str | None = None,
    taxonomy: str | None = None,
) -> pd.DataFrame:
    """Return a data set's labels as a truth table.

    Parameters
    ----------
    data_set : str
        ``fairface`` or ``utkface``.
    source : path
        For ``fairface`` the label file; for ``utkface`` a folder of images or the CSV file of the AGE data set.
    split : str, optional
        For ``fairface``: keep this split and strip its folder, so that paths are relative to the store
        ``…/fairface/val``.
    taxonomy : str, optional
        Write labels in this taxonomy instead of the data set's own. What has no one counterpart is left out:
        FairFace's age groups in decades, UTKFace's five ethnicities in seven.

    Returns
    -------
    pandas.DataFrame
        Some of `COLUMNS`, sorted by ``path``.

    Raises
    ------
    TruthError
        If a label has no meaning; the message names the file and the row.
    LabelerError
        If the data set is unknown or has no splits.

    Examples
    --------
    >>> truth_frame("utkface", "nowhere.csv")
    Traceback (most recent call last):
    labeler.errors.TruthError: nowhere.csv: no such file; check the path
    """
    own = DATA_SETS[checked_data_set(data_set)].name
    if data_set == "utkface" and split is not None:
        raise LabelerError(f"--split {split}: UTKFace has no splits of its own; leave the option out")
    frame = _read(data_set, source, split)
    wanted = taxonomy or own
    if wanted not in TAXONOMIES:
        raise LabelerError(f"--taxonomy {wanted}: no such taxonomy; choose one of {', '.join(TAXONOMIES)}")
    if wanted != own:
        frame = _in_other_taxonomy(frame, wanted)
    if frame["age"].isna().all():
        frame = frame.drop(columns="age")
    elif (frame["age"] == frame["age"].round()).all():
        frame = frame.astype({"age": "int64"})
    kept = [column for column in COLUMNS if column in frame.columns]
    return frame[kept].sort_values("path", ignore_index=True)


def write_truth(
    data_set: str,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    split: str | None = None,
    taxonomy: str | None = None,
) -> int:
    """Write the table of `truth_frame` as CSV and return the number of rows.

    Raises
    ------
    LabelerError
        As `truth_frame`, and if the file cannot be written.
    """
    target = check_output(out)
    frame = truth_frame(data_set, source, split=split, taxonomy=taxonomy)
    frame.assign(source="annotator").to_csv(target, index=False, lineterminator="\n")
    return len(frame)


def _read(data_set: str, source: str | os.PathLike[str], split: str | None) -> pd.DataFrame:
    if data_set == "utkface":
        return read_utkface(source) if Path(source).is_dir() else read_age_csv(source)
    frame = read_fairface(source, split)
    if split is not None:
        frame["path"] = frame["path"].str.removeprefix(f"{split}/")
    return frame


def _in_other_taxonomy(frame: pd.DataFrame, taxonomy: str) -> pd.DataFrame:
    if taxonomy == UTKFACE.name:
        # "0-2" and "3-9" are one decade, but "more than 70" is two: the groups have no map.
        return frame.assign(ethnicity=frame["ethnicity"].map(dict(FAIRFACE_TO_UTKFACE))).drop(columns="age_group")
    groups = [group_of_age(age, FAIRFACE.classes["age"]) for age in frame["age"]]
    return frame.assign(age_group=groups).drop(columns="ethnicity")
