"""The sheet on which people check a sample: written without predictions, grown, and read back with its answers."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from audit import population as populations
from audit import sampling, truth
from audit.estimate import FloatArray, IntArray
from audit.population import Population
from audit.sampling import Forecast, Strata
from audit.significance import cohen_kappa
from audit.text import cell, of_cell, plural, shown
from audit.verified import Design
from audit.wording import CANT_TELL, NO_FACE
from labeler.errors import LabelerError, TruthError
from labeler.taxonomy import ATTRIBUTES, COLUMNS

HEADER = (
    "path",
    "stratum",
    "inclusion_probability",
    *COLUMNS.values(),
    "annotator",
    "note",
    "seed",
    "pack_digest",
)
DESIGN = ("stratum", "seed", "pack_digest")
FILLED = ("annotator", "note", *COLUMNS.values())
"""What people fill in."""
EXTRA = (NO_FACE, CANT_TELL)
"""What people may write besides the pack's classes."""
ADJUDICATED = "adjudicated"
"""The annotator whose word decides where others differ."""
DIGEST = re.compile("[0-9a-f]{64}")
ROUNDS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class SampleError(LabelerError):
    """A sample cannot be drawn as it was asked for."""


@dataclass(frozen=True)
class Sample:
    """A sheet to be filled, and what it will show.

    Parameters
    ----------
    text : str
        The sheet as CSV.
    drawn, new : int
        Images in it, and how many of them are new.
    forecasts : mapping of str to list of Forecast
        For each attribute, what samples of growing size would show.
    """

    text: str
    drawn: int
    new: int
    forecasts: Mapping[str, list[Forecast]]


@dataclass(frozen=True)
class Agreement:
    """How far two annotators agree on one attribute.

    Parameters
    ----------
    attribute, first, second : str
        The attribute and the two annotators.
    n : int
        Images that both labelled.
    kappa : float or None
        Cohen's κ; None where it has no value.
    disagreements : tuple of str
        Paths on which they differ and nobody has decided.
    """

    attribute: str
    first: str
    second: str
    n: int
    kappa: float | None
    disagreements: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """A filled sheet, matched to its label table.

    Parameters
    ----------
    names : tuple of str
        The sheets' own names.
    rows : array of int, shape (n,)
        The row of each checked image in the label table.
    design : Design
        Strata of these images and of the population.
    codes : mapping of str to array of int, shape (n,)
        The class that people gave: 0 to K − 1, K for "no face", K + 1 for "can't tell", -1 where not yet answered.
    agreements : tuple of Agreement
        Of every two annotators.
    by : str
        The scheme that the strata were made by, one of `audit.sampling.SCHEMES`.
    covers_no_face : bool
        Whether the pictures without a found face are in the population.
    """

    names: tuple[str, ...]
    rows: IntArray
    design: Design
    codes: Mapping[str, IntArray]
    agreements: tuple[Agreement, ...]
    by: str
    covers_no_face: bool

    @property
    def filled(self) -> int:
        """Images of which people gave at least one label."""
        return int(np.any([codes >= 0 for codes in self.codes.values()], axis=0).sum())

    def weights(self, attribute: str) -> FloatArray:
        """Return how many images of the population each one stands for that has a label of an attribute, 0 else."""
        given = self.codes[attribute] >= 0
        weights = np.zeros(len(given))
        weights[given] = Design(self.design.stratum[given], self.design.sizes).weights
        return weights

    def answered(self, attributes: Sequence[str]) -> int:
        """Return the images of which people gave a label of each of some attributes."""
        return int(np.all([self.codes[name] >= 0 for name in attributes], axis=0).sum())


def draw(
    labels: str | os.PathLike[str],
    n: int,
    *,
    by: str = sampling.ALL,
    seed: int = 0,
    rare: bool = False,
    no_face: bool = False,
    grow: str | os.PathLike[str] | None = None,
    confidence: float = 0.95,
) -> Sample:
    """Draw the images that people should check, or more of them.

    Parameters
    ----------
    labels : path
        The label table.
    n : int
        Images to draw; with ``grow``, to add.
    by : str
        Whose predicted class and confidence make the strata: one of `audit.sampling.STRATIFIERS`.
    seed : int
        Of the draw. A sheet that grows keeps its own.
    rare : bool
        Give small classes more.
    no_face : bool
        Make the pictures without a found face a stratum.
    grow : path, optional
        An earlier sheet. Its images and answers are kept; the sample as a whole stays a stratified random one.

    Raises
    ------
    SampleError
        If there is no image to draw, or the earlier sheet does not belong to this table.
    """
    population = populations.read(labels)
    earlier = _earlier(grow) if grow is not None else []
    if earlier:
        scheme, seed = _design_of(earlier, Path(os.fspath(grow or "")))
        no_face = _holds_no_face(labels, earlier, population)
    else:
        scheme = sampling.scheme_for(population, by, n)
    strata = sampling.stratify(population, scheme, seed, no_face=no_face)
    if len(strata.rows) == 0:
        raise SampleError(f"{shown(population.name)}: no image is labelled, so there is none to check")
    allocation = sampling.allocate(strata.sizes, strata.spread, n + len({line["path"] for line in earlier}), rare=rare)
    before = _counts(earlier, strata.names)
    total = np.maximum(allocation, before)
    chosen = sampling.draw(strata, total, seed)
    stratum = strata.stratum[chosen]
    rows = strata.rows[chosen]
    paths = populations.take(labels, rows, ["path"]).column("path").to_pylist()
    kept = {line["path"] for line in earlier}
    if not kept <= set(paths):
        raise SampleError(
            f"--grow {shown(os.fspath(grow or ''))}: was drawn from another table or strata; draw a new sheet instead"
        )
    probability = (total / strata.sizes)[stratum]
    lines = [
        {
            "path": path,
            "stratum": strata.names[h],
            "inclusion_probability": repr(float(p)),
            "seed": str(seed),
            "pack_digest": population.info.pack_digest,
        }
        for path, h, p in zip(paths, stratum.tolist(), probability.tolist(), strict=True)
    ]
    text = written(_merged(lines, earlier))
    sizes = sorted({min(round(len(rows) * factor), len(strata.rows)) for factor in ROUNDS})
    forecasts = {
        attribute: [
            sampling.forecast(population, strata, attribute, size, rare=rare, confidence=confidence) for size in sizes
        ]
        for attribute in ATTRIBUTES
    }
    return Sample(text, len(rows), len(rows) - len(kept), forecasts)


def check_nothing_lost(out: str | os.PathLike[str], grow: str | os.PathLike[str] | None = None) -> None:
    """Check that a new sheet is written over nothing, over one that is still empty, or over the one that it grows.

    Raises
    ------
    SampleError
        If answers, or a file that is no sheet, would be lost.
    """
    name = shown(os.fspath(out))
    if not os.path.exists(out) or (grow is not None and os.path.exists(grow) and os.path.samefile(out, grow)):
        return
    try:
        lines = _lines(out)
    except (OSError, ValueError, csv.Error):
        lines = []
    if os.path.getsize(out) and not (lines and set(HEADER) <= set(lines[0])):
        raise SampleError(f"--out {name}: is no sheet and would be lost; name another file, or move it away")
    answered = len({line["path"] for line in lines if any(line[column] for column in FILLED)})
    if answered:
        raise SampleError(
            f"--out {name}: the answers of {plural(answered, 'image')} would be lost; add to that sheet with --grow "
            f"{name}, or name another file"
        )


def _lines(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        return [{**line, "path": of_cell(line.get("path") or "")} for line in csv.DictReader(stream)]


def _earlier(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    name = shown(os.fspath(path))
    try:
        lines = _lines(path)
    except (OSError, ValueError, csv.Error) as error:
        raise SampleError(f"--grow {name}: cannot be read as CSV; give the sheet that audit-labels sample wrote") from (
            error
        )
    if not lines or not set(HEADER) <= set(lines[0]):
        raise SampleError(f"--grow {name}: is no sheet of audit-labels sample; give the one to add to")
    return lines


def _design_of(lines: Sequence[Mapping[str, str]], path: Path) -> tuple[str, int]:
    scheme = lines[0]["stratum"].partition("-")[0]
    if scheme not in sampling.SCHEMES or not lines[0]["seed"].isdigit():
        raise SampleError(f"--grow {shown(str(path))}: its columns stratum or seed are damaged; draw a new sheet")
    return scheme, int(lines[0]["seed"])


def _holds_no_face(labels: str | os.PathLike[str], lines: Sequence[Mapping[str, str]], population: Population) -> bool:
    rows = populations.find(labels, pa.array([line["path"] for line in lines], pa.string()))
    return bool((population.outcomes[rows[rows >= 0]] == populations.NO_FACE).any())


def _counts(lines: Sequence[Mapping[str, str]], names: tuple[str, ...]) -> IntArray:
    places = {name: h for h, name in enumerate(names)}
    seen = {(line["path"], line["stratum"]) for line in lines}
    counts = np.zeros(len(names), dtype=np.int64)
    for _, stratum in seen:
        if stratum in places:
            counts[places[stratum]] += 1
    return counts


def _merged(lines: list[dict[str, str]], earlier: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    answers: dict[str, list[Mapping[str, str]]] = {}
    for line in earlier:
        answers.setdefault(line["path"], []).append(line)
    return [
        {**line, **{column: old[column] for column in FILLED if old}}
        for line in lines
        for old in answers.get(line["path"], [{}])
    ]


def written(lines: Iterable[Mapping[str, Any]]) -> str:
    """Return lines, each by the names of `HEADER`, as the CSV text of a sheet."""
    rows = [{**line, "path": cell(line["path"])} for line in lines]
    # Of its own accord the writer leaves a carriage return unquoted, and no reader takes that for part of a name.
    returns = any("\r" in str(value) for row in rows for value in row.values())
    stream = io.StringIO()
    writer = csv.DictWriter(
        stream, HEADER, restval="", lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    )
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def read(files: Sequence[str | os.PathLike[str]], labels: str | os.PathLike[str], population: Population) -> Checked:
    """Read one or several filled sheets of the same sample.

    Several lines may speak of one image if their annotators differ. Where these disagree, the line of the annotator
    ``adjudicated`` decides; without one the image counts as "can't tell".

    Raises
    ------
    TruthError
        Naming the file and row, where a value has no defined meaning or the sheet does not belong to the table; naming
        the file, where nobody has filled in anything yet.
    """
    answers: dict[int, dict[str, dict[str, int]]] = {}
    strata: dict[int, tuple[str, float]] = {}
    paths: dict[int, str] = {}
    seeds: set[str] = set()
    for file in files:
        sheet = truth.open_table(Path(file), DESIGN, "sheet")
        for column in ("stratum", "inclusion_probability"):
            if column not in sheet.columns:
                raise TruthError(
                    f"{shown(os.fspath(file))}: the column {column} is missing; give a sheet of audit-labels sample "
                    "with --checked, and other labels with --truth"
                )
        _check_pack(sheet, population)
        rows = truth.match_rows(sheet, lambda wanted: populations.find(labels, wanted))
        _gather(sheet, rows, population, answers)
        probability = truth.number_column(sheet, "inclusion_probability", "above 0 and at most 1", 5e-324, 1.0)
        seeds |= set(truth.distinct(sheet.columns["seed"])[0]) if "seed" in sheet.columns else {""}
        for place, row in enumerate(rows.tolist()):
            found = (str(sheet.columns["stratum"][place].as_py()), float(probability[place]))
            if strata.setdefault(row, found) != found or np.isnan(found[1]):
                raise sheet.error(place, "stratum or inclusion_probability differs from another line of this image")
            paths[row] = str(sheet.columns["path"][place].as_py())
    if not any(given for people in answers.values() for given in people.values()):
        raise TruthError(
            f"{', '.join(shown(os.fspath(file)) for file in files)}: no label is filled in; "
            f"let people fill {', '.join(COLUMNS.values())}"
        )
    rows = np.array(sorted(answers), dtype=np.int64)
    name = shown(os.fspath(files[0]))
    design, covers = _design(rows, strata, population, name)
    codes, agreements = _settled(rows, answers, paths, population)
    by = next(iter(strata.values()))[0].partition("-")[0]
    if by in sampling.SCHEMES and len(seeds) == 1 and (seed := seeds.pop()).isdigit():
        expected = sampling.stratify(population, by, int(seed), no_face=covers)
        _check_strata(expected, strata, design, population, name)
    return Checked(
        tuple(os.path.basename(os.fspath(file)) for file in files), rows, design, codes, agreements, by, covers
    )


def _check_pack(sheet: truth.TextTable, population: Population) -> None:
    """Check that the sheet was drawn from labels of the table's pack."""
    digests = set(truth.distinct(sheet.columns["pack_digest"])[0]) if "pack_digest" in sheet.columns else set()
    # A spreadsheet may have made a number of a digest.
    if any(digest != population.info.pack_digest for digest in digests if DIGEST.fullmatch(digest)):
        raise TruthError(
            f"{shown(str(sheet.path))}: was drawn from the labels of another pack than {shown(population.name)}; give "
            "the table of that time, or draw a new sheet"
        )


def _check_strata(
    expected: Strata, strata: Mapping[int, tuple[str, float]], design: Design, population: Population, name: str
) -> None:
    """Check that each image lies in the stratum from which it was drawn: the store may have changed at equal size."""
    here = np.full(len(population.outcomes), -1)
    here[expected.rows] = expected.stratum
    moved = sum(here[row] < 0 or expected.names[here[row]] != stratum for row, (stratum, _) in strata.items())
    sizes = dict(zip(expected.names, expected.sizes.tolist(), strict=True))
    drawn = zip(_stratum_names(strata), design.sizes.tolist(), strict=True)
    other = sum(sizes.get(stratum) != size for stratum, size in drawn)
    if moved or other:
        raise TruthError(
            f"{name}: {plural(moved, 'image')} and {plural(other, 'stratum', 'strata')} are not what they were when it "
            "was drawn; the store has changed or was labelled anew: give the table of that time, or draw a new sheet"
        )


def _stratum_names(strata: Mapping[int, tuple[str, float]]) -> list[str]:
    """Return the names of the strata on a sheet, in the order of its design."""
    return sorted({stratum for stratum, _ in strata.values()})


def _gather(
    sheet: truth.TextTable, rows: IntArray, population: Population, answers: dict[int, dict[str, dict[str, int]]]
) -> None:
    annotators = sheet.columns.get("annotator")
    columns = {
        name: truth.class_column(sheet, column, (*population.classes[name], *EXTRA))
        for name, column in COLUMNS.items()
        if column in sheet.columns
    }
    for place, row in enumerate(rows.tolist()):
        who = " ".join(str(annotators[place].as_py()).split()) if annotators is not None else ""
        who = ADJUDICATED if who.lower() == ADJUDICATED else who
        given = {name: int(codes[place]) for name, codes in columns.items() if codes[place] >= 0}
        if any(code == len(population.classes[name]) for name, code in given.items()):
            # A picture without a face has none for any attribute.
            given = {name: len(population.classes[name]) for name in ATTRIBUTES}
        people = answers.setdefault(row, {})
        if who in people:
            raise sheet.error(place, "this image already has a line of the same annotator; keep one")
        people[who] = given


def _design(
    rows: IntArray, strata: Mapping[int, tuple[str, float]], population: Population, name: str
) -> tuple[Design, bool]:
    names = _stratum_names(strata)
    place = {stratum: h for h, stratum in enumerate(names)}
    stratum = np.array([place[strata[row][0]] for row in rows.tolist()], dtype=np.int64)
    drawn = np.bincount(stratum, minlength=len(names))
    probability = np.zeros(len(names))
    for row in rows.tolist():
        probability[place[strata[row][0]]] = strata[row][1]
    sizes = np.rint(drawn / probability).astype(np.int64)
    labelled = int((population.outcomes == populations.OK).sum())
    missed = int((population.outcomes == populations.NO_FACE).sum())
    covers = bool((population.outcomes[rows] == populations.NO_FACE).any())
    wanted = labelled + missed if covers else labelled
    if int(sizes.sum()) != wanted:
        raise TruthError(
            f"{name}: was drawn from {int(sizes.sum())} images, but the label table has {wanted}; rows were "
            "removed from the sheet or the store has changed: give the whole sheet, or draw a new one"
        )
    return Design(stratum, sizes), covers


def _settled(
    rows: IntArray,
    answers: Mapping[int, Mapping[str, Mapping[str, int]]],
    paths: Mapping[int, str],
    population: Population,
) -> tuple[dict[str, IntArray], tuple[Agreement, ...]]:
    codes: dict[str, IntArray] = {}
    agreements = []
    people = sorted({who for given in answers.values() for who in given if who != ADJUDICATED})
    for name in ATTRIBUTES:
        cant_tell = len(population.classes[name]) + 1
        found = np.full(len(rows), -1, dtype=np.int64)
        undecided = set()
        for place, row in enumerate(rows.tolist()):
            given = {who: labels[name] for who, labels in answers[row].items() if name in labels}
            values = set(given.values())
            if ADJUDICATED in given:
                found[place] = given[ADJUDICATED]
            elif len(values) == 1:
                found[place] = values.pop()
            elif values:
                found[place] = cant_tell
                undecided.add(row)
        codes[name] = found
        agreements += [
            _agreement(name, first, second, answers, undecided, paths, cant_tell + 1)
            for first, second in combinations(people, 2)
        ]
    return codes, tuple(agreements)


def _agreement(
    name: str,
    first: str,
    second: str,
    answers: Mapping[int, Mapping[str, Mapping[str, int]]],
    undecided: set[int],
    paths: Mapping[int, str],
    classes: int,
) -> Agreement:
    table: FloatArray = np.zeros((classes, classes))
    differ = []
    for row, given in sorted(answers.items()):
        pair = (given.get(first, {}).get(name), given.get(second, {}).get(name))
        if pair[0] is not None and pair[1] is not None:
            table[pair] += 1
            if pair[0] != pair[1] and row in undecided:
                differ.append(paths[row])
    return Agreement(name, first, second, int(table.sum()), cohen_kappa(table), tuple(differ))
