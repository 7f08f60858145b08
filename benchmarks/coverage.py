"""How often the intervals of the shares hold the truth: stores of other make-up, drawn from real predictions.

Example: python benchmarks/coverage.py models/fairface/evaluation.parquet --repetitions 400
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from audit.estimate import Estimate, wilson
from audit.population import matrix
from audit.sampling import LEAST, TERCILES, allocate, terciles
from audit.verified import Design, difference_estimator, labels_alone
from labeler.taxonomy import ATTRIBUTES, COLUMNS

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

STORE = 20_000
"""Images of a simulated store."""


@dataclass
class Tally:
    """What the repetitions of one attribute add up to, class by class."""

    verified: FloatArray
    alone: FloatArray
    raw: FloatArray
    width: FloatArray
    width_alone: FloatArray
    repetitions: int = 0


def mixes(shares: FloatArray, rng: np.random.Generator) -> list[FloatArray]:
    """Return the make-up of the stores: as evaluated, even, and two in which some classes are rare (1 to 2 %)."""
    k = len(shares)
    found = [shares, np.full(k, 1 / k)]
    for _ in range(2):
        rare = rng.dirichlet(np.full(k, 1.5))
        found.append(np.maximum(rare, rng.uniform(0.01, 0.02, k)))
    return [mix / mix.sum() for mix in found]


def simulate(
    truth: IntArray, probabilities: FloatArray, mix: FloatArray, n: int, repetitions: int, rng: np.random.Generator
) -> Tally:
    """Draw one store with a make-up, check n of its images again and again, and count what the intervals hold."""
    k = len(mix)
    true = rng.choice(k, STORE, p=mix)
    rows = np.empty(STORE, dtype=np.int64)
    for label in range(k):
        here = true == label
        rows[here] = rng.choice(np.flatnonzero(truth == label), here.sum())
    f, known = probabilities[rows], np.bincount(true, minlength=k) / STORE
    predicted = f.argmax(axis=1)
    used, stratum = np.unique(
        predicted * TERCILES + terciles(predicted, f.max(axis=1).astype(np.float32), k), return_inverse=True
    )
    sizes = np.bincount(stratum, minlength=len(used)).astype(np.int64)
    spread = np.sqrt(np.bincount(stratum, (f * (1 - f)).sum(axis=1)) / sizes)
    members = [np.flatnonzero(stratum == h) for h in range(len(used))]
    quota = allocate(sizes, spread, n, least=LEAST).tolist()
    tally = Tally(np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k))
    counted = np.bincount(predicted, minlength=k)
    raw = np.array([wilson(int(c), STORE) for c in counted])
    tally.raw = ((raw[:, 0] <= known) & (known <= raw[:, 1])) * np.float64(repetitions)
    for _ in range(repetitions):
        chosen = np.concatenate([rng.choice(m, q, replace=False) for m, q in zip(members, quota, strict=True)])
        answers = np.eye(k)[true[chosen]]
        design = Design(stratum[chosen].astype(np.int64), sizes)
        ends = _ends(difference_estimator(design, answers, f[chosen], f.mean(axis=0)))
        simple = rng.choice(STORE, n, replace=False)
        single = Design(np.zeros(n, dtype=np.int64), np.array([STORE]))
        alone = _ends(labels_alone(single, np.eye(k)[true[simple]]))
        tally.verified += (ends[:, 0] <= known) & (known <= ends[:, 1])
        tally.alone += (alone[:, 0] <= known) & (known <= alone[:, 1])
        tally.width += ends[:, 1] - ends[:, 0]
        tally.width_alone += alone[:, 1] - alone[:, 0]
    tally.repetitions = repetitions
    return tally


def _ends(estimates: list[Estimate]) -> FloatArray:
    return np.array([(estimate.low, estimate.high) for estimate in estimates], dtype=np.float64)


def main() -> None:
    """Print coverage and width for each attribute and make-up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evaluation", type=Path, help="evaluation.parquet of a pack")
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = pq.read_table(options.evaluation)
    classes = json.loads(table.schema.metadata[b"efrs.evaluation"])["classes"]
    print("attribute  make-up   covered: mean worst  labels alone  raw   narrower  smallest share")
    for name in ATTRIBUTES:
        labels = table.column(f"true_{COLUMNS[name]}").to_pylist()
        keep = np.array([label is not None for label in labels])
        truth = np.array([classes[name].index(label) for label in labels if label is not None])
        column = table.column(f"{name}_probabilities").combine_chunks()
        f = matrix(column, len(classes[name])).astype(np.float64)[keep]
        rng = np.random.default_rng(options.seed)
        shares = np.bincount(truth, minlength=len(classes[name])) / len(truth)
        for title, mix in zip(("evaluated", "even", "rare A", "rare B"), mixes(shares, rng), strict=True):
            t = simulate(truth, f, mix, options.n, options.repetitions, rng)
            held = t.verified / t.repetitions
            print(
                f"{name:10} {title:10} {held.mean():12.3f} {held.min():5.3f} {(t.alone / t.repetitions).mean():13.3f} "
                f"{(t.raw / t.repetitions).mean():5.2f} {1 - (t.width / t.width_alone).mean():8.0%} {mix.min():10.3f}"
            )


if __name__ == "__main__":
    main()
