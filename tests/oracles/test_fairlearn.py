"""fairlearn gives the same accuracy of groups, the same spread and the same equalised-odds difference."""

from __future__ import annotations

import numpy as np
import pytest

from audit.gaps import equalised_odds_of, spread_of
from audit.performance import confusion

fairlearn = pytest.importorskip("fairlearn.metrics", reason="fairlearn is not installed")


@pytest.mark.parametrize("seed", range(5))
def test_groups_and_gaps_of_two_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, group = rng.integers(0, 2, 400), rng.integers(0, 3, 400)
    predicted = np.where(rng.random(400) < 0.6 + 0.1 * group, truth, 1 - truth)
    tensor = np.array([confusion(truth[group == g], predicted[group == g], 2) for g in range(3)]).astype(float)
    accuracy = np.array([np.trace(matrix) / matrix.sum() for matrix in tensor])

    def right(y_true: np.typing.NDArray[np.int64], y_pred: np.typing.NDArray[np.int64]) -> float:
        return float((y_true == y_pred).mean())

    frame = fairlearn.MetricFrame(metrics=right, y_true=truth, y_pred=predicted, sensitive_features=group)
    assert accuracy == pytest.approx(frame.by_group.to_numpy().astype(float), abs=1e-9)
    assert float(spread_of(accuracy)) == pytest.approx(frame.difference(), abs=1e-9)
    theirs = fairlearn.equalized_odds_difference(truth, predicted, sensitive_features=group)
    assert float(equalised_odds_of(tensor)) == pytest.approx(theirs, abs=1e-9)
