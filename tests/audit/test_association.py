"""Association of two attributes: what chance adds is taken off, and intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from audit.association import cramers_v, cramers_v_of, effective_images
from audit.estimate import FloatArray
from audit.verified import Design

INDEPENDENT = np.outer([0.5, 0.3, 0.2], [0.25, 0.25, 0.2, 0.2, 0.1])
LOOSE = 0.9 * INDEPENDENT + 0.1 * np.eye(3, 5) / 3
TIGHT = 0.5 * INDEPENDENT + 0.5 * np.eye(3, 5) / 3


@pytest.mark.parametrize("joint", [INDEPENDENT, LOOSE, TIGHT])
@pytest.mark.parametrize("n", [100, 3000])
def test_intervals_of_stores_drawn_at_random_hold_the_association(joint: FloatArray, n: int) -> None:
    rng, true = np.random.default_rng(3), float(cramers_v_of(joint))
    found = [cramers_v(rng.multinomial(n, joint.ravel()).reshape(joint.shape) / n, n, n) for _ in range(300)]
    held = np.mean([f.low is not None and f.high is not None and f.low <= true <= f.high for f in found])
    assert held > 0.9
    plain = [float(cramers_v_of(rng.multinomial(n, joint.ravel()).reshape(joint.shape) / n)) for _ in range(300)]
    corrected = [f.value or 0.0 for f in found]
    assert abs(float(np.mean(corrected)) - true) <= abs(float(np.mean(plain)) - true) + 0.002


def test_independent_attributes_have_about_no_association_in_a_small_sample() -> None:
    rng = np.random.default_rng(4)
    draws = [rng.multinomial(60, INDEPENDENT.ravel()).reshape(3, 5) / 60 for _ in range(200)]
    assert np.median([float(cramers_v_of(draw)) for draw in draws]) > 0.2
    assert np.median([cramers_v(draw, 60, 60).value or 0.0 for draw in draws]) < 0.05


def test_an_interval_has_a_width_where_less_than_chance_was_seen() -> None:
    found = cramers_v(np.full((2, 2), 0.25), 100, 100)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high is not None
    assert found.high > 0.1


def test_fully_bound_attributes_stay_within_one() -> None:
    found = cramers_v(np.eye(3) / 3, 30, 30)
    assert found.value is not None
    assert found.low is not None
    assert 0.5 < found.low < found.value < 1
    assert found.high == 1.0


def test_a_simple_random_sample_of_labels_counts_as_its_own_size() -> None:
    rng = np.random.default_rng(5)
    cells = rng.choice(15, 500, p=INDEPENDENT.ravel())
    answers = np.eye(15)[cells]
    design = Design(np.zeros(500, np.int64), np.array([10**9]))
    n_eff = effective_images(answers.mean(axis=0).reshape(3, 5), design.variance, answers.reshape(-1, 3, 5))
    assert n_eff == pytest.approx(500, rel=0.1)


def test_predictions_that_know_the_labels_stand_for_more_images_and_a_whole_store_for_all() -> None:
    rng = np.random.default_rng(6)
    cells = rng.choice(15, 400, p=INDEPENDENT.ravel())
    answers, wrong = np.eye(15)[cells], np.eye(15)[rng.permutation(cells)]
    joint, design = answers.mean(axis=0).reshape(3, 5), Design(np.zeros(400, np.int64), np.array([10**9]))
    errors = answers - (0.9 * answers + 0.1 * wrong)
    alone, helped = (effective_images(joint, design.variance, values.reshape(-1, 3, 5)) for values in (answers, errors))
    assert helped > 10 * alone
    whole = Design(np.zeros(400, np.int64), np.array([400]))
    assert effective_images(joint, whole.variance, answers.reshape(-1, 3, 5)) == np.inf
    closed = cramers_v(joint, np.inf, 400)
    assert closed.value == closed.low == closed.high == pytest.approx(float(cramers_v_of(joint)))


@pytest.mark.parametrize("joint", [INDEPENDENT, LOOSE])
def test_verified_association_of_a_stratified_sample_holds_the_stores(joint: FloatArray) -> None:
    rng = np.random.default_rng(7)
    true = rng.choice(15, 4000, p=joint.ravel())
    guess = np.where(rng.random(4000) < 0.7, true, rng.choice(15, 4000))
    f = np.full((4000, 15), 0.3 / 15)
    f[np.arange(4000), guess] += 0.7
    known = float(cramers_v_of(np.bincount(true, minlength=15).reshape(3, 5) / 4000))
    stratum = guess // 5
    sizes, held = np.bincount(stratum), []
    for _ in range(200):
        chosen = np.concatenate([rng.choice(np.flatnonzero(stratum == h), 70, replace=False) for h in range(3)])
        design, errors = Design(stratum[chosen], sizes), np.eye(15)[true[chosen]] - f[chosen]
        shares = np.clip(f.mean(axis=0) + design.mean(errors), 0, None)
        table = (shares / shares.sum()).reshape(3, 5)
        found = cramers_v(table, effective_images(table, design.variance, errors.reshape(-1, 3, 5)), len(chosen))
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= known <= found.high)
    assert np.mean(held) > 0.9
