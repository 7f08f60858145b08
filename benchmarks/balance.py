"""How often the intervals of balance and of association hold the truth: stores drawn from real predictions.

The stores are those of ``benchmarks/coverage.py``: 20,000 images, as evaluated, even, and two in which some classes are
rare. From each, n images are checked again and again by one sheet for all attributes, and the verified statistics with
their intervals are compared with those of the whole store's true classes. Cramér's V is that of the attribute and the
next one. Beside it stands how often percentiles of the bootstrap alone would hold.

Example: python -m benchmarks.balance models/fairface/evaluation.parquet --repetitions 200
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from audit import agreement
from audit.adjusted import read_evaluation
from audit.association import cramers_v_of
from audit.balance import STATISTICS, of_shares
from audit.estimate import Estimate, percentile_interval
from audit.graded import VerifiedShares, among_classes
from audit.sampling import ALL, allocate
from audit.verified import Design, difference_estimator
from benchmarks.coverage import MAKE_UPS, Store, draw_store, mixes, strata_of
from labeler.taxonomy import ATTRIBUTES

FloatArray = npt.NDArray[np.float64]


def checked(store: Store, names: tuple[str, ...], chosen: npt.NDArray[np.int64], design: Design) -> VerifiedShares:
    """Return the verified shares of an attribute, or of the cells of two, from the images chosen."""
    shape = tuple(store.probabilities[name].shape[1] for name in names)
    f = store.probabilities[names[0]]
    for name in names[1:]:
        f = (f[:, :, None] * store.probabilities[name][:, None, :]).reshape(len(f), -1)
    answers = np.eye(f.shape[1])[cells(store, names)[chosen]]
    mean = f.mean(axis=0)
    estimates = difference_estimator(design, answers, f[chosen], mean)
    return VerifiedShares(shape, (), estimates, design, answers, f[chosen], mean)


def cells(store: Store, names: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return the true cell of each image."""
    found = np.zeros(len(store.true), np.int64)
    for name in names:
        found = found * store.probabilities[name].shape[1] + store.all_true[name]
    return found


def holds(estimate: Estimate, true: float) -> bool:
    """Return whether an interval holds the truth; it has no upper end where that is infinite."""
    assert estimate.low is not None
    return estimate.low - 1e-9 <= true and (estimate.high is None or true <= estimate.high + 1e-9)


def covered(store: Store, other: str, n: int, repetitions: int, rng: np.random.Generator) -> dict[str, list[float]]:
    """Return for each statistic how often its interval held the truth, and how often percentiles alone did."""
    stratum, sizes, spread = strata_of(store, ALL)
    members = [np.flatnonzero(stratum == h) for h in range(len(sizes))]
    quota = allocate(sizes, spread, n).tolist()
    even, pair = np.full(len(store.known), 1 / len(store.known)), (store.attribute, other)
    size = tuple(store.probabilities[name].shape[1] for name in pair)
    joint = np.bincount(cells(store, pair), minlength=size[0] * size[1]).reshape(size) / len(store.true)
    true_v = float(cramers_v_of(joint))
    held: dict[str, list[tuple[bool, bool]]] = {name: [] for name in (*STATISTICS, "cramers_v")}
    for r in range(repetitions):
        chosen = np.concatenate([rng.choice(m, q, replace=False) for m, q in zip(members, quota, strict=True)])
        design = Design(stratum[chosen], sizes)
        found = checked(store, (store.attribute,), chosen, design)
        shares, draws = found.shares(), found.resampled(400, r)
        ends = np.array([(e.low, e.high) for e in found.estimates], np.float64)
        for name, statistic in STATISTICS.items():
            estimate, true = of_shares(name, shares, draws, ends, even, n), float(statistic(store.known, even))
            if estimate.value is not None:
                low, high = percentile_interval(estimate.value, statistic(draws, even))
                plain = Estimate(estimate.value, low, high, n)
                held[name].append((holds(estimate, true), holds(plain, true)))
        both = checked(store, pair, chosen, design)
        values = cramers_v_of(both.resampled(400, r))
        low, high = percentile_interval(float(cramers_v_of(both.shares())), values)
        held["cramers_v"].append((holds(both.association(), true_v), holds(Estimate(0.0, low, high, n), true_v)))
    return {name: np.mean(pairs, axis=0).tolist() for name, pairs in held.items() if pairs}


@click.command()
@click.argument("evaluation", type=click.Path(path_type=Path))
@click.option("--repetitions", default=200, show_default=True)
@click.option("--n", default=300, show_default=True, help="Images checked.")
@click.option("--seed", default=0, show_default=True)
def main(evaluation: Path, repetitions: int, n: int, seed: int) -> None:
    """Print for each attribute and make-up how often intervals held, and in brackets how often percentiles did."""
    images = agreement.of_evaluation(read_evaluation(evaluation))
    click.echo(f"{images.basis}: n = {n}, {repetitions} repetitions, seed {seed}")
    click.echo(f"{'':23}" + "".join(f"{name:>20}" for name in (*STATISTICS, "cramers_v")))
    totals: dict[str, list[list[float]]] = {}
    for place, attribute in enumerate(ATTRIBUTES):
        rng = np.random.default_rng([seed, place])
        other = ATTRIBUTES[(place + 1) % len(ATTRIBUTES)]
        shares = among_classes(np.bincount(images.true[attribute]).astype(np.float64)[None])[0]
        for title, mix in zip(MAKE_UPS, mixes(shares, rng), strict=True):
            found = covered(draw_store(images, attribute, mix, rng), other, n, repetitions, rng)
            line = "".join(f"{found[name][0]:13.3f} ({found[name][1]:.2f})" for name in (*STATISTICS, "cramers_v"))
            click.echo(f"{attribute:9} {title:13}{line}")
            for name, pair in found.items():
                totals.setdefault(name, []).append(pair)
    click.echo(
        "mean                   "
        + "".join(
            f"{np.mean(totals[name], axis=0)[0]:13.3f} ({np.mean(totals[name], axis=0)[1]:.2f})" for name in totals
        )
    )


if __name__ == "__main__":
    main()
