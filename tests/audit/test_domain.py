"""A store that looks unlike the evaluation is said to be, by which measure, and what is not known is not guessed."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit import adjusted, report, result
from audit import population as populations
from audit.domain import class_weights, shift
from audit.records import Document
from audit.targets import read as read_target
from tests.audit.evaluations import write_evaluation
from tests.audit.tables import Made, make
from tests.audit.test_result import SCHEMA


@given(st.integers(0, 1000))
def test_the_distance_is_that_of_kolmogorov_and_smirnov(seed: int) -> None:
    rng = np.random.default_rng(seed)
    store, evaluation = rng.normal(size=40).round(1), rng.normal(0.3, 1, size=70).round(1)
    found = shift(store, evaluation, np.ones(70))
    assert found is not None
    assert found.distance == pytest.approx(stats.ks_2samp(store, evaluation).statistic, abs=1e-9)


def test_an_image_that_stands_for_three_counts_like_three_images() -> None:
    store, values = np.array([0.1, 0.4, 0.9]), np.array([0.2, 0.5])
    weighted = shift(store, values, np.array([3.0, 1.0]))
    repeated = shift(store, np.array([0.2, 0.2, 0.2, 0.5]), np.ones(4))
    assert weighted is not None
    assert repeated is not None
    assert (weighted.distance, weighted.evaluation) == pytest.approx((repeated.distance, repeated.evaluation))


def test_a_side_that_knows_nothing_is_not_compared() -> None:
    assert shift(np.array([np.nan]), np.array([1.0]), np.ones(1)) is None
    assert shift(np.array([1.0]), np.array([np.nan]), np.ones(1)) is None
    assert shift(np.empty(0), np.array([1.0]), np.ones(1)) is None


def test_an_evaluation_without_the_stores_classes_is_taken_as_it_is() -> None:
    weights = class_weights({"gender": np.array([0, 0])}, {"gender": np.array([0.0, 1.0])}, 2)
    assert weights.tolist() == [1.0, 1.0]


def audited(made: Made, folder: Path, looks: bool, columns: dict[str, np.typing.NDArray[np.float32]]) -> Document:
    """Audit a table with further or other columns against an evaluation, which no pack has to hold."""
    table = pq.read_table(made.labels)
    for name, values in columns.items():
        field = pa.field(name, pa.float32())
        at = table.schema.get_field_index(name)
        table = (
            table.append_column(field, pa.array(values)) if at < 0 else table.set_column(at, field, pa.array(values))
        )
    labels = folder / "labels.parquet"
    pq.write_table(table, labels)
    evaluation = adjusted.read_evaluation(write_evaluation(folder / "evaluation.parquet", looks=looks))
    population = populations.read(labels)
    target = read_target("uniform", population.classes)
    evidence = result.Evidence(evaluation=evaluation)
    document = result._Audit(population, labels, evidence, target, result.Options(replicates=50)).document({})
    jsonschema.validate(document, SCHEMA)
    return document


def looks_of(n: int, factor: float) -> dict[str, np.typing.NDArray[np.float32]]:
    rng = np.random.default_rng(8)
    side = (48 * rng.uniform(0.4, 2.0, n) * factor).astype(np.float32)
    return {
        "sharpness": (rng.gamma(9.0, 0.07, n) * factor).astype(np.float32),
        "contrast": rng.gamma(9.0, 0.02, n).astype(np.float32),
        "face_width": side,
        "face_height": side,
    }


def test_a_store_of_small_blurred_faces_is_said_to_be_unlike(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    made = make(tmp_path / "made", n=400)
    found = audited(made, tmp_path, True, looks_of(400, 0.5))
    warned = {record["measure"]: record["warning"] for record in found["looks"]}
    assert warned == {"sharpness": True, "contrast": False, "face_size": True}
    page = report.render(found)
    assert "sharpness of the faces" in page
    assert "does not look like the evaluation data" in page


def test_a_store_like_the_evaluation_is_not_warned_of(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    made = make(tmp_path / "made", n=400)
    found = audited(made, tmp_path, True, looks_of(400, 1.0))
    assert [record["measure"] for record in found["looks"]] == ["sharpness", "contrast", "face_size"]
    assert not any(record["warning"] for record in found["looks"])


@pytest.mark.parametrize("looks", [True, False])
def test_what_a_side_does_not_know_is_left_out_and_the_page_says_so(looks: bool, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    made = make(tmp_path / "made", n=400)
    columns = {} if looks else looks_of(400, 0.5)
    found = audited(made, tmp_path, looks, columns)
    assert found["looks"] == []
    assert found["domain"]
    assert "Not compared, since it is not known of both: sharpness of the faces" in report.render(found)


def test_the_rows_looked_at_are_the_same_whatever_the_batches(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(populations, "SUBSET", 100)
    whole = populations.read(made.labels)
    monkeypatch.setattr(populations, "BATCH", 64)
    parts = populations.read(made.labels)
    for name, values in whole.subset.items():
        assert len(values) == 100
        assert sorted(map(tuple, values)) == sorted(map(tuple, parts.subset[name]))
