"""How often the intervals of the shares hold the truth: stores of other make-up, drawn from real predictions.

For each attribute four stores of 20,000 images: as evaluated, even, and two in which some classes are rare. From each,
n images are checked again and again: by one sheet for all attributes (the default of ``audit-labels sample``), and by
a sheet made for that attribute. Beside it stand the raw counts, the labels alone of as many images drawn simply at
random, and how much narrower than those any estimator could be with these predictions: ``1 − sqrt(1 − R²)`` for a
simple random sample, R² that of truth on all probabilities, and with the best allocation to the strata for each class
alone.

Example: python benchmarks/coverage.py models/fairface/evaluation.parquet --repetitions 400
Example: python benchmarks/coverage.py --labels labels.parquet --truth truth.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audit import agreement, population, truth
from audit.adjusted import read_evaluation
from audit.estimate import Estimate, wilson
from audit.sampling import ALL, allocate, divide
from audit.verified import Design, difference_estimator, labels_alone
from labeler.taxonomy import ATTRIBUTES

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

STORE = 20_000
"""Images of a simulated store."""
MAKE_UPS = ("as evaluated", "even", "rare A", "rare B")
RARE = 0.025
"""Share below which a class counts as rare."""
NARROWER = {"gender": 0.45, "ethnicity": 0.25, "age": 0.15}
"""By how much verified intervals have to be narrower than those of the labels alone, averaged over classes."""
MEAN, WORST = (0.93, 0.97), 0.92
"""Coverage wanted on average over the classes, and of the worst one."""


@dataclass
class Store:
    """A simulated store: its images' predictions and true classes, and those and the shares of one attribute."""

    probabilities: Mapping[str, FloatArray]
    all_true: Mapping[str, IntArray]
    attribute: str
    true: IntArray
    known: FloatArray


@dataclass
class Held:
    """For each store: how often each class's interval held the truth, and how much narrower they are on average."""

    covered: list[FloatArray] = field(default_factory=list)
    narrower: list[float] = field(default_factory=list)


def mixes(shares: FloatArray, rng: np.random.Generator) -> list[FloatArray]:
    """Return the make-up of the stores: as evaluated, even, and two in which some classes are rare (1 to 2 %)."""
    k = len(shares)
    found = [shares, np.full(k, 1 / k)]
    for _ in MAKE_UPS[2:]:
        rare = rng.dirichlet(np.full(k, 1.5))
        found.append(np.maximum(rare, rng.uniform(0.01, 0.02, k)))
    return [mix / mix.sum() for mix in found]


def draw_store(images: agreement.Images, attribute: str, mix: FloatArray, rng: np.random.Generator) -> Store:
    """Draw a store in which an attribute's classes have these shares; the other attributes follow."""
    true = rng.choice(len(mix), STORE, p=mix)
    rows = np.empty(STORE, dtype=np.int64)
    for label in range(len(mix)):
        here = true == label
        rows[here] = rng.choice(np.flatnonzero(images.true[attribute] == label), here.sum())
    probabilities = {name: images.probabilities[name][rows] for name in ATTRIBUTES}
    all_true = {name: classes[rows] for name, classes in images.true.items()}
    return Store(probabilities, all_true, attribute, true, np.bincount(true, minlength=len(mix)) / STORE)


def strata_of(store: Store, scheme: str) -> tuple[IntArray, IntArray, FloatArray]:
    """Return each image's stratum, the strata's sizes, and how unsure the labels are in each."""
    f = store.probabilities
    codes = {name: f[name].argmax(axis=1).astype(np.int64) for name in ATTRIBUTES}
    unsure = {name: (f[name] * (1 - f[name])).sum(axis=1) for name in ATTRIBUTES}
    stratum, together = divide(codes, unsure, {name: f[name].shape[1] for name in ATTRIBUTES}, scheme)
    used, stratum = np.unique(stratum, return_inverse=True)
    sizes = np.bincount(stratum, minlength=len(used)).astype(np.int64)
    return stratum.astype(np.int64), sizes, np.sqrt(np.bincount(stratum, together) / sizes)


def check(
    store: Store, scheme: str, n: int, repetitions: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Check n images of a store again and again; return for each class how often its interval held, and mean width."""
    stratum, sizes, spread = strata_of(store, scheme)
    members = [np.flatnonzero(stratum == h) for h in range(len(sizes))]
    quota = allocate(sizes, spread, n).tolist()
    f, k = store.probabilities[store.attribute], len(store.known)
    ends = np.empty((repetitions, k, 2))
    for r in range(repetitions):
        chosen = np.concatenate([rng.choice(m, q, replace=False) for m, q in zip(members, quota, strict=True)])
        answers = np.eye(k)[store.true[chosen]]
        ends[r] = _ends(difference_estimator(Design(stratum[chosen], sizes), answers, f[chosen], f.mean(axis=0)))
    return _held(ends, store.known)


def check_alone(store: Store, n: int, repetitions: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Do the same with n images drawn simply at random and without the classifier."""
    k = len(store.known)
    ends = np.empty((repetitions, k, 2))
    for r in range(repetitions):
        chosen = rng.choice(STORE, n, replace=False)
        ends[r] = _ends(labels_alone(Design(np.zeros(n, np.int64), np.array([STORE])), np.eye(k)[store.true[chosen]]))
    return _held(ends, store.known)


def bounds(store: Store) -> tuple[float, float]:
    """Return how much narrower any interval could be on average: simply at random, and with the best allocation."""
    f, k = store.probabilities[store.attribute], len(store.known)
    answers = np.eye(k)[store.true]
    design = np.column_stack([np.ones(STORE), f[:, 1:]])
    residual = answers - design @ np.linalg.lstsq(design, answers, rcond=None)[0]
    spread = np.sqrt(store.known * (1 - store.known))
    stratum, sizes, _ = strata_of(store, store.attribute)
    inside = np.array([(answers - f)[stratum == h].std(axis=0) for h in range(len(sizes))])
    return (
        float((1 - residual.std(axis=0) / spread).mean()),
        float((1 - (sizes / STORE) @ inside / spread).mean()),
    )


def _ends(estimates: list[Estimate]) -> FloatArray:
    return np.array([(estimate.low, estimate.high) for estimate in estimates], dtype=np.float64)


def _held(ends: FloatArray, known: FloatArray) -> tuple[FloatArray, FloatArray]:
    held = (ends[..., 0] <= known) & (known <= ends[..., 1])
    return held.mean(axis=0), (ends[..., 1] - ends[..., 0]).mean(axis=0)


def images_of(options: argparse.Namespace) -> agreement.Images:
    """Return predictions and truth of a pack's evaluation, or of a label table and its truth file."""
    if options.evaluation is not None:
        return agreement.of_evaluation(read_evaluation(options.evaluation))
    rows = population.read(options.labels)
    known = truth.read(options.truth, lambda paths: population.find(options.labels, paths), rows.classes)
    return agreement.of_truth(rows, options.labels, known)


def report(images: agreement.Images, attribute: str, options: argparse.Namespace) -> bool:
    """Print one attribute's stores and whether they hold what is wanted."""
    rng = np.random.default_rng([options.seed, ATTRIBUTES.index(attribute)])
    true = images.true[attribute]
    shares = np.bincount(true[true >= 0], minlength=len(images.classes[attribute])) / (true >= 0).sum()
    held = {ALL: Held(), attribute: Held()}
    mixed = []
    for title, mix in zip(MAKE_UPS, mixes(shares, rng), strict=True):
        store = draw_store(images, attribute, mix, rng)
        alone, width_alone = check_alone(store, options.n, options.repetitions, rng)
        mixed.append(store.known)
        line = f"{attribute:9} {title:12} {store.known.min():6.3f} {raw_coverage(store):5.2f} {alone.mean():7.3f}"
        for scheme, found in held.items():
            covered, width = check(store, scheme, options.n, options.repetitions, rng)
            found.covered.append(covered)
            found.narrower.append(float(1 - (width / width_alone).mean()))
            line += f" | {covered.mean():6.3f} {covered.min():6.3f} {found.narrower[-1]:7.1%}"
        simple, best = bounds(store)
        print(f"{line} | {simple:6.1%} {best:6.1%}", flush=True)
    results = [_judged(attribute, scheme, found, np.array(mixed)) for scheme, found in held.items()]
    return all(results)


def raw_coverage(store: Store) -> float:
    """Return the part of the classes whose raw share, with Wilson's interval, holds the truth."""
    counts = np.bincount(store.probabilities[store.attribute].argmax(axis=1), minlength=len(store.known))
    ends = np.array([wilson(int(count), STORE) for count in counts])
    return float(((ends[:, 0] <= store.known) & (store.known <= ends[:, 1])).mean())


def _judged(attribute: str, scheme: str, found: Held, mixed: FloatArray) -> bool:
    covered = np.array(found.covered)
    rare = covered[mixed < RARE]
    worst, narrower = covered.mean(axis=0).min(), float(np.mean(found.narrower))
    parts = {
        f"mean {covered.mean():.3f} (93 to 97 %)": MEAN[0] <= covered.mean() <= MEAN[1],
        f"worst class {worst:.3f} (92 %)": worst >= WORST,
        f"narrower {narrower:.1%} ({NARROWER[attribute]:.0%})": narrower >= NARROWER[attribute],
    }
    if len(rare):
        parts[f"classes below {RARE:.1%}: {rare.mean():.3f} (92 %)"] = rare.mean() >= WORST
    sheet = "one sheet for all" if scheme == ALL else f"a sheet by {scheme}"
    print(
        f"  {attribute}, {sheet}: " + ", ".join(f"{text} {'PASS' if good else 'FAIL'}" for text, good in parts.items())
    )
    return all(parts.values())


def main() -> None:
    """Print coverage and width for each attribute and make-up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path, nargs="?", help="evaluation.parquet of a pack")
    parser.add_argument("--labels", type=Path, help="instead of it: a label table")
    parser.add_argument("--truth", type=Path, help="and its truth file")
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if (options.evaluation is None) == (options.labels is None or options.truth is None):
        parser.error("give an evaluation, or --labels and --truth")
    images = images_of(options)
    print(f"{images.basis}: n = {options.n}, {options.repetitions} repetitions, seed {options.seed}")
    print("                       rarest   raw  labels | one sheet for all     | a sheet by attribute  | bound")
    print(
        "          make-up       share covers   alone |  mean  worst narrower |  mean  worst narrower | simple   best"
    )
    results = [report(images, name, options) for name in ATTRIBUTES if name in images.true]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
