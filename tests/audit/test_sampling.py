"""Strata serve every attribute or one, and a small sample gets strata that it can fill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audit import adjusted, population, sheet
from audit.report import render
from audit.result import Options, audit_files
from audit.sampling import allocate, scheme_for, stratify, thirds
from audit.verified import Design
from labeler.pack import read_manifest
from tests.audit.tables import Made
from tests.packs import write_pack


@pytest.mark.parametrize(("n", "scheme"), [(400, "all"), (60, "all coarse")])
def test_a_sample_too_small_for_fine_strata_gets_coarse_ones(n: int, scheme: str, made: Made, tmp_path: Path) -> None:
    rows = population.read(made.labels)
    assert scheme_for(rows, "all", n) == scheme
    text = sheet.draw(made.labels, n).text
    (tmp_path / "s.csv").write_text(text)
    drawn = pd.read_csv(tmp_path / "s.csv")
    assert set(drawn["stratum"].str.rpartition("-")[0]) == {scheme}
    assert drawn.groupby("stratum").size().min() >= min(2, 600)
    grown = sheet.draw(made.labels, 300, grow=tmp_path / "s.csv")
    assert f"{scheme}-" in grown.text
    drawn.assign(gender="male").to_csv(tmp_path / "s.csv", index=False)
    checked = sheet.read([tmp_path / "s.csv"], made.labels, rows)
    assert checked.by == scheme


@pytest.mark.parametrize("scheme", ["all", "all coarse", "gender", "age coarse"])
def test_strata_hold_one_predicted_class_and_thirds_of_equal_size(scheme: str, made: Made) -> None:
    rows = population.read(made.labels)
    strata = stratify(rows, scheme, 0)
    assert strata.sizes.sum() == len(strata.rows) == 600
    by = ("gender", "ethnicity") if scheme.startswith("all") else (scheme.split(maxsplit=1)[0],)
    for name in by:
        codes = rows.codes[name][strata.rows]
        assert all(len(set(codes[strata.stratum == h])) == 1 for h in range(len(strata.sizes)))
    if scheme == "gender":
        assert strata.sizes.max() - strata.sizes.min() < 600 / 3
        assert len(strata.sizes) == 6


def test_thirds_are_by_value_and_a_small_class_is_not_divided() -> None:
    codes = np.r_[np.zeros(30, np.int64), np.ones(5, np.int64)]
    values = np.r_[np.arange(30.0)[::-1], np.arange(5.0)]
    found = thirds(codes, values, 2)
    assert np.bincount(found[:30]).tolist() == [10, 10, 10]
    assert found[0] == 2
    assert found[30:].tolist() == [0] * 5


def test_the_least_in_a_stratum_takes_at_most_half_of_the_sample() -> None:
    sizes = np.full(40, 1000)
    assert allocate(sizes, np.full(40, 0.1), 240).min() >= 3
    uneven = np.r_[10.0, np.full(39, 1e-6)]
    assert allocate(sizes, uneven, 240).min() == 3
    assert allocate(sizes, uneven, 100).min() == 2


def test_degrees_of_freedom_are_those_of_welch() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=8), rng.normal(0, 3, size=12)
    design = Design(np.repeat([0, 1], [8, 12]), np.array([10**7, 10**7]))
    a, b = one.var(ddof=1) / 8, two.var(ddof=1) / 12
    welch = (a + b) ** 2 / (a**2 / 7 + b**2 / 11)
    assert design.degrees_of_freedom(np.r_[one, two][:, None])[0] == pytest.approx(welch, rel=1e-4)
    assert np.isinf(design.degrees_of_freedom(np.zeros((20, 1)))[0])


def test_a_pack_with_its_evaluation_in_aggregate_says_why_a_grade_is_missing(made: Made, tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "pack")
    digest = read_manifest(folder).digest
    assert adjusted.find_evaluation("tiny", digest, folder)[1].endswith("write one with train-labelers evaluate")
    (folder / adjusted.SUMMARY).write_text("{}")
    found, reason = adjusted.find_evaluation("tiny", digest, folder)
    assert found is None
    assert "in aggregate only" in reason
    document = audit_files(made.labels, options=Options(replicates=20))
    assert document["store"]["no_model_shares"] == ["the pack test pack is not at hand; give its folder with --models"]
    assert "Model-based shares are missing: the pack test pack is not at hand" in render(document)
