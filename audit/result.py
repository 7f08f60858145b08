"""The content of audit.json, the only thing a report may read: built from a label table, written with fixed bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from audit import (
    adjusted,
    agreement,
    association,
    balance,
    domain,
    drift,
    duplicates,
    graded,
    plan,
    sheet,
    targets,
    turnover,
    verdict,
)
from audit import population as populations
from audit import truth as truths
from audit.disclosure import Axes, BoolArray, protect
from audit.estimate import REPLICATES, Estimate, FloatArray, IntArray, proportion
from audit.population import OK, Population
from audit.prevalence import raw_shares
from audit.records import Document, fields, rounded
from audit.targets import Target
from audit.wording import UNIFORM
from labeler import __version__, table
from labeler.taxonomy import ATTRIBUTES

SCHEMA_VERSION = 1
FOLDERS = 20
"""Folders whose missing labels are listed, the largest."""
LARGEST = 10
"""Groups of near-duplicates that are listed."""
TIMES = " × "


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
    target : str
        As `audit.targets.read` takes it.
    margin : float or None
        Shares within it of their target are as wanted; None asks for no verdict.
    date : str or None
        The day or the time, as ISO 8601, that the audit speaks of; None leaves it open. Never read from the clock, so
        that the same call gives the same bytes.
    """

    confidence: float = 0.95
    min_cell: int = 10
    seed: int = 0
    replicates: int = REPLICATES
    target: str = UNIFORM
    margin: float | None = None
    date: str | None = None


@dataclass(frozen=True)
class Evidence:
    """What is known beside the label table.

    Parameters
    ----------
    truth : Truth, optional
        True labels of some of its rows.
    sample : Sample, optional
        A random sample checked by people.
    evaluation : Evaluation, optional
        The pack's held-out predictions.
    previous : dict, optional
        An earlier audit of the store, the content of its audit.json.
    no_evaluation : str
        Why there is no evaluation.
    """

    truth: truths.Truth | None = None
    sample: graded.Sample | None = None
    evaluation: adjusted.Evaluation | None = None
    previous: Document | None = None
    no_evaluation: str = ""


def audit_files(
    labels: str | os.PathLike[str],
    truth_file: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    *,
    checked: Sequence[str | os.PathLike[str]] = (),
    models: str | os.PathLike[str] | None = None,
    previous: str | os.PathLike[str] | None = None,
    previous_labels: str | os.PathLike[str] | None = None,
) -> Document:
    """Audit a label table in a file.

    Parameters
    ----------
    labels : path
        The label table.
    truth_file : path, optional
        True labels of some images.
    options : Options, optional
        As they stand where not given.
    checked : sequence of path
        Filled sheets of one sample drawn by ``audit-labels sample``.
    models : path, optional
        Folder of the pack that labelled the table; unless given, the pack of that name that comes with the package.
    previous, previous_labels : path, optional
        The audit.json of an earlier audit of this store, and its label table: what changed since is told, and what was
        withheld then stays so.

    Returns
    -------
    dict
        Only text, whole and finite numbers, True, False, None, lists and dicts: see ``audit/schema/audit-1.json``.

    Raises
    ------
    LabelerError
        If one of them cannot be read.
    """
    options = options or Options()
    population = populations.read(labels, certainty=bool(checked))
    sources = {"labels": _source(Path(labels))}
    target = targets.read(options.target, population.classes)
    if options.target != UNIFORM:
        sources["target"] = _source(Path(options.target))
    truth = None
    if truth_file is not None:
        truth = truths.read(truth_file, lambda paths: populations.find(labels, paths), population.classes)
        sources["truth"] = _source(Path(truth_file))
    sample = None
    if checked:
        sample = graded.Sample.read(population, labels, sheet.read(checked, labels, population))
        sources |= {f"checked {i + 1}": _source(Path(file)) for i, file in enumerate(checked)}
    info = population.info
    evaluation, missing = adjusted.find_evaluation(info.pack_name, info.pack_digest, models)
    earlier = None
    if previous is not None:
        earlier = drift.read(previous)
        sources["previous"] = _source(Path(previous))
    evidence = Evidence(truth, sample, evaluation, earlier, missing)
    document = _Audit(population, labels, evidence, target, options).document(sources)
    if earlier is not None:
        images = None if previous_labels is None else turnover.compare(previous_labels, labels)
        document["change"] = drift.compare(earlier, document, turnover=images)
    return document


GIVEN_AWAY = Estimate(None, None, None, None, None, "suppressed", agreement.COMPLEMENTARY)
"""In the place of a number that would give a withheld one away."""
FEW_UNKNOWN = 6
"""Withheld cells below which a statistic of the whole table is withheld too."""


class _Audit:
    """One audit: each method gives one list of audit.json."""

    def __init__(
        self,
        population: Population,
        labels: str | os.PathLike[str],
        evidence: Evidence,
        target: Target,
        options: Options,
    ) -> None:
        self.population, self.labels, self.evidence = population, labels, evidence
        self.target, self.options = target, options
        self.joint = population.joint(ATTRIBUTES)
        self.withheld: dict[Axes, BoolArray] = protect(self.joint, options.min_cell, earlier=self._withheld_before())
        self.labelled = int(self.joint.sum())
        self.groups = self._near_duplicates()
        self.distinct = self._distinct_counts()
        names = [(name,) for name in ATTRIBUTES] + list(combinations(ATTRIBUTES, 2))
        self.answered: dict[tuple[str, ...], graded.VerifiedShares] = {}
        if evidence.sample is not None:
            self.answered = {
                chosen: graded.verified(population, evidence.sample, chosen, options.confidence) for chosen in names
            }
        self.verified = {chosen: found for chosen, found in self.answered.items() if not found.unknown}
        self.few = {chosen: self._few(found) for chosen, found in self.answered.items()}
        self.modelled = {}
        if evidence.evaluation is not None and self.labelled:
            self.modelled = {
                name: self._model(name, evidence.evaluation)
                for name in ATTRIBUTES
                if evidence.evaluation.classes[name] == population.classes[name]
                and (evidence.evaluation.truth[name] >= 0).any()
            }

    def _few(self, found: graded.VerifiedShares) -> BoolArray:
        """Return which verified shares are withheld: of few images, or such as would give these away."""
        images = int(found.design.sizes.sum())
        counts = [math.ceil(round((estimate.value or 0.0) * images, 6)) for estimate in found.estimates]
        return protect(np.array(counts, np.int64), self.options.min_cell)[(0,)]

    def document(self, sources: Mapping[str, Mapping[str, str]]) -> Document:
        decision = self._verdict()
        measured = self._measured()
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "efrs-labeler", "version": __version__},
            "pack": self._pack(),
            "options": {
                "confidence": self.options.confidence,
                "min_cell": self.options.min_cell,
                "seed": self.options.seed,
                "replicates": self.options.replicates,
                "target": self.target.name,
                "judged": list(self.target.judged),
                "date": self.options.date,
            },
            "store": self._store(),
            "missingness": [*self._outcomes(), *self._by_folder(), *self._unsure(), *self._by_truth()],
            "shares": list(self._shares()),
            "balance": list(self._balance()),
            "association": list(self._association()),
            "performance": measured.performance if measured else [],
            "gaps": measured.gaps if measured else [],
            "comparisons": measured.comparisons if measured else [],
            "calibration": measured.calibration if measured else [],
            "confusion": measured.confusion if measured else [],
            "duplicates": list(self._duplicates()),
            "domain": list(self._domain()),
            "looks": list(self._looks()),
            "agreement": self._agreement(),
            "plan": list(self._plan()),
            "verdict": {
                "result": decision.result,
                "margin": self.options.margin,
                "confidence": self.options.confidence,
                "basis": decision.basis,
                "reasons": list(decision.reasons),
            },
            "change": None,
            "provenance": {name: dict(source) for name, source in sources.items()},
        }

    def _withheld_before(self) -> dict[Axes, BoolArray]:
        """Return which cells the earlier audit withheld, of those tables whose classes are still the same."""
        if self.evidence.previous is None:
            return {}
        hidden = {
            (record["attribute"], record["class"])
            for record in self.evidence.previous["shares"]
            if record["grade"] == "raw" and record["status"] == "suppressed"
        }
        found = {}
        for size in range(1, len(ATTRIBUTES) + 1):
            for names in combinations(ATTRIBUTES, size):
                title, shape = TIMES.join(names), tuple(len(self.population.classes[name]) for name in names)
                mask = [(title, self._label(names, place)) in hidden for place in np.ndindex(*shape)]
                found[self._axes(names)] = np.array(mask, dtype=bool).reshape(shape)
        return found

    def _axes(self, names: tuple[str, ...]) -> Axes:
        return tuple(ATTRIBUTES.index(name) for name in names)

    def _counts(self, names: tuple[str, ...]) -> IntArray:
        dropped = tuple(axis for axis, name in enumerate(ATTRIBUTES) if name not in names)
        return np.asarray(self.joint.sum(axis=dropped))

    def _label(self, names: tuple[str, ...], place: tuple[int, ...]) -> str:
        return TIMES.join(self.population.classes[name][code] for name, code in zip(names, place, strict=True))

    def _near_duplicates(self) -> tuple[duplicates.Places, duplicates.Places]:
        rows = np.flatnonzero((self.population.outcomes == OK) & self.population.hashed).astype(np.int32)
        return rows, duplicates.groups(self.population.hashes[rows])

    def _model(self, name: str, evaluation: adjusted.Evaluation) -> adjusted.ModelShares:
        known = evaluation.truth[name] >= 0
        return adjusted.model_shares(
            self._counts((name,)),
            self.population.subset[name],
            evaluation.truth[name][known],
            evaluation.probabilities[name][known],
            self.options.confidence,
            seed=self.options.seed,
        )

    def _shares(self) -> Iterator[Document]:
        for name in ATTRIBUTES:
            yield from self._raw((name,))
            yield from self._model_records(name)
            yield from self._verified_records((name,))
        for names in [*combinations(ATTRIBUTES, 2), ATTRIBUTES]:
            yield from self._raw(names)
            yield from self._verified_records(names)

    def _raw(self, names: tuple[str, ...]) -> Iterator[Document]:
        counts, hidden = self._counts(names), self.withheld[self._axes(names)]
        wanted = self.target.shares[names[0]] if len(names) == 1 else None
        labels = tuple(self._label(names, place) for place in np.ndindex(*counts.shape))
        shares = raw_shares(counts.ravel(), labels, confidence=self.options.confidence)
        for k, share in enumerate(shares):
            small = bool(hidden.ravel()[k])
            yield {
                "attribute": TIMES.join(names),
                "class": share.label,
                "grade": "raw",
                "method": "counts",
                "count": None if small else share.count,
                "target": None if wanted is None else rounded(wanted[k]),
                **fields(self._hidden(share.count) if small else share.estimate, n_eff=True),
            }

    def _hidden(self, images: float) -> Estimate:
        if images < self.options.min_cell:
            return Estimate.suppressed(self.options.min_cell)
        return GIVEN_AWAY

    def _model_records(self, name: str) -> Iterator[Document]:
        if name not in self.modelled:
            return
        counts, hidden = self._counts((name,)), self.withheld[self._axes((name,))]
        found = self.modelled[name]
        for method, estimates in (
            ("adjusted_counts", found.adjusted_counts),
            ("expectation_maximisation", found.expectation_maximisation),
        ):
            for k, estimate in enumerate(estimates):
                # Adjusted counts are a linear map of the counts, so one hidden count hides them all.
                small = bool(hidden.any()) if method == "adjusted_counts" else bool(hidden[k])
                yield {
                    "attribute": name,
                    "class": self.population.classes[name][k],
                    "grade": "model",
                    "method": method,
                    "count": None,
                    "target": rounded(self.target.shares[name][k]),
                    **fields(self._hidden(float(counts[k])) if small else estimate, n_eff=True),
                }

    def _verified_records(self, names: tuple[str, ...]) -> Iterator[Document]:
        if names not in self.answered:
            return
        found = self.answered[names]
        cells = int(np.prod(found.shape))
        labels = [self._label(names, place) for place in np.ndindex(*found.shape)] + list(found.names)
        seen = found.answers.sum(axis=0)
        population = int(found.design.sizes.sum())
        for k, estimate in enumerate(found.estimates):
            if k >= cells and seen[k] == 0 and not found.mean[k]:
                continue
            if self.few[names][k]:
                estimate = self._hidden(round(estimate.value * population, 6) if estimate.value else 0)
            wanted = self.target.shares[names[0]][k] if len(names) == 1 and k < cells else None
            yield {
                "attribute": TIMES.join(names),
                "class": labels[k],
                "grade": "verified",
                "method": "difference_estimator",
                "count": None,
                "target": rounded(wanted),
                **fields(estimate, n_eff=True),
            }

    def _balance(self) -> Iterator[Document]:
        options = self.options
        for name in ATTRIBUTES:
            counts, wanted = self._counts((name,)), self.target.shares[name]
            hidden = bool(self.withheld[self._axes((name,))].any())
            for grade, values in (("raw", counts), ("raw_distinct", self.distinct[name])):
                for statistic in balance.STATISTICS:
                    found = balance.measure(
                        statistic, values, wanted, options.confidence, options.replicates, options.seed
                    )
                    estimate = self._hidden(options.min_cell) if hidden else found.estimate
                    yield self._balance_record(name, statistic, grade, estimate, found.chance)
            if (name,) in self.verified:
                yield from self._verified_balance(name)
        for pair in combinations(ATTRIBUTES, 2):
            yield self._cramers_v(pair)

    def _balance_record(
        self, name: str, statistic: str, grade: str, estimate: Estimate, chance: float | None
    ) -> Document:
        return {
            "attribute": name,
            "statistic": statistic,
            "grade": grade,
            "chance": rounded(chance),
            **fields(estimate),
        }

    def _verified_balance(self, name: str) -> Iterator[Document]:
        found, wanted = self.verified[(name,)], np.asarray(self.target.shares[name])
        if self.few[(name,)].any():
            return
        shares, draws = found.shares(), found.resampled(self.options.replicates, self.options.seed)
        ends = np.array([(estimate.low, estimate.high) for estimate in found.estimates[: len(wanted)]], np.float64)
        n, confidence = len(found.answers), self.options.confidence
        for statistic in balance.STATISTICS:
            gap = balance.of_shares(statistic, shares, draws, ends, wanted, n, confidence)
            yield self._balance_record(name, statistic, "verified", gap, None)

    def _distinct_counts(self) -> dict[str, IntArray]:
        """Return the counts of each attribute with one image of each group of near-duplicates."""
        rows, group = self.groups
        dropped = rows[~duplicates.representatives(group)]
        return {
            name: self._counts((name,))
            - np.bincount(self.population.codes[name][dropped], minlength=len(self.population.classes[name]))
            for name in ATTRIBUTES
        }

    def _cramers_v(self, pair: tuple[str, ...]) -> Document:
        found, confidence = self.verified.get(pair), self.options.confidence
        grade = "raw" if found is None else "verified"
        if self.labelled == 0:
            estimate = Estimate.undefined(0, "no image was labelled")
        elif found is None:
            shares = self._counts(pair) / self.labelled
            estimate = association.cramers_v(shares, self.labelled, self.labelled, confidence)
        else:
            estimate = found.association(confidence)
        estimate = _blurred(estimate, int(self._hidden_pair(pair, grade).sum()))
        return self._balance_record(TIMES.join(pair), "cramers_v", grade, estimate, None)

    def _best_joint(self, pair: tuple[str, ...]) -> tuple[FloatArray, FloatArray, int, str]:
        options = self.options
        found = self.verified.get(pair)
        if found is not None:
            return found.shares(), found.resampled(options.replicates, options.seed), len(found.answers), "verified"
        counts = self._counts(pair)
        draws = association.resampled_shares(counts, options.replicates, options.seed)
        return counts / self.labelled, draws, self.labelled, "raw"

    def _hidden_pair(self, pair: tuple[str, ...], grade: str) -> BoolArray:
        """Return which cells of a pair are withheld in a grade, shape (cells,)."""
        hidden = self.withheld[self._axes(pair)].ravel()
        if grade != "verified":
            return hidden
        margins = [self.few[(name,)][: len(self.population.classes[name])] for name in pair]
        lines = np.logical_or.outer(*margins).ravel()
        return np.asarray(hidden | lines | self.few[pair][: hidden.size])

    def _association(self) -> Iterator[Document]:
        if self.labelled == 0:
            return
        for pair in combinations(ATTRIBUTES, 2):
            joint, draws, n, grade = self._best_joint(pair)
            hidden = self._hidden_pair(pair, grade)
            found = association.npmi(joint, draws, n, self.options.confidence)
            for k, place in enumerate(np.ndindex(*joint.shape)):
                estimate = self._hidden(float(self._counts(pair)[place])) if hidden[k] else found[k]
                yield {
                    "attribute": TIMES.join(pair),
                    "class": self._label(pair, place),
                    "statistic": "npmi",
                    "grade": grade,
                    **fields(estimate),
                }

    def _measured(self) -> agreement.Records | None:
        evidence, options = self.evidence, self.options
        settings = agreement.Settings(options.confidence, options.min_cell, options.seed, options.replicates)
        if evidence.truth is not None:
            images = agreement.of_truth(self.population, self.labels, evidence.truth)
        elif evidence.sample is not None:
            images = agreement.of_sample(self.population, evidence.sample)
        elif evidence.evaluation is not None:
            images = agreement.of_evaluation(evidence.evaluation)
        else:
            return None
        return agreement.Records(images, settings) if images.true else None

    def _duplicates(self) -> Iterator[Document]:
        rows, group = self.groups
        if len(rows) == 0:
            return
        again = duplicates.repeated(group)
        for name in ATTRIBUTES:
            size = len(self.population.classes[name])
            codes = self.population.codes[name][rows]
            counts = np.bincount(codes, minlength=size)
            hits = np.bincount(codes[again], minlength=size)
            distinct = self.distinct[name]
            hidden = protect(np.column_stack([counts - hits, hits]).astype(np.int64), self.options.min_cell)[(0, 1)]
            for k, label in enumerate(self.population.classes[name]):
                small = bool(hidden[k].any() or self.withheld[self._axes((name,))][k])
                share = proportion(int(hits[k]), int(counts[k]), self.options.confidence)
                if counts[k] == 0:
                    share = Estimate.absent()
                estimate = self._hidden(self.options.min_cell if counts[k] >= self.options.min_cell else 0)
                yield {
                    "attribute": name,
                    "class": label,
                    "share_without": None if small or not distinct.sum() else rounded(distinct[k] / distinct.sum()),
                    **fields(estimate if small else share),
                }

    def _estimated(self, name: str) -> FloatArray:
        return np.array([estimate.value or 0.0 for estimate in self.modelled[name].expectation_maximisation])

    def _domain(self) -> Iterator[Document]:
        evaluation = self.evidence.evaluation
        for name, shares in self.modelled.items():
            if evaluation is None:
                continue
            weights = domain.class_weights(evaluation.truth, {name: self._estimated(name)}, len(evaluation.years))
            shift = domain.shift(
                self.population.subset[name].max(axis=1), evaluation.probabilities[name].max(axis=1), weights
            )
            if shift is not None:
                yield {
                    "attribute": name,
                    "distance": rounded(shift.distance),
                    "chance": rounded(shift.chance),
                    "store_confidence": rounded(shift.store),
                    "evaluation_confidence": rounded(shift.evaluation),
                    "warning": shift.warning,
                    "disagreement": rounded(shares.disagreement),
                }

    def _looks(self) -> Iterator[Document]:
        evaluation = self.evidence.evaluation
        if evaluation is None or not self.modelled:
            return
        here = dict(self.population.looks)
        side = here.pop(populations.FACE_SIDE)
        if evaluation.crop is not None:
            here["face_size"] = side / (evaluation.crop[0] * evaluation.crop[1]) ** 0.5
        shares = {name: self._estimated(name) for name in self.modelled}
        weights = domain.class_weights(evaluation.truth, shares, len(evaluation.years))
        for name in domain.LOOKS:
            if name not in here or name not in evaluation.looks:
                continue
            values = [here[name], evaluation.looks[name]]
            if name == "face_size":
                values = [np.minimum(value, domain.WHOLE) for value in values]
            shift = domain.shift(values[0], values[1], weights, domain.NOTABLE_LOOKS)
            if shift is not None:
                yield {
                    "measure": name,
                    "store": rounded(shift.store),
                    "evaluation": rounded(shift.evaluation),
                    "distance": rounded(shift.distance),
                    "chance": rounded(shift.chance),
                    "warning": shift.warning,
                }

    def _agreement(self) -> list[Document]:
        if self.evidence.sample is None:
            return []
        return [
            {
                "attribute": found.attribute,
                "annotators": [found.first, found.second],
                "n": found.n,
                "kappa": rounded(found.kappa),
                "disagreements": list(found.disagreements),
            }
            for found in self.evidence.sample.checked.agreements
        ]

    def _plan(self) -> Iterator[Document]:
        for name in self.target.judged if self.labelled else ():
            found = self.verified.get((name,))
            if found is None:
                basis = plan.raw_basis(self._counts((name,)), self.options.confidence, self.options.seed)
            else:
                basis = plan.verified_basis(found, self.options.seed)
            try:
                rows = plan.collect(
                    basis, self.population.classes[name], self.target.shares[name], self.options.confidence
                )
            except plan.PlanError:
                continue
            hidden = bool(self.withheld[self._axes((name,))].any())
            hidden |= found is not None and bool(self.few[(name,)].any())
            for row in rows if not hidden else ():
                yield {
                    "attribute": name,
                    "class": row.label,
                    "grade": basis.grade,
                    "needed": row.needed,
                    "low": row.low,
                    "high": row.high,
                }

    def _verdict(self) -> verdict.Verdict:
        options = self.options
        judged = [name for name in self.target.judged if (name,) in self.verified]
        sample = self.evidence.sample
        unanswered = [name for name in self.target.judged if sample is not None and name not in judged]
        if sample is None or not judged:
            return verdict.of_raw_shares(self.labelled, options.margin, unanswered)
        return verdict.of_verified_shares(
            [claim for name in judged for claim in self._claims(name)],
            options.margin,
            options.confidence,
            unanswered=unanswered,
            unfilled=len(sample.checked.rows) - sample.checked.answered(self.target.judged),
        )

    def _claims(self, name: str) -> Iterator[verdict.Claim]:
        """Yield what is judged of an attribute: its shares among the faces; a picture without one is of no class."""
        found = self.verified[(name,)]
        missed, unknown = (estimate.value or 0.0 for estimate in found.estimates[-2:])
        faces = max(1 - missed, 1e-12)
        for k, label in enumerate(self.population.classes[name]):
            estimate = found.estimates[k]
            yield verdict.Claim(
                f"{name} {label}",
                min((estimate.value or 0.0) / faces, 1.0),
                self.target.shares[name][k],
                float("inf") if estimate.n_eff is None else estimate.n_eff * faces,
                unknown / faces,
                bool(self.few[(name,)][k]),
            )

    def _pack(self) -> Document:
        info = self.population.info
        return {
            "name": info.pack_name,
            "version": info.pack_version,
            "digest": info.pack_digest,
            "preprocessing_version": info.preprocessing_version,
            "tool_version": info.tool_version,
            "options": {key: info.options[key] for key in sorted(info.options)},
            "classes": {name: list(info.classes[name]) for name in ATTRIBUTES},
        }

    def _store(self) -> Document:
        population, truth, sample = self.population, self.evidence.truth, self.evidence.sample
        files = len(population.outcomes)
        rows, group = self.groups
        largest = duplicates.largest(group, LARGEST)
        return {
            "name": population.info.store,
            "files": files,
            "labelled": self.labelled,
            "not_labelled": files - self.labelled,
            "examples": population.examples,
            "truth": None if truth is None else self._truth(truth),
            "checked": None if sample is None else self._checked(sample),
            "evaluation": None if self.evidence.evaluation is None else self.evidence.evaluation.name,
            "no_model_shares": self._no_model_shares(),
            "near_duplicates": {
                "images": int(duplicates.repeated(group).sum()),
                "surplus": len(rows) - int(group.max(initial=-1)) - 1,
                "largest": [
                    {"images": len(members), "first": first}
                    for members, first in zip(
                        largest, self._paths(np.array([rows[members[0]] for members in largest], np.int64)), strict=True
                    )
                ],
            },
        }

    def _no_model_shares(self) -> list[str]:
        """Return why some model-based shares are missing, a sentence for each reason."""
        evaluation = self.evidence.evaluation
        if self.labelled == 0:
            return []
        if evaluation is None:
            return [self.evidence.no_evaluation] if self.evidence.no_evaluation else []
        return [
            f"the evaluation has other classes of {name} than the pack, or no truth of it"
            for name in ATTRIBUTES
            if name not in self.modelled
        ]

    def _paths(self, rows: IntArray) -> list[str]:
        return [str(path) for path in populations.take(self.labels, rows, ["path"]).column("path").to_pylist()]

    def _truth(self, truth: truths.Truth) -> Document:
        return {
            "file": truth.name,
            "columns": list(truth.columns),
            "images": len(truth.rows),
            "labelled": int((self.population.outcomes[truth.rows] == OK).sum()),
            "weighted": truth.weights is not None,
            "persons": None if truth.clusters is None else len(np.unique(truth.clusters)),
        }

    def _checked(self, sample: graded.Sample) -> Document:
        checked = sample.checked
        return {
            "files": list(checked.names),
            "images": len(checked.rows),
            "filled": checked.filled,
            "answered": {name: checked.answered((name,)) for name in ATTRIBUTES},
            "unanswered": [name for name in ATTRIBUTES if (name,) not in self.verified],
            "by": checked.by,
            "no_face_included": checked.covers_no_face,
        }

    def _outcomes(self) -> Iterator[Document]:
        outcomes = self.population.outcomes
        counts = np.bincount(outcomes, minlength=len(table.STATUSES))
        for status, number in zip(table.STATUSES, counts.tolist(), strict=True):
            share = proportion(number, len(outcomes), self.options.confidence)
            if len(outcomes) == 0:
                share = Estimate.undefined(0, "the table holds no file")
            yield {"outcome": status, "group": {}, "count": number, **fields(share)}

    def _by_folder(self) -> Iterator[Document]:
        population = self.population
        sizes = np.bincount(population.folder_of, minlength=len(population.folders))
        if len(sizes) < 2 or self.labelled == len(population.outcomes):
            return
        order = np.lexsort((np.array(population.folders), -sizes))[:FOLDERS]
        missed = np.bincount(population.folder_of[population.outcomes != OK], minlength=len(sizes))
        for place in order.tolist():
            group = {"folder": population.folders[place]}
            yield self._missing("not_labelled", group, int(missed[place]), int(sizes[place]))

    def _missing(self, outcome: str, group: dict[str, str], count: int, n: int) -> Document:
        if n < self.options.min_cell:
            return {"outcome": outcome, "group": group, "count": None, **fields(self._hidden(0))}
        share = proportion(count, n, self.options.confidence)
        return {"outcome": outcome, "group": group, "count": count, **fields(share)}

    def _unsure(self) -> Iterator[Document]:
        for name in ATTRIBUTES if self.labelled else ():
            yield self._missing("low_confidence", {"attribute": name}, self.population.unsure[name], self.labelled)

    def _by_truth(self) -> Iterator[Document]:
        truth = self.evidence.truth
        if truth is None:
            return
        outcomes = self.population.outcomes[truth.rows]
        if (outcomes == OK).all():
            return
        for name, codes in truth.codes.items():
            size = len(self.population.classes[name])
            counts = np.bincount(codes[codes >= 0], minlength=size).astype(np.int64)
            hidden = protect(counts, self.options.min_cell)[(0,)]
            for k, label in enumerate(self.population.classes[name]):
                missed = int(((codes == k) & (outcomes != OK)).sum())
                if counts[k]:
                    n = 0 if hidden[k] else int(counts[k])
                    yield self._missing("not_labelled", {name: label}, missed, n)


def _blurred(estimate: Estimate, withheld: int) -> Estimate:
    """Return one number of a whole table so that it does not tell its withheld cells.

    With the margins and the other cells it leaves few tables that fit where few cells are withheld; where many are,
    two decimals leave many.
    """
    if withheld == 0 or estimate.value is None:
        return estimate
    if withheld < FEW_UNKNOWN:
        return GIVEN_AWAY
    value, low, high = (None if end is None else round(end, 2) for end in (estimate.value, estimate.low, estimate.high))
    return replace(estimate, value=value, low=low, high=high)


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
