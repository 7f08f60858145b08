"""From a data set on the disk to what training and evaluation take: pictures in memory, class numbers, provenance."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from labeler.errors import LabelerError
from labeler.faces import TEMPLATE
from labeler.pack import Manifest
from labeler.taxonomy import ATTRIBUTES, COLUMNS, FAIRFACE, UTKFACE, Taxonomy
from training.datasets import add_splits, read_age_csv, read_age_pixels, read_fairface, read_utkface
from training.pictures import (
    Pictures,
    Pixels,
    read_aligned_pictures,
    read_crops,
    read_pictures,
    upright_face,
    whole_pictures,
)

Indices = npt.NDArray[np.int64]

DATA_SETS: Mapping[str, Taxonomy] = MappingProxyType({"fairface": FAIRFACE, "utkface": UTKFACE})
"""The data sets that can be read, and the classes of their labels."""

PROVENANCE: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "fairface": MappingProxyType(
            {"name": "FairFace", "licence": "CC-BY-4.0", "url": "https://github.com/dchen236/FairFace"}
        ),
        "utkface": MappingProxyType(
            {
                "name": "UTKFace",
                "licence": "research use only, non-commercial",
                "url": "https://susanqq.github.io/UTKFace/",
            }
        ),
    }
)
"""What a manifest and a card say of each data set."""

NOTICES: Mapping[str, str] = MappingProxyType(
    {
        "UTKFace": (
            "For non-commercial research only: trained on UTKFace, whose terms forbid any other use and passing on its "
            "pictures or annotations."
        )
    }
)
"""What must be said whenever a pack is used that was trained on a data set with stricter terms than attribution."""

STORED_SIDE = 96
"""Side in pixels at which training pictures are held: twice the crop, so that a turned crop is still averaged."""


@dataclass(frozen=True)
class TrainingData:
    """Pictures with their classes.

    Parameters
    ----------
    pictures : Pictures
        Where the crops are cut from.
    labels : mapping of str to numpy.ndarray
        For each attribute the class numbers, shape (n,), int64.
    taxonomy : Taxonomy
        What the numbers mean.
    sources : sequence of mapping
        The data sets, as the manifest states them: name, licence, url.
    years : numpy.ndarray, optional
        Age in years, shape (n,), where the data set has it.
    fixed_validation : numpy.ndarray, optional
        Where the data set says itself which pictures are for validation: True for those, shape (n,).
    """

    pictures: Pictures
    labels: Mapping[str, Indices]
    taxonomy: Taxonomy
    sources: Sequence[Mapping[str, Any]]
    fixed_validation: npt.NDArray[np.bool_] | None = None
    years: npt.NDArray[np.float32] | None = None

    @property
    def class_counts(self) -> dict[str, int]:
        """The number of classes of each attribute."""
        return {name: len(self.taxonomy.classes[name]) for name in ATTRIBUTES}


def class_numbers(frame: pd.DataFrame, taxonomy: Taxonomy) -> dict[str, Indices]:
    """Return the class numbers of each attribute of a frame that `training.datasets` read."""
    return {
        name: np.array([taxonomy.index(name, value) for value in frame[COLUMNS[name]]], np.int64) for name in ATTRIBUTES
    }


def read_training_data(
    data_set: str,
    source: str | os.PathLike[str],
    *,
    colour: str,
    framing: str = "whole",
    splits: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    progress: bool = False,
) -> TrainingData:
    """Read the training split of a data set into memory.

    Parameters
    ----------
    data_set : str
        One of `DATA_SETS`.
    source : path
        For ``fairface`` the label file, whose images lie beside it; for ``utkface`` the CSV file of the AGE data set.
    colour : str
        ``gray`` or ``rgb``; the AGE data set has gray only.
    framing : str
        ``whole`` for the whole pictures, ``landmarks`` for faces aligned to `labeler.faces.TEMPLATE`.
    splits : path, optional
        CSV with ``img_name`` (for ``fairface`` as its label file has them, such as ``train/1.jpg``) and ``split``; its
        ``val`` rows are the validation pictures. Which faces are found then no longer decides the cut.
    limit : int, optional
        Take only the first so many pictures, to try something out.
    progress : bool
        Show a progress bar.

    Raises
    ------
    LabelerError
        If the data set is unknown, cannot be read or has no pictures of this colour.
    """
    provenance = [dict(PROVENANCE[checked_data_set(data_set)])]
    if data_set == "fairface":
        frame = read_fairface(source, "train")[:limit]
        paths = picture_paths(source, frame)
        if framing == "landmarks":
            pictures, found = read_aligned_pictures(
                paths, STORED_SIDE, colour, TEMPLATE, upright_face(), progress=progress
            )
            frame = frame[found]
        else:
            pictures = whole_pictures(read_pictures(paths, STORED_SIDE, STORED_SIDE, colour, progress=progress))
        return TrainingData(pictures, class_numbers(frame, FAIRFACE), FAIRFACE, provenance, _validation(frame, splits))
    if colour != "gray":
        raise LabelerError(f"{os.fspath(source)}: its pictures are gray, but colour is {colour!r}; set it to gray")
    frame = read_age_csv(source)[:limit]
    pixels = read_age_pixels(source)[: len(frame)]
    labels, years = class_numbers(frame, UTKFACE), frame["age"].to_numpy(np.float32)
    return TrainingData(whole_pictures(pixels), labels, UTKFACE, provenance, _validation(frame, splits), years)


def _validation(frame: pd.DataFrame, splits: str | os.PathLike[str] | None) -> npt.NDArray[np.bool_] | None:
    """Return which pictures of a frame a file of splits keeps for validation, shape (n,); None without a file."""
    if splits is None:
        return None
    return (add_splits(frame, splits)["split"] == "val").to_numpy(np.bool_)


def picture_paths(source: str | os.PathLike[str], frame: pd.DataFrame) -> list[Path]:
    """Return where the pictures of a frame that was read from a label file are: beside it."""
    return [Path(source).parent / path for path in frame["path"]]


def read_evaluation_data(
    data_set: str,
    source: str | os.PathLike[str],
    split: str | None,
    manifest: Manifest,
    *,
    face: str = "auto",
    progress: bool = False,
) -> tuple[pd.DataFrame, Pixels, int]:
    """Read the labels of a split, and of each picture the crop that labelling would hand to a pack.

    Parameters
    ----------
    data_set : str
        One of `DATA_SETS`.
    source : path
        For ``fairface`` the label file, whose images lie beside it; for ``utkface`` a folder of images.
    split : str, optional
        For ``fairface``: ``train`` or ``val``.
    manifest : Manifest
        Of the pack: size, colour and framing of the crop.
    face : str
        ``auto`` for the pack's framing, ``whole`` for pictures that are crops of faces already.
    progress : bool
        Show a progress bar.

    Returns
    -------
    (pandas.DataFrame, numpy.ndarray, int)
        The frame of `training.datasets` with ``face_size`` (of `read_crops`), crops (n, height, width) or (n, height,
        width, 3), uint8, and how many pictures were left out of both, since no face was found in them.
    """
    root = Path(source)
    if checked_data_set(data_set) == "fairface":
        frame = read_fairface(source, split)
        root = root.parent
    else:
        frame = read_utkface(source)
    paths = [root / path for path in frame["path"]]
    crops, found, sizes = read_crops(paths, manifest, face=face, progress=progress)
    return frame[found].reset_index(drop=True).assign(face_size=sizes), crops, int(np.sum(~found))


def merged_sources(*groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the data sets of several groups, each once, the first mention first."""
    merged: dict[str, dict[str, Any]] = {}
    for source in (source for group in groups for source in group):
        merged.setdefault(str(source["name"]), dict(source))
    return list(merged.values())


def pack_licence(sources: Sequence[Mapping[str, Any]]) -> str:
    """Return the licence of what was trained on data sets: the strictest one's.

    Examples
    --------
    >>> pack_licence([PROVENANCE["fairface"]])
    'CC-BY-4.0'
    >>> pack_licence([PROVENANCE["fairface"], PROVENANCE["utkface"]])
    'research use only, non-commercial'
    """
    strict = [source for source in sources if source["name"] in NOTICES]
    return " and ".join(sorted({str(source["licence"]) for source in strict or sources}))


def pack_notice(sources: Sequence[Mapping[str, Any]]) -> str:
    """Return what must be said on every use of what was trained on data sets; empty where nothing must."""
    return " ".join(NOTICES[source["name"]] for source in sources if source["name"] in NOTICES)


def checked_data_set(name: str) -> str:
    """Return the name of a data set, or raise `LabelerError` where there is none of this name."""
    if name not in DATA_SETS:
        raise LabelerError(f"{name}: no such data set; choose one of {', '.join(DATA_SETS)}")
    return name
