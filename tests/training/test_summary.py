"""Evaluations in aggregate: no row of any picture, and everything that a card needs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labeler.errors import LabelerError, PackError
from labeler.pack import Pack
from labeler.taxonomy import UTKFACE
from tests.packs import write_pack
from training.card import write_card
from training.evaluate import EVALUATION, evaluate, summary_of, write_in_pack
from training.metrics import Scored, calibration_error, measure, scored_attribute
from training.sources import merged_sources
from training.summary import SUMMARY, confusion, metrics_of, read_summary, reliability, uncalibrated, write_summary

ABOUT = {"data_set": "UTKFace", "split": "test", "licence": "research", "taxonomy": "utkface", "no_face": 2}


def rows(count: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    ages = rng.integers(0, 100, count)
    groups = UTKFACE.classes["age"]
    return pd.DataFrame(
        {
            "path": [f"secret-{number}.jpg" for number in range(count)],
            "age": ages.astype(float),
            "age_group": [groups[min(age // 10, 8)] for age in ages],
            "gender": rng.choice(UTKFACE.classes["gender"], count),
            "ethnicity": rng.choice(UTKFACE.classes["ethnicity"], count),
        }
    )


def evaluated(folder: Path, count: int = 60) -> Pack:
    pack = Pack.load(write_pack(folder, taxonomy="utkface"))
    crops = np.random.default_rng(0).integers(0, 256, (count, 48, 48), dtype=np.uint8)
    write_in_pack(evaluate(pack, rows(count), crops, ABOUT), folder, "utkface")
    return pack


def test_a_pack_on_utkface_holds_aggregates_and_no_rows(tmp_path: Path) -> None:
    evaluated(tmp_path)
    assert not (tmp_path / EVALUATION).exists()
    document = json.loads((tmp_path / SUMMARY).read_text(encoding="utf-8"))
    assert "secret" not in json.dumps(document)
    assert set(document) == {"version", "about", "metrics", "confusion", "reliability", "calibration"}
    for tables in document["confusion"].values():
        assert np.sum(tables[0]["counts"]) == 60
        assert sum(np.sum(table["counts"]) for table in tables if table["by"] == "gender") == 60
    assert sum(entry["n"] for entry in document["reliability"]["gender"]) == 60


def test_a_pack_on_fairface_keeps_its_rows(tmp_path: Path) -> None:
    pack = Pack.load(write_pack(tmp_path, taxonomy="utkface"))
    crops = np.zeros((60, 48, 48), np.uint8)
    assert write_in_pack(evaluate(pack, rows(), crops, ABOUT), tmp_path, "fairface").name == EVALUATION


def test_a_summary_says_what_the_rows_say(tmp_path: Path) -> None:
    pack = evaluated(tmp_path)
    crops = np.random.default_rng(0).integers(0, 256, (60, 48, 48), dtype=np.uint8)
    table = evaluate(pack, rows(), crops, ABOUT)
    own = {(one.attribute, one.name, one.by, one.group): one for one in metrics_of(summary_of(table, pack.manifest))}
    read = read_summary(tmp_path / SUMMARY)["metrics"]
    assert len(read) == len(own)
    for metric in read:
        expected = own[metric.attribute, metric.name, metric.by, metric.group]
        assert metric.value == pytest.approx(expected.value, abs=1e-5, nan_ok=True)
        assert metric.n == expected.n


def test_intersections_and_spreads_are_among_the_metrics() -> None:
    frame = rows(400)
    classes = {name: list(values) for name, values in UTKFACE.classes.items()}
    truth = frame.rename(columns={"age": "true_age"}).assign(age=frame["age"] + 1)
    for column in ("age_group", "gender", "ethnicity"):
        truth[f"true_{column}"] = frame[column]
    for name, values in classes.items():
        truth[f"{name}_probabilities"] = pd.Series(list(np.full((400, len(values)), 1 / len(values))))
    metrics = measure(truth, classes)
    crossed = [one for one in metrics if one.attribute == "gender" and one.by == "gender × ethnicity"]
    assert sum(one.n for one in crossed) == 400
    by_name = {one.name: one for one in metrics if one.attribute == "gender" and not one.by}
    assert by_name["spread of accuracy over gender"].value == pytest.approx(1.0)
    assert by_name["spread of accuracy over age 20–79"].n < by_name["spread of accuracy over age"].n
    assert scored_attribute(truth, "gender", classes).predicted.max() == 0


def test_undoing_a_temperature_gives_the_error_before_it() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 4))
    truth = rng.integers(0, 4, 300)

    def at(temperature: float) -> Scored:
        powers = np.exp(logits / temperature)
        return Scored(truth, powers / powers.sum(axis=1, keepdims=True))

    np.testing.assert_allclose(uncalibrated(at(0.6), 0.6).probabilities, at(1.0).probabilities, atol=1e-9)
    assert calibration_error(uncalibrated(at(0.6), 0.6)) == pytest.approx(calibration_error(at(1.0)))


def test_confusions_and_reliability_count_every_picture() -> None:
    scored = Scored(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]))
    assert confusion(scored, 2) == [[1, 1], [0, 1]]
    assert sum(entry["n"] for entry in reliability(scored)) == 3


def test_a_card_of_aggregates_tells_the_calibration_and_the_figures_elsewhere(tmp_path: Path) -> None:
    pack = evaluated(tmp_path, 1300)
    crops = np.random.default_rng(0).integers(0, 256, (1300, 48, 48), dtype=np.uint8)
    other = summary_of(evaluate(pack, rows(1300), crops, ABOUT | {"face": "whole"}), pack.manifest)
    write_summary(other, tmp_path / "evaluation-whole.json")
    text = write_card(tmp_path).read_text(encoding="utf-8")
    for said in ("### Calibration", "### Intersections", "## On other pictures", "each taken whole as the crop"):
        assert said in text
    assert "2 more, in which no face was found" in text
    write_pack(tmp_path, taxonomy="utkface", seed=8)
    with pytest.raises(LabelerError, match="another version"):
        write_card(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"version": 9}', '{"version": 1, "metrics": [{"x": 1}]}'])
def test_what_is_no_summary_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / SUMMARY).write_text(content, encoding="utf-8")
    with pytest.raises(PackError, match=r"evaluation\.json"):
        read_summary(tmp_path / SUMMARY)


def test_a_number_that_does_not_exist_is_null_and_read_as_nan(tmp_path: Path) -> None:
    evaluated(tmp_path)
    assert "NaN" not in (tmp_path / SUMMARY).read_text(encoding="utf-8")
    metrics = read_summary(tmp_path / SUMMARY)["metrics"]
    assert any(math.isnan(one.low) for one in metrics)


def test_each_data_set_is_named_once_with_its_own_count() -> None:
    one, other = {"name": "A", "images": 3}, {"name": "B", "images": 4}
    assert merged_sources([one], [other, one | {"images": 9}]) == [one, other]
