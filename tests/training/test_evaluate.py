"""Evaluation files: truth beside probabilities, no names, classes that both sides have."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from labeler.errors import LabelerError, PackError
from labeler.looks import sharpness
from labeler.pack import Pack
from labeler.taxonomy import FAIRFACE, UTKFACE
from tests.packs import write_pack
from training.card import write_card
from training.evaluate import EVALUATION, evaluate, read_evaluation, to_five, write_evaluation
from training.metrics import measure

FAIRFACE_ROWS = pd.DataFrame(
    {
        "path": ["secret.jpg", "b.jpg", "c.jpg"],
        "age": [math.nan] * 3,
        "age_group": ["3-9", "20-29", "20-29"],
        "gender": ["male", "female", "female"],
        "ethnicity": ["White", "Latino_Hispanic", "East Asian"],
    }
)
UTKFACE_ROWS = FAIRFACE_ROWS.assign(
    age=[4.0, 25.0, 75.0], age_group=["0-9", "20-29", "70-79"], ethnicity=["White", "Others", "Asian"]
)
CROPS = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
ABOUT = {"data_set": "FairFace", "split": "val", "licence": "CC-BY-4.0", "taxonomy": "fairface", "no_face": 0}


def evaluated(folder: Path, rows: pd.DataFrame, pack: str, labels: str) -> Path:
    write_pack(folder, taxonomy=pack)
    write_evaluation(evaluate(Pack.load(folder), rows, CROPS, ABOUT | {"taxonomy": labels}), folder / EVALUATION)
    return folder / EVALUATION


def test_an_evaluation_holds_truth_and_probabilities_but_no_names(tmp_path: Path) -> None:
    path = evaluated(tmp_path, FAIRFACE_ROWS, "fairface", "fairface")
    table = pq.read_table(path)
    assert table.column_names == [
        "true_age_group",
        "true_gender",
        "true_ethnicity",
        "true_age",
        "age_probabilities",
        "gender_probabilities",
        "ethnicity_probabilities",
        "age",
        "sharpness",
        "contrast",
        "face_size",
    ]
    assert b"secret" not in path.read_bytes()
    assert table["true_age"].null_count == 3
    assert str(table.schema.field("ethnicity_probabilities").type) == "fixed_size_list<element: float>[7]"
    about = json.loads(table.schema.metadata[b"efrs.evaluation"])
    assert about["n"] == 3
    assert about["pack"]["name"] == "tiny"
    assert about["classes"]["ethnicity"] == list(FAIRFACE.classes["ethnicity"])


def test_rows_keep_their_own_truth_when_they_are_sorted(tmp_path: Path) -> None:
    frame, _ = read_evaluation(evaluated(tmp_path, FAIRFACE_ROWS, "fairface", "fairface"))
    predicted = Pack.load(tmp_path).predict(CROPS)
    male = frame[frame["true_gender"] == "male"].iloc[0]
    np.testing.assert_allclose(male["age_probabilities"], predicted.probabilities["age"][0], rtol=1e-6)
    assert male["true_age_group"] == "3-9"


def test_rows_keep_their_own_looks_when_they_are_sorted(tmp_path: Path) -> None:
    rows = FAIRFACE_ROWS.assign(face_size=[0.5, 1.5, math.nan])
    frame, about = read_evaluation(evaluated(tmp_path, rows, "fairface", "fairface"))
    male = frame[frame["true_gender"] == "male"].iloc[0]
    assert male["contrast"] == pytest.approx(CROPS[0].std() / 255)
    assert male["sharpness"] == pytest.approx(sharpness(CROPS[0]))
    assert male["face_size"] == 0.5
    assert frame["face_size"].isna().sum() == 1
    assert about["crop"] == [48, 48]


def test_where_the_size_of_the_faces_is_not_known_it_is_null(tmp_path: Path) -> None:
    table = pq.read_table(evaluated(tmp_path, FAIRFACE_ROWS, "fairface", "fairface"))
    assert table["face_size"].null_count == 3


def test_a_seven_class_pack_is_judged_in_five_classes_on_utkface(tmp_path: Path) -> None:
    frame, about = read_evaluation(evaluated(tmp_path, UTKFACE_ROWS, "fairface", "utkface"))
    assert about["classes"]["ethnicity"] == list(UTKFACE.classes["ethnicity"])
    assert set(frame["true_age_group"]) == {"3-9", "20-29", "more than 70"}
    np.testing.assert_allclose(np.stack(list(frame["ethnicity_probabilities"])).sum(axis=1), 1, rtol=1e-5)
    names = {metric.name for metric in measure(frame, about["classes"])}
    assert {"accuracy", "MAE (years)", "RMSE (years)", "bias (years)"} <= names


def test_a_five_class_pack_is_judged_on_fairface_without_age(tmp_path: Path) -> None:
    frame, about = read_evaluation(evaluated(tmp_path, FAIRFACE_ROWS, "utkface", "fairface"))
    assert frame["true_age_group"].isna().all()
    assert set(frame["true_ethnicity"]) == {"White", "Others", "Asian"}
    assert {metric.attribute for metric in measure(frame, about["classes"])} == {"gender", "ethnicity"}


def test_seven_classes_add_up_to_five() -> None:
    probabilities = np.array([[0.1, 0.2, 0.3, 0.05, 0.05, 0.1, 0.2]], np.float32)
    assert to_five(probabilities, FAIRFACE.classes["ethnicity"])[0].tolist() == pytest.approx([0.1, 0.2, 0.1, 0.1, 0.5])


def test_a_card_tells_purpose_data_results_and_few_pictures(tmp_path: Path) -> None:
    evaluated(tmp_path, FAIRFACE_ROWS, "fairface", "fairface")
    text = write_card(tmp_path).read_text(encoding="utf-8")
    for heading in ("# Model pack `tiny`", "## What for", "## What not for", "## Data and licence", "## Results"):
        assert heading in text
    assert "| ethnicity | Latino_Hispanic \\* |" in text


def test_a_card_is_refused_for_an_evaluation_of_another_version(tmp_path: Path) -> None:
    evaluated(tmp_path, FAIRFACE_ROWS, "fairface", "fairface")
    write_pack(tmp_path, seed=8)
    with pytest.raises(LabelerError, match="another version"):
        write_card(tmp_path)


def test_what_is_no_evaluation_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="no such evaluation"):
        read_evaluation(tmp_path / EVALUATION)
    FAIRFACE_ROWS.to_parquet(tmp_path / EVALUATION)
    with pytest.raises(PackError, match="no readable evaluation"):
        read_evaluation(tmp_path / EVALUATION)


def test_the_same_pack_and_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    one = evaluated(tmp_path / "one", FAIRFACE_ROWS, "fairface", "fairface")
    other = evaluated(tmp_path / "other", FAIRFACE_ROWS, "fairface", "fairface")
    assert one.read_bytes() == other.read_bytes()
