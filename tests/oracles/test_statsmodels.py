"""statsmodels gives the same Wilson and Clopper–Pearson intervals and the same adjusted p-values."""

from __future__ import annotations

import numpy as np
import pytest

from audit.estimate import clopper_pearson, wilson
from audit.significance import benjamini_hochberg, holm, two_shares

proportion = pytest.importorskip("statsmodels.stats.proportion", reason="statsmodels is not installed")
multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (1, 20), (10, 20), (20, 20), (3, 1000)])
def test_intervals_of_a_share(hits: int, n: int) -> None:
    assert wilson(hits, n) == pytest.approx(proportion.proportion_confint(hits, n, 0.05, "wilson"), abs=1e-9)
    assert clopper_pearson(hits, n) == pytest.approx(proportion.proportion_confint(hits, n, 0.05, "beta"), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_p_values(seed: int) -> None:
    p = np.random.default_rng(seed).random(9) ** 3
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1], abs=1e-9)
    assert benjamini_hochberg(p) == pytest.approx(multitest.multipletests(p, method="fdr_bh")[1], abs=1e-9)


def test_two_shares_by_the_pooled_score_test() -> None:
    theirs = proportion.proportions_ztest([30, 45], [100, 110])[1]
    assert two_shares(30, 100, 45, 110) == pytest.approx(theirs, abs=1e-9)
