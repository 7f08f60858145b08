"""audit.json: its schema, its bytes, and that each count in it is the table's."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from audit.population import class_codes
from audit.records import Document
from audit.result import Options, audit_files, to_json, write_text
from labeler.errors import TableError
from tests.audit.tables import HOSTILE, Made, make

SCHEMA = json.loads(resources.files("audit").joinpath("schema/audit-1.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def document(made: Made) -> Document:
    return audit_files(made.labels, made.truth)


@pytest.mark.parametrize(
    ("n", "failures", "with_truth"),
    [(600, HOSTILE, True), (600, HOSTILE, False), (12, (), True), (1, (), True), (0, HOSTILE, False), (0, (), False)],
)
def test_every_document_meets_the_published_schema(
    n: int, failures: tuple[str, ...], with_truth: bool, tmp_path: Path
) -> None:
    made = make(tmp_path, n=n, failures=failures)
    document = audit_files(made.labels, made.truth if with_truth else None)
    jsonschema.validate(document, SCHEMA)
    assert json.loads(to_json(document)) == document


def test_the_schema_refuses_a_value_without_standing_and_a_field_it_does_not_know(document: Document) -> None:
    broken = json.loads(to_json(document))
    broken["shares"][0]["status"] = "undefined"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "more": 1}, SCHEMA)


def test_the_same_input_gives_the_same_bytes_and_another_seed_other_intervals_only(made: Made) -> None:
    first, again = (to_json(audit_files(made.labels, made.truth)) for _ in range(2))
    assert first == again
    other = audit_files(made.labels, made.truth, Options(seed=1))
    values = [[record["value"] for record in doc["balance"]] for doc in (json.loads(first), other)]
    assert values[0] == values[1]
    assert to_json(other) != first


def test_shares_count_the_labelled_images_and_only_those(made: Made, document: Document) -> None:
    predicted = made.probabilities["ethnicity"].argmax(axis=1)
    counts = np.bincount(predicted, minlength=7)
    frame = pd.DataFrame(document["shares"]).query("attribute == 'ethnicity' and grade == 'raw'")
    assert frame["class"].tolist() == list(made.classes["ethnicity"])
    assert frame["count"].tolist() == counts.tolist()
    assert set(frame["n"]) == {600}
    assert document["store"]["files"] == 600 + len(HOSTILE)
    assert document["store"]["not_labelled"] == len(HOSTILE)
    assert [example["path"] for example in document["store"]["examples"]] == sorted(HOSTILE)


def test_groups_are_formed_by_true_labels(made: Made, document: Document) -> None:
    right = made.probabilities["gender"].argmax(axis=1) == made.true["gender"]
    for code, label in enumerate(made.classes["ethnicity"]):
        members = made.true["ethnicity"] == code
        record = one(document, "gender", "accuracy", {"ethnicity": label})
        assert record["n"] == members.sum()
        assert record["value"] == pytest.approx(right[members].mean())
        assert record["basis"] == "truth.csv"


def test_every_declared_group_is_there_whatever_its_standing(tmp_path: Path) -> None:
    mix = [0.5, 0.48, 0.02, 0.0, 0.0, 0.0, 0.0]
    made = make(tmp_path, n=200, mixes={"ethnicity": mix})
    document = audit_files(made.labels, made.truth)
    standing = {
        label: one(document, "gender", "accuracy", {"ethnicity": label})["status"]
        for label in made.classes["ethnicity"]
    }
    # One of the large groups is withheld too: the total less the other would give the small one away.
    assert {standing["White"], standing["Black"]} == {"ok", "suppressed"}
    assert standing["Latino_Hispanic"] == "suppressed"
    assert standing["Middle Eastern"] == "absent"


def test_truth_of_some_images_is_enough(made: Made, tmp_path: Path) -> None:
    part = tmp_path / "part.csv"
    pd.read_csv(made.truth).sample(50, random_state=3)[["path", "gender"]].to_csv(part, index=False)
    document = audit_files(made.labels, part)
    assert document["store"]["truth"]["images"] == 50
    assert {record["attribute"] for record in document["performance"]} == {"gender"}
    assert one(document, "gender", "accuracy", {})["n"] == 50


def test_images_without_a_label_are_counted_beside_the_metrics(made: Made, tmp_path: Path) -> None:
    part = tmp_path / "part.csv"
    pd.DataFrame({"path": ["part 0/000000.jpg", HOSTILE[2]], "gender": ["male", "male"]}).to_csv(part, index=False)
    document = audit_files(made.labels, part, Options(min_cell=1))
    assert document["store"]["truth"] | {"images": 2, "labelled": 1} == document["store"]["truth"]
    assert one(document, "gender", "accuracy", {})["n"] == 1


def test_the_errors_of_age_are_in_years(made: Made, document: Document) -> None:
    predicted = pd.read_parquet(made.labels, columns=["path", "age"]).dropna().sort_values("path")["age"]
    order = np.argsort([f"part {i % 7}/{i:06d}.jpg" for i in range(600)])
    errors = predicted.to_numpy(dtype=float) - made.years[order]
    assert one(document, "age", "bias", {})["value"] == pytest.approx(errors.mean())
    assert one(document, "age", "mae", {})["value"] == pytest.approx(np.abs(errors).mean())
    assert one(document, "age", "rmse", {})["value"] == pytest.approx(np.sqrt((errors**2).mean()))


def test_raw_shares_carry_no_verdict(document: Document) -> None:
    assert document["verdict"]["result"] == "none"
    assert "raw" in document["verdict"]["reasons"][-1]


def test_no_machine_path_is_in_the_document(made: Made, document: Document) -> None:
    assert str(made.labels.parent) not in to_json(document)
    assert document["provenance"]["labels"]["file"] == "labels.parquet"


def test_a_class_that_the_table_does_not_declare_is_refused() -> None:
    column = pa.array(["a", "z"]).dictionary_encode()
    with pytest.raises(TableError, match=r"labels\.parquet: holds the class 'z'"):
        class_codes(column, ("a", "b"), "labels.parquet")


def test_a_dictionary_may_have_any_order() -> None:
    for values in (["a", "b"], ["b", None, "a"]):
        codes = class_codes(pa.array(values).dictionary_encode(), ("a", "b"), "labels.parquet")
        assert codes.tolist() == [-1 if value is None else "ab".index(value) for value in values]


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "audit.json"
    target.write_text("old")
    write_text(target, "new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def one(document: Document, attribute: str, metric: str, group: dict[str, str]) -> Document:
    found = [
        record
        for record in document["performance"]
        if (record["attribute"], record["metric"], record["group"]) == (attribute, metric, group)
        and record["class"] is None
    ]
    assert len(found) == 1
    record: Document = found[0]
    return record
