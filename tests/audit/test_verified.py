"""Verified shares cover the truth, close when everything is checked, and never say more than the sample does."""

from __future__ import annotations

import numpy as np
import pytest

from audit.estimate import FloatArray, IntArray
from audit.sampling import allocate
from audit.verified import LABELS_ONLY, Design, difference_estimator, labels_alone, replicates


def store(n: int, mix: list[float], rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
    truth = rng.choice(len(mix), n, p=mix)
    odds = np.exp(rng.normal(size=(n, len(mix))) + 2.0 * np.eye(len(mix))[truth])
    return truth, odds / odds.sum(axis=1, keepdims=True)


def test_intervals_cover_the_truth_and_are_narrower_than_those_of_the_labels_alone() -> None:
    rng = np.random.default_rng(3)
    truth, f = store(5000, [0.6, 0.3, 0.08, 0.02], rng)
    stratum = f.argmax(axis=1).astype(np.int64)
    sizes = np.bincount(stratum, minlength=4).astype(np.int64)
    quota = allocate(sizes, np.full(4, 0.4), 300)
    known = np.bincount(truth, minlength=4) / 5000
    held, wide, alone = np.zeros(4), 0.0, 0.0
    for _ in range(150):
        chosen = np.concatenate([rng.choice(np.flatnonzero(stratum == h), quota[h], replace=False) for h in range(4)])
        design, answers = Design(stratum[chosen], sizes), np.eye(4)[truth[chosen]]
        ends = np.array(
            [(e.low, e.high) for e in difference_estimator(design, answers, f[chosen], f.mean(axis=0))], dtype=float
        )
        held += (ends[:, 0] <= known) & (known <= ends[:, 1])
        wide += float((ends[:, 1] - ends[:, 0]).sum())
        alone += sum((e.high or 0) - (e.low or 0) for e in labels_alone(design, answers))
    assert (held / 150).min() > 0.88
    assert (held / 150).mean() > 0.92
    assert wide < alone


def test_when_every_image_is_checked_the_interval_closes_on_the_truth() -> None:
    truth, f = store(60, [0.5, 0.5], np.random.default_rng(0))
    design = Design(np.zeros(60, dtype=np.int64), np.array([60]))
    for k, estimate in enumerate(difference_estimator(design, np.eye(2)[truth], f, f.mean(axis=0))):
        assert estimate.value == pytest.approx((truth == k).mean())
        assert (estimate.low, estimate.high) == (estimate.value, estimate.value)


def test_a_class_with_few_checked_images_rests_on_the_labels_and_says_so() -> None:
    design = Design(np.zeros(100, dtype=np.int64), np.array([10_000]))
    answers = np.eye(2)[np.r_[np.ones(3, dtype=int), np.zeros(97, dtype=int)]]
    rare = difference_estimator(design, answers, np.full((100, 2), 0.5), np.array([0.5, 0.5]))[1]
    assert rare.value == pytest.approx(0.03)
    assert rare.reason == LABELS_ONLY
    assert rare.low is not None
    assert rare.high is not None
    assert 0 < rare.low < 0.03 < rare.high < 0.12


def test_a_stratum_without_enough_answers_is_found() -> None:
    design = Design(np.array([0, 0, 1]), np.array([5, 5, 0, 1]))
    assert design.unanswered().tolist() == [1, 3]


def test_replicates_have_the_variance_of_the_design_and_lie_on_the_simplex() -> None:
    rng = np.random.default_rng(5)
    truth, f = store(400, [0.5, 0.3, 0.2], rng)
    design = Design(np.repeat([0, 1], 200), np.array([3000, 1000]))
    answers = np.eye(3)[truth]
    drawn = replicates(design, answers, f, f.mean(axis=0), 4000, 0)
    assert drawn.sum(axis=1) == pytest.approx(np.ones(4000))
    assert drawn.var(axis=0) == pytest.approx(design.variance(answers - f), rel=0.1)
