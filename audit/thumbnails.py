"""Small pictures of faces for the page, made from the store when they are asked for and at no other time.

This module and `audit.review` are the only ones of the audit that look at pictures: they alone take `labeler.decode`,
and a command that shows none imports neither.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import simplejpeg

from audit import duplicates, sheet
from audit import population as populations
from audit import truth as truths
from audit.estimate import IntArray
from audit.population import OK, Population
from audit.review.errors import RefusedError
from audit.review.images import Box, around, read_inside
from audit.text import percent, plural, shown
from audit.wording import GROUPINGS, NO_FACE, label
from labeler.decode import Limits, check, decode_checked
from labeler.errors import DecodeError, LabelerError
from labeler.taxonomy import ATTRIBUTES, COLUMNS

SIDE = 96
"""Longest side of a picture, in pixels."""
QUALITY = 82
OF_A_GROUP = 5
"""Pictures shown of a group of near-duplicates."""
COLUMNS_READ = (
    "path",
    "content_hash",
    *(f"face_{name}" for name in ("x", "y", "width", "height", "roll")),
    *COLUMNS.values(),
    *(f"{name}_confidence" for name in ATTRIBUTES),
)


class ThumbnailError(LabelerError):
    """Pictures that cannot be shown as they were asked for."""


@dataclass(frozen=True)
class Picture:
    """One picture of a panel.

    Parameters
    ----------
    path : str
        As the label table writes it.
    image : str
        A JPEG file as a data URI; empty where there is none to show.
    caption : str
        What is to be seen in it, in words.
    problem : str
        Why there is no picture, or that the file has changed since it was labelled; mostly empty.
    """

    path: str
    image: str
    caption: str
    problem: str


@dataclass(frozen=True)
class Panel:
    """Pictures that belong together.

    Parameters
    ----------
    title, finding : str
        What they are, and what to do with them.
    groups : tuple of tuple of Picture
        For near-duplicates one a group, else a single one.
    """

    title: str
    finding: str
    groups: tuple[tuple[Picture, ...], ...]


@dataclass(frozen=True)
class _Wanted:
    """Rows of the label table to be shown, in groups, each row with its caption."""

    title: str
    finding: str
    groups: Sequence[Sequence[tuple[int, str]]]


def gather(
    labels: str | os.PathLike[str],
    store: str | os.PathLike[str],
    n: int,
    *,
    truth_file: str | os.PathLike[str] | None = None,
    checked: Sequence[str | os.PathLike[str]] = (),
) -> list[Panel]:
    """Make the pictures that tell most: unsure labels, near-duplicates, and where people see something else.

    Parameters
    ----------
    labels : path
        The label table.
    store : path
        The folder that it was made from. Nothing outside of it is read, whatever the table says.
    n : int
        Pictures of each attribute, and groups of near-duplicates.
    truth_file, checked : path, sequence of path
        What people say, as `audit.result.audit_files` takes it.

    Raises
    ------
    ThumbnailError
        If there is no such folder.
    LabelerError
        If the table or a sheet cannot be read. A picture that cannot be shown is no error: its panel says why.
    """
    if not os.path.isdir(store):
        raise ThumbnailError(f"--store {shown(os.fspath(store))}: no such folder; name the one that was labelled")
    population = populations.read(labels)
    wanted = [
        *(_unsure(population, name, n) for name in ATTRIBUTES),
        _repeated(population, n),
        *_disagreeing(population, labels, n, truth_file, checked),
    ]
    wanted = [panel for panel in wanted if panel.groups]
    rows = np.array(sorted({row for panel in wanted for group in panel.groups for row, _ in group}), np.int64)
    found = populations.take(labels, rows, list(COLUMNS_READ)).to_pylist()
    root = os.path.realpath(store)
    made = {row: (record["path"], *_image(root, record)) for row, record in zip(rows.tolist(), found, strict=True)}
    return [
        Panel(
            panel.title,
            panel.finding,
            tuple(
                tuple(Picture(made[row][0], made[row][1], caption, made[row][2]) for row, caption in group)
                for group in panel.groups
            ),
        )
        for panel in wanted
    ]


def _said(population: Population, name: str, row: int) -> str:
    label_name = label(population.classes[name][population.codes[name][row]])
    return f"labelled {label_name}, {percent(float(population.confidence[name][row]))} sure"


def _unsure(population: Population, name: str, n: int) -> _Wanted:
    rows = np.flatnonzero(population.outcomes == OK)
    # By row where two are as unsure, so that the same table gives the same pictures.
    order = np.lexsort((rows, population.confidence[name][rows]))[:n]
    return _Wanted(
        f"Least sure of {GROUPINGS[name]}",
        "Labels that say least. Where many look alike, the store holds pictures that the classifier was not made for.",
        [[(row, _said(population, name, row))] for row in rows[order].tolist()],
    )


def _repeated(population: Population, n: int) -> _Wanted:
    rows = np.flatnonzero((population.outcomes == OK) & population.hashed)
    members = duplicates.largest(duplicates.groups(population.hashes[rows]), n) if len(rows) else []
    return _Wanted(
        "Largest groups of near-duplicates",
        "Each row is one group. The same picture again and again counts once; others show that the hash is too coarse.",
        [
            [(int(rows[at]), f"1 of {plural(len(group), 'image')}") for at in group[:OF_A_GROUP].tolist()]
            for group in members
        ],
    )


def _disagreeing(
    population: Population,
    labels: str | os.PathLike[str],
    n: int,
    truth_file: str | os.PathLike[str] | None,
    checked: Sequence[str | os.PathLike[str]],
) -> Iterable[_Wanted]:
    """Yield where people see another class than the label says, the surest labels first."""
    for rows, codes in _answers(population, labels, truth_file, checked):
        for name, given in codes.items():
            classes = (*population.classes[name], NO_FACE)
            told = population.codes[name][rows]
            wrong = np.flatnonzero((told >= 0) & (given >= 0) & (given < len(classes)) & (given != told))
            order = wrong[np.lexsort((rows[wrong], -population.confidence[name][rows[wrong]]))][:n]
            yield _Wanted(
                f"People see another {GROUPINGS[name]}",
                "The surest labels with which people disagree. Either may be wrong; look before you decide.",
                [
                    [(row, f"people say {label(classes[code])}; {_said(population, name, row)}")]
                    for row, code in zip(rows[order].tolist(), given[order].tolist(), strict=True)
                ],
            )


def _answers(
    population: Population,
    labels: str | os.PathLike[str],
    truth_file: str | os.PathLike[str] | None,
    checked: Sequence[str | os.PathLike[str]],
) -> Iterable[tuple[IntArray, Mapping[str, IntArray]]]:
    if truth_file is not None:
        truth = truths.read(truth_file, lambda paths: populations.find(labels, paths), population.classes)
        yield truth.rows, truth.codes
    elif checked:
        filled = sheet.read(checked, labels, population)
        yield filled.rows, filled.codes


def _image(root: str, record: Mapping[str, Any]) -> tuple[str, str]:
    """Return a row's face as a data URI, and what is wrong with it; one of them is mostly empty."""
    limits = Limits()
    try:
        data = read_inside(root, record["path"], limits.file_bytes)
        pixels = _face(data, limits, _box(record))
    except (RefusedError, DecodeError) as error:
        return "", str(error)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=QUALITY, colorspace="RGB")
    known = record["content_hash"]
    changed = known is not None and known != int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
    problem = "The file is another than the one that was labelled." if changed else ""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}", problem


def _box(record: Mapping[str, Any]) -> Box | None:
    """Return the box of the labelled face; None where the whole picture was taken for one."""
    if record["face_x"] is None:
        return None
    return Box(*(float(record[f"face_{name}"] or 0.0) for name in ("x", "y", "width", "height", "roll")))


def _face(data: bytes, limits: Limits, box: Box | None) -> np.typing.NDArray[np.uint8]:
    header = check(data, limits)
    side = min(header.width, header.height) if box is None else max(box.width, box.height)
    reduction = next((r for r in (8, 4, 2) if header.format == "jpeg" and side >= r * SIDE), 1)
    pixels = decode_checked(data, header, reduction).pixels
    if box is not None:
        pixels = np.rot90(around(pixels, box, 1 / reduction), round(box.roll / 90))
    factor = SIDE / max(pixels.shape[:2])
    size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=method), np.uint8)
