"""The records of performance: what is measured in which group, from a truth file, a checked sheet or an evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from audit import gaps, performance
from audit import population as populations
from audit.adjusted import Evaluation
from audit.disclosure import protect
from audit.estimate import REPLICATES, Estimate, FloatArray, IntArray
from audit.graded import Sample
from audit.population import OK, Population
from audit.records import Document, fields, rounded
from audit.truth import Truth
from labeler.taxonomy import ATTRIBUTES

BoolArray = np.typing.NDArray[np.bool_]

ORDERED = frozenset({"age"})
"""Attributes whose classes have an order."""
DECADE = "decade"
"""The group of images by true age in whole decades."""
PAIR_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class Settings:
    """What every metric is computed with; see `audit.result.Options`."""

    confidence: float = 0.95
    min_cell: int = 10
    seed: int = 0
    replicates: int = REPLICATES


@dataclass(frozen=True)
class Images:
    """The images whose truth is known, one entry each.

    Parameters
    ----------
    basis : str
        Where the truth comes from.
    classes : mapping of str to tuple of str
        Of each attribute.
    true : mapping of str to array of int
        -1 where unknown; only attributes of which something is known.
    predicted, probabilities : mapping
        The classifier's view.
    true_years, years : array or None
        True and predicted age.
    weights, clusters : array or None
        As `audit.performance.measure` takes them.
    answered : mapping of str to array, optional
        Weights of each attribute instead, where not every image has a label of each.
    """

    basis: str
    classes: Mapping[str, tuple[str, ...]]
    true: Mapping[str, IntArray]
    predicted: Mapping[str, IntArray]
    probabilities: Mapping[str, FloatArray]
    true_years: FloatArray | None = None
    years: FloatArray | None = None
    weights: FloatArray | None = None
    clusters: IntArray | None = None
    answered: Mapping[str, FloatArray] | None = None

    def weights_of(self, attribute: str, kept: BoolArray) -> FloatArray | None:
        """Return the weights of some images, as they count for an attribute; None where all count alike."""
        weights = self.weights if self.answered is None else self.answered[attribute]
        return None if weights is None else weights[kept]


@dataclass(frozen=True)
class Group:
    """Some images, by their true labels.

    Parameters
    ----------
    name : dict
        Attribute to class; empty for all images.
    members : array of bool
        Which images are in it.
    withheld : bool
        Whether its size would give away that of a small group.
    """

    name: dict[str, str]
    members: BoolArray
    withheld: bool


def of_truth(population: Population, labels: str | os.PathLike[str], truth: Truth) -> Images:
    """Return the labelled images of a truth file."""
    kept = population.outcomes[truth.rows] == OK
    chosen = truth.rows[kept]
    rows = populations.take(labels, chosen, ["age", *(f"{name}_probabilities" for name in ATTRIBUTES)])
    return Images(
        basis=truth.name,
        classes=population.classes,
        true={name: truth.codes[name][kept] for name in ATTRIBUTES if name in truth.codes},
        predicted={name: population.codes[name][chosen].astype(np.int64) for name in ATTRIBUTES},
        probabilities={
            name: populations.matrix(
                rows.column(f"{name}_probabilities").combine_chunks(), len(population.classes[name])
            ).astype(np.float64)
            for name in ATTRIBUTES
        },
        true_years=None if truth.years is None else truth.years[kept],
        years=rows.column("age").to_numpy().astype(np.float64),
        weights=None if truth.weights is None else truth.weights[kept],
        clusters=None if truth.clusters is None else truth.clusters[kept],
    )


def of_sample(population: Population, sample: Sample) -> Images:
    """Return the images of a checked sheet with their weights; "no face" and "can't tell" count as unknown."""
    kept = sample.labelled
    checked = sample.checked
    true = {}
    for name in ATTRIBUTES:
        codes = checked.codes[name][kept]
        codes = np.where(codes < len(population.classes[name]), codes, -1)
        if (codes >= 0).any():
            true[name] = codes
    return Images(
        basis=", ".join(checked.names),
        classes=population.classes,
        true=true,
        predicted={name: population.codes[name][checked.rows[kept]].astype(np.int64) for name in ATTRIBUTES},
        probabilities={name: sample.probabilities[name][kept] for name in ATTRIBUTES},
        answered={name: checked.weights(name)[kept] for name in ATTRIBUTES},
    )


def of_evaluation(evaluation: Evaluation) -> Images:
    """Return the images of a pack's own evaluation."""
    return Images(
        basis=f"the pack's own evaluation: {evaluation.name}",
        classes=evaluation.classes,
        true={name: codes for name, codes in evaluation.truth.items() if (codes >= 0).any()},
        predicted={name: evaluation.probabilities[name].argmax(axis=1) for name in ATTRIBUTES},
        probabilities=evaluation.probabilities,
        true_years=None if np.isnan(evaluation.true_years).all() else evaluation.true_years,
        years=evaluation.years,
    )


class Records:
    """Every list of audit.json that needs truth.

    Parameters
    ----------
    images : Images
        With known truth.
    settings : Settings
        Confidence, smallest cell, bootstrap.
    """

    def __init__(self, images: Images, settings: Settings) -> None:
        self.images, self.settings = images, settings
        self.withheld = self._withheld()
        self.performance: list[Document] = []
        self.gaps: list[Document] = []
        self.comparisons: list[Document] = []
        self.calibration: list[Document] = []
        self.confusion: list[Document] = []
        for attribute in images.true:
            self._attribute(attribute)

    def _withheld(self) -> dict[tuple[int, ...], BoolArray]:
        """Return which groups by true labels may not be shown: small ones, and those that would give them away."""
        true = self.images.true
        sizes = [len(self.images.classes[name]) for name in true]
        known = np.all([codes >= 0 for codes in true.values()], axis=0)
        cell = np.zeros(int(known.sum()), dtype=np.int64)
        for codes, size in zip(true.values(), sizes, strict=True):
            cell = cell * size + codes[known]
        counts = np.bincount(cell, minlength=int(np.prod(sizes))).reshape(sizes)
        return protect(counts.astype(np.int64), self.settings.min_cell, order=2)

    def groups(self, attribute: str, size: int) -> Iterator[list[Group]]:
        """Yield the groups of each combination of ``size`` other attributes, by true labels."""
        order = list(self.images.true)
        for names in combinations([name for name in order if name != attribute], size):
            axes = tuple(order.index(name) for name in names)
            shape = tuple(len(self.images.classes[name]) for name in names)
            yield [
                Group(
                    {name: self.images.classes[name][code] for name, code in zip(names, place, strict=True)},
                    np.all([self.images.true[n] == c for n, c in zip(names, place, strict=True)], axis=0),
                    bool(self.withheld[axes][place]),
                )
                for place in np.ndindex(*shape)
            ]

    def decades(self) -> list[Group]:
        """Return the groups by true age in whole decades; none where the ages are not known."""
        years = self.images.true_years
        if years is None or np.isnan(years).all():
            return []
        decade = np.where(np.isnan(years), -1, years // 10).astype(np.int64)
        used = range(int(decade.max()) + 1)
        sizes = np.bincount(decade[decade >= 0], minlength=len(used)).astype(np.int64)
        hidden = protect(sizes, self.settings.min_cell)[(0,)]
        return [Group({DECADE: f"{10 * d}-{10 * d + 9}"}, decade == d, bool(hidden[d])) for d in used]

    def _attribute(self, attribute: str) -> None:
        everybody = Group({}, np.ones(len(self.images.true[attribute]), dtype=bool), False)
        families = [[everybody], *self.groups(attribute, 1)]
        decades = self.decades()
        if decades:
            families.append(decades)
        for family in families:
            for group in family:
                self._group(attribute, group)
            if family[0].name:
                self._family(attribute, family, exploratory=False)
        for family in self.groups(attribute, 2):
            for group in family:
                self._group(attribute, group, PAIR_METRICS)
            self._family(attribute, family, exploratory=True)
        self._by_class(attribute)
        self._reliability(attribute)

    def _known(self, attribute: str, group: Group) -> BoolArray:
        return np.asarray(group.members & (self.images.true[attribute] >= 0))

    def _group(self, attribute: str, group: Group, only: tuple[str, ...] = ()) -> None:
        images, settings = self.images, self.settings
        kept = self._known(attribute, group)
        measured = performance.measure(
            images.true[attribute][kept],
            images.predicted[attribute][kept],
            images.probabilities[attribute][kept],
            ordered=attribute in ORDERED,
            min_cell=settings.min_cell,
            confidence=settings.confidence,
            replicates=settings.replicates,
            seed=settings.seed,
            weights=images.weights_of(attribute, kept),
            clusters=None if images.clusters is None else images.clusters[kept],
        )
        if attribute == "age" and images.true_years is not None and images.years is not None and not only:
            aged = group.members & ~np.isnan(images.true_years)
            errors = images.years[aged] - images.true_years[aged]
            measured |= performance.measure_years(
                errors, settings.min_cell, settings.confidence, images.weights_of(attribute, aged)
            )
        for metric, estimate in measured.items():
            if only and metric not in only:
                continue
            self._add(attribute, metric, group, estimate)

    def _add(self, attribute: str, metric: str, group: Group, estimate: Estimate, label: str | None = None) -> None:
        if group.withheld and estimate.status not in ("absent", "suppressed"):
            estimate = Estimate(None, None, None, None, None, "suppressed", COMPLEMENTARY)
        self.performance.append(
            {
                "attribute": attribute,
                "metric": metric,
                "group": dict(group.name),
                "class": label,
                **fields(estimate),
                "basis": self.images.basis,
            }
        )

    def _family(self, attribute: str, family: list[Group], *, exploratory: bool) -> None:
        """Add what lies between the groups of one attribute, or of one pair."""
        images, settings = self.images, self.settings
        by = " × ".join(family[0].name)
        shown = []
        for group in family:
            kept = self._known(attribute, group)
            if not group.withheld and kept.sum() >= settings.min_cell:
                shown.append((group, self._tally(attribute, kept)))
        shown = [(group, tally) for group, tally in shown if tally.n_eff > 0]
        right = np.array([float(np.trace(tally.matrix)) for _, tally in shown])
        n = np.array([tally.n_eff for _, tally in shown])
        found = gaps.across(right, n, settings.confidence, settings.replicates, settings.seed)
        if not exploratory:
            tensor = np.array([tally.matrix for _, tally in shown])
            found["equalised_odds"] = gaps.equalised_odds(
                tensor, settings.confidence, settings.replicates, settings.seed
            )
        for statistic, gap in found.items():
            self.gaps.append(
                {
                    "attribute": attribute,
                    "statistic": statistic,
                    "by": by,
                    "groups": len(shown),
                    "chance": rounded(gap.chance),
                    **fields(gap.estimate),
                    "basis": images.basis,
                }
            )
        known = images.true[attribute] >= 0
        rest = [self._tally(attribute, known & ~group.members) for group, _ in shown]
        compared = gaps.against_the_rest(
            right,
            n,
            np.array([float(np.trace(tally.matrix)) for tally in rest]),
            np.array([tally.n_eff for tally in rest]),
            exploratory=exploratory,
            confidence=settings.confidence,
        )
        for (group, tally), comparison in zip(shown, compared, strict=True):
            record = fields(comparison.estimate) | {"n": tally.n}
            self.comparisons.append(
                {
                    "attribute": attribute,
                    "metric": "accuracy_difference",
                    "group": dict(group.name),
                    **record,
                    "p_value": rounded(comparison.p_value),
                    "p_adjusted": rounded(comparison.p_adjusted),
                    "adjustment": comparison.adjustment,
                    "basis": images.basis,
                }
            )

    def _tally(self, attribute: str, kept: BoolArray) -> performance.Tally:
        images = self.images
        return performance.Tally(
            images.true[attribute][kept],
            images.predicted[attribute][kept],
            len(images.classes[attribute]),
            images.weights_of(attribute, kept),
        )

    def _by_class(self, attribute: str) -> None:
        images, settings = self.images, self.settings
        classes = images.classes[attribute]
        kept = images.true[attribute] >= 0
        counts = performance.confusion(images.true[attribute][kept], images.predicted[attribute][kept], len(classes))
        if counts.sum() < settings.min_cell:
            return
        everybody = Group({}, kept, False)
        rates = performance.by_class(
            self._tally(attribute, kept).matrix, counts, settings.min_cell, settings.confidence
        )
        hidden = protect(counts, settings.min_cell)
        for k, label in enumerate(classes):
            for metric, estimate in rates[k].items():
                axis = 0 if metric == "recall" else 1
                self._add(attribute, metric, Group({}, everybody.members, bool(hidden[(axis,)][k])), estimate, label)
            for j, predicted in enumerate(classes):
                withheld = bool(hidden[(0, 1)][k, j])
                self.confusion.append(
                    {
                        "attribute": attribute,
                        "true": label,
                        "predicted": predicted,
                        "count": None if withheld else int(counts[k, j]),
                        "status": "suppressed" if withheld else "ok",
                        "basis": images.basis,
                    }
                )

    def _reliability(self, attribute: str) -> None:
        """Add the bins of confidence of all images, and of the groups by one other attribute."""
        known = self.images.true[attribute] >= 0
        everybody = Group({}, known, False)
        families = list(self.groups(attribute, 1))
        hidden = protect(self._bins(attribute, known), self.settings.min_cell)[(0,)]
        masks = []
        for family in families:
            mask, together = self._hidden_bins(attribute, family)
            masks.append(mask)
            hidden = hidden | together
        self._add_bins(attribute, everybody, hidden)
        for family, mask in zip(families, masks, strict=True):
            for group, bins in zip(family, mask, strict=True):
                self._add_bins(attribute, group, bins)

    def _bins(self, attribute: str, kept: BoolArray) -> IntArray:
        """Return how many of some images lie in each bin of confidence."""
        place = performance.bin_of(self.images.probabilities[attribute][kept])
        return np.bincount(place, minlength=performance.BINS).astype(np.int64)

    def _hidden_bins(self, attribute: str, family: list[Group]) -> tuple[BoolArray, BoolArray]:
        """Return which bins of each group have to be withheld, and which of all images together."""
        counts = np.array([self._bins(attribute, self._known(attribute, group)) for group in family])
        found = protect(counts, self.settings.min_cell)
        withheld = np.array([group.withheld for group in family])
        if (found[(0,)] & ~withheld).any():
            # The size of a group is published elsewhere, so it cannot help to hide a bin here: all of them go.
            return np.ones(counts.shape, dtype=bool), found[(1,)]
        return found[(0, 1)] | withheld[:, None], found[(1,)]

    def _add_bins(self, attribute: str, group: Group, hidden: BoolArray) -> None:
        images, settings = self.images, self.settings
        kept = self._known(attribute, group)
        right = images.predicted[attribute][kept] == images.true[attribute][kept]
        counts = self._bins(attribute, kept)
        hits, whole, mass = performance.reliability(
            images.probabilities[attribute][kept], right, images.weights_of(attribute, kept)
        )
        scale = self._tally(attribute, kept).n_eff / max(float(whole.sum()), 1e-300)
        for b in np.flatnonzero((counts > 0) & (whole > 0)).tolist():
            estimate = Estimate.suppressed(settings.min_cell)
            if not hidden[b]:
                estimate = performance.weighted_share(
                    float(hits[b] / whole[b]), float(whole[b]) * scale, int(counts[b]), settings.confidence
                )
            elif counts[b] >= settings.min_cell:
                estimate = Estimate(None, None, None, None, None, "suppressed", COMPLEMENTARY)
            self.calibration.append(
                {
                    "attribute": attribute,
                    "group": dict(group.name),
                    "bin_low": b / performance.BINS,
                    "bin_high": (b + 1) / performance.BINS,
                    "confidence": None if hidden[b] else rounded(mass[b] / whole[b]),
                    **fields(estimate),
                    "basis": images.basis,
                }
            )


COMPLEMENTARY = "withheld, since its size would give away a smaller group's"
