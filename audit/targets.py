"""The shares that are wanted: the same for every class, from a file, or those of another label table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pcsv

from audit import population as populations
from audit.prevalence import uniform
from audit.text import shown
from audit.wording import UNIFORM
from labeler.errors import LabelerError
from labeler.taxonomy import ATTRIBUTES, COLUMNS

COLUMNS_WANTED = ("attribute", "class", "share")


class TargetError(LabelerError):
    """A target that cannot be meant: an unknown class, a share below zero, a sum that is not 1."""


@dataclass(frozen=True)
class Target:
    """The shares wanted of each attribute.

    Parameters
    ----------
    name : str
        ``uniform`` or the file's own name.
    shares : mapping of str to tuple of float
        For every attribute, its classes' shares in order, adding to 1.
    judged : tuple of str
        The attributes that the target speaks of; the others are shown against even shares and judged by nobody.
    """

    name: str
    shares: Mapping[str, tuple[float, ...]]
    judged: tuple[str, ...]


def read(target: str, classes: Mapping[str, tuple[str, ...]]) -> Target:
    """Return a target from what ``--target`` says.

    Parameters
    ----------
    target : str
        ``uniform``, a CSV with the columns ``attribute, class, share``, or a label table with the same classes.
    classes : mapping of str to tuple of str
        The declared classes.

    Raises
    ------
    TargetError
        Naming the file and what is wrong in it.

    Examples
    --------
    >>> read("uniform", {"age": ("a", "b"), "gender": ("m", "f"), "ethnicity": ("x", "y")}).shares["gender"]
    (0.5, 0.5)
    """
    even = {name: uniform(len(classes[name])) for name in ATTRIBUTES}
    if target == UNIFORM:
        return Target(UNIFORM, even, ATTRIBUTES)
    path = Path(target)
    if not path.is_file():
        raise TargetError(f"--target {shown(target)}: no such file; give uniform, a CSV or a label table")
    with path.open("rb") as stream:
        parquet = stream.read(4) == b"PAR1"
    found = _of_table(path, classes) if parquet else _of_csv(path, classes)
    return Target(path.name, even | found, tuple(name for name in ATTRIBUTES if name in found))


def _of_table(path: Path, classes: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[float, ...]]:
    other = populations.read(path)
    found = {}
    for name in ATTRIBUTES:
        if other.classes[name] != classes[name]:
            raise TargetError(f"--target {shown(str(path))}: has other classes of {name}; label it with the same pack")
        counts = other.counts(name)
        if counts.sum() == 0:
            raise TargetError(f"--target {shown(str(path))}: no image of it is labelled; give another table")
        found[name] = tuple((counts / counts.sum()).tolist())
    return found


def _of_csv(path: str | os.PathLike[str], classes: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[float, ...]]:
    name = shown(os.fspath(path))
    try:
        convert = pcsv.ConvertOptions(column_types=dict.fromkeys(COLUMNS_WANTED, pa.string()))
        lines = pcsv.read_csv(os.fspath(path), convert_options=convert)
    except (pa.ArrowException, OSError) as error:
        raise TargetError(f"--target {name}: cannot be read as CSV; save it as UTF-8 CSV") from error
    missing = [column for column in COLUMNS_WANTED if column not in lines.column_names]
    if missing:
        raise TargetError(f"--target {name}: the column {missing[0]} is missing; write {', '.join(COLUMNS_WANTED)}")
    attributes = {column: attribute for attribute, column in COLUMNS.items()} | {name: name for name in ATTRIBUTES}
    shares: dict[str, dict[str, float]] = {}
    for row, line in enumerate(lines.select(list(COLUMNS_WANTED)).to_pylist(), start=2):
        attribute = attributes.get(line["attribute"] or "")
        if attribute is None or line["class"] not in classes[attribute]:
            raise TargetError(f"--target {name}, row {row}: unknown attribute or class; write them as the pack does")
        if line["class"] in shares.setdefault(attribute, {}):
            raise TargetError(f"--target {name}, row {row}: {shown(line['class'])} stands there twice; keep one")
        shares[attribute][line["class"]] = _share(line["share"], f"--target {name}, row {row}")
    if not shares:
        raise TargetError(f"--target {name}: holds no rows; write a share for each class of at least one attribute")
    for attribute, given in shares.items():
        if abs(sum(given.values()) - 1) > 1e-6:
            raise TargetError(
                f"--target {name}: the shares of {attribute} add to {sum(given.values()):.6g}; make them add to 1"
            )
    return {
        attribute: tuple(given.get(label, 0.0) / sum(given.values()) for label in classes[attribute])
        for attribute, given in shares.items()
    }


def _share(text: str | None, where: str) -> float:
    try:
        share = float(text or "")
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise TargetError(f"{where}: share {text!r} is not a number of 0 to 1; mend it")
    return share
