"""The sheets of a review: whose each image is, what is answered already, how one is cut for several people."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit import sheet, truth
from audit.review.errors import RefusedError, ReviewError
from audit.review.images import inside
from audit.sheet import ADJUDICATED, DESIGN, EXTRA
from audit.text import shown
from audit.truth import TextTable
from labeler.taxonomy import ATTRIBUTES, COLUMNS

LONGEST_NAME = 60
UNNAMED = "unnamed"
"""The annotator of answers that a sheet brought along without a name."""
Labels = Mapping[str, str | None]
"""For each attribute the class that somebody gave; None where nothing was said."""


@dataclass(frozen=True)
class Line:
    """What a sheet says of one image and one person.

    Parameters
    ----------
    path : str
        As the label table writes it.
    design : mapping of str to str
        The columns ``stratum``, ``inclusion_probability``, ``seed`` and ``pack_digest``, as written.
    annotator : str
        Empty where the image is for everybody.
    labels : mapping of str to str or None
        What the person gave.
    note : str
    """

    path: str
    design: Mapping[str, str]
    annotator: str
    labels: Labels
    note: str

    @property
    def answered(self) -> bool:
        """Whether the line holds a label."""
        return any(value is not None for value in self.labels.values())


@dataclass(frozen=True)
class Sheets:
    """One or several sheets of one sample.

    Parameters
    ----------
    names : tuple of str
        The files' own names.
    lines : tuple of Line
        In the order of the files.
    classes : mapping of str to tuple of str
        The pack's classes of each attribute.
    """

    names: tuple[str, ...]
    lines: tuple[Line, ...]
    classes: Mapping[str, tuple[str, ...]]

    @property
    def designs(self) -> dict[str, Mapping[str, str]]:
        """The design of each image, by path, in an order that knows nothing of labels; see `shuffled`."""
        found = {line.path: line.design for line in self.lines}
        return {path: found[path] for path in shuffled(found)}

    def assigned(self) -> dict[str, frozenset[str]]:
        """Return for each path whose lines are still empty: the people who are to label it, none for everybody."""
        found: dict[str, set[str]] = {line.path: set() for line in self.lines}
        open_to_all = {line.path for line in self.lines if not line.answered and not line.annotator}
        for line in self.lines:
            if not line.answered and line.annotator and line.path not in open_to_all:
                found[line.path].add(line.annotator)
        return {path: frozenset(names) for path, names in found.items()}


def person(name: str) -> str:
    """Return an annotator's name with single spaces.

    Raises
    ------
    RefusedError
        If it is empty, too long, unprintable or reserved.

    Examples
    --------
    >>> person("  Anna   B. ")
    'Anna B.'
    """
    name = " ".join(name.split())
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise RefusedError(f"Write a name of 1 to {LONGEST_NAME} letters.")
    if name.lower() in (ADJUDICATED, UNNAMED):
        raise RefusedError(f"The name {name} has a meaning of its own here; take another one.")
    return name


def shuffled(designs: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return paths in an order that depends on nothing but themselves and the sheet's seed.

    The same images come in the same order for everybody, so that two people soon have some in common.

    Examples
    --------
    >>> shuffled({"a": {"seed": "0"}, "b": {"seed": "0"}}) == shuffled({"b": {"seed": "0"}, "a": {"seed": "0"}})
    True
    """
    return sorted(designs, key=lambda path: hashlib.sha256(f"{designs[path]['seed']}\n{path}".encode()).digest())


def open_sheets(files: Sequence[str | os.PathLike[str]]) -> list[TextTable]:
    """Read the columns of sheets as text.

    Raises
    ------
    ReviewError, TruthError
        If one cannot be read or is no sheet of ``audit-labels sample``.
    """
    tables = [truth.open_table(Path(file), (*DESIGN, "note"), "sheet") for file in files]
    for table in tables:
        missing = [column for column in (*DESIGN, "inclusion_probability") if column not in table.columns]
        if missing:
            raise ReviewError(
                f"{shown(str(table.path))}: the column {missing[0]} is missing; give a sheet of audit-labels sample"
            )
    return tables


def digest_of(tables: Sequence[TextTable]) -> str:
    """Return the digest of the pack that the sheets' images were labelled by.

    Raises
    ------
    ReviewError
        If they name several.
    """
    digests = {str(value) for table in tables for value in table.columns["pack_digest"].unique().to_pylist()}
    if len(digests) != 1:
        raise ReviewError("the sheets are of several packs; review those of one sample together")
    return digests.pop()


def gather(tables: Sequence[TextTable], classes: Mapping[str, tuple[str, ...]], store: str | None = None) -> Sheets:
    """Return what sheets say, checked line by line.

    Parameters
    ----------
    tables : sequence of TextTable
        As `open_sheets` gave them.
    classes : mapping of str to tuple of str
        The pack's classes.
    store : str, optional
        The store's real path; a sheet that names a file outside it is refused.

    Raises
    ------
    ReviewError, TruthError
        Naming the file and the row.
    """
    lines: dict[tuple[str, str], Line] = {}
    designs: dict[str, Mapping[str, str]] = {}
    for table in tables:
        for place, line in enumerate(_lines(table, classes)):
            if designs.setdefault(line.path, line.design) != line.design:
                raise table.error(place, "stratum or inclusion_probability differs from another line of this image")
            known = lines.setdefault((line.path, line.annotator), line)
            if known is not line and known != line:
                raise table.error(place, "this image already has a line of the same annotator; keep one")
            if store is not None:
                try:
                    inside(store, line.path)
                except RefusedError as error:
                    raise table.error(place, f"{error}; a review shows files of the store alone") from error
    return Sheets(tuple(table.path.name for table in tables), tuple(lines.values()), classes)


def _lines(table: TextTable, classes: Mapping[str, tuple[str, ...]]) -> Iterable[Line]:
    text = {name: [str(value) for value in column.to_pylist()] for name, column in table.columns.items()}
    count = len(text["path"])
    truth.number_column(table, "inclusion_probability", "above 0 and at most 1", 5e-324, 1.0)
    given: dict[str, list[str | None]] = {}
    for name in ATTRIBUTES:
        known = (*classes[name], *EXTRA)
        column = COLUMNS[name]
        codes = truth.class_column(table, column, known).tolist() if column in table.columns else [-1] * count
        given[name] = [known[code] if code >= 0 else None for code in codes]
    empty = [""] * count
    for place in range(count):
        if text["inclusion_probability"][place] == "":
            raise table.error(place, "inclusion_probability is empty; give the sheet as audit-labels sample wrote it")
        yield Line(
            text["path"][place],
            {column: text[column][place] for column in ("stratum", "inclusion_probability", "seed", "pack_digest")},
            text.get("annotator", empty)[place],
            {name: given[name][place] for name in ATTRIBUTES},
            text.get("note", empty)[place],
        )


def written(lines: Iterable[Line]) -> str:
    """Return lines as the CSV text of a sheet."""
    return sheet.written(
        {
            "path": line.path,
            **line.design,
            **{COLUMNS[name]: value or "" for name, value in line.labels.items()},
            "annotator": line.annotator,
            "note": line.note,
        }
        for line in lines
    )


def cut(sheets: Sheets, people: Sequence[str], overlap: int) -> list[list[Line]]:
    """Divide a sheet among people, with some images that all of them label.

    The common images are spread over the strata, and so is everybody's part of the others. Together the parts are the
    whole sample, with its inclusion probabilities.

    Parameters
    ----------
    sheets : Sheets
        Not yet answered.
    people : sequence of str
        Names, at least two.
    overlap : int
        Images for all of them, 0 to all.

    Raises
    ------
    ReviewError
        If there are answers already, a name twice, or fewer images than asked for.
    """
    if any(line.answered for line in sheets.lines):
        raise ReviewError("the sheet already holds answers; cut it before anybody answers")
    for name in people:
        try:
            person(name)
        except RefusedError as error:
            raise ReviewError(f"--cut {shown(name)}: the file's name is the person's. {error}") from error
    if len(people) < 2 or len({name.lower() for name in people}) < len(people):
        raise ReviewError("--cut: give it at least twice, each time with another name")
    designs = sheets.designs
    if overlap > len(designs):
        raise ReviewError(f"--overlap {overlap}: the sheet has {len(designs)} images; ask for fewer")
    places = {path: place for place, path in enumerate(designs)}
    by_stratum = sorted(designs, key=lambda path: (designs[path]["stratum"], places[path]))
    common = {by_stratum[k * len(by_stratum) // overlap] for k in range(overlap)}
    others = [path for path in by_stratum if path not in common]
    parts = []
    for turn, name in enumerate(people):
        own = sorted(common | set(others[turn :: len(people)]), key=places.__getitem__)
        parts.append([Line(path, designs[path], name, dict.fromkeys(ATTRIBUTES), "") for path in own])
    return parts
