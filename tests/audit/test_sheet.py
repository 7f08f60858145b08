"""A sheet hides the prediction, grows without losing its design, and comes back as verified shares and a verdict."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from audit import population, sheet
from audit.cli import main
from audit.wording import CANT_TELL, NO_FACE
from labeler.errors import LabelerError
from labeler.taxonomy import ATTRIBUTES, COLUMNS
from tests.audit.tables import Made, make


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def fill(path: Path, made: Made, annotator: str = "", wrong: int = 0) -> Path:
    """Write what is true into a sheet; the first ``wrong`` rows get the other gender."""
    truth = pd.DataFrame({COLUMNS[a]: [made.classes[a][c] for c in made.true[a]] for a in ATTRIBUTES})
    truth.index = pd.Index([f"part {i % 7}/{i:06d}.jpg" for i in range(len(truth))])
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in COLUMNS.values():
        rows[column] = truth.loc[rows["path"], column].to_numpy()
    rows.loc[: wrong - 1, "gender"] = rows.loc[: wrong - 1, "gender"].map({"male": "female", "female": "male"})
    rows["annotator"] = annotator
    rows.to_csv(path, index=False)
    return path


@pytest.fixture
def filled(made: Made, tmp_path: Path) -> Path:
    path = tmp_path / "sheet.csv"
    assert call("sample", made.labels, "--n", 150, "--out", path).exit_code == 0
    return fill(path, made)


def test_a_sheet_hides_the_prediction_and_its_weights_add_to_the_store(made: Made, tmp_path: Path) -> None:
    drawn = sheet.draw(made.labels, 150, seed=4)
    (tmp_path / "s.csv").write_text(drawn.text)
    rows = pd.read_csv(tmp_path / "s.csv")
    assert tuple(rows.columns) == sheet.HEADER
    assert len(rows) == 150 == rows["path"].nunique()
    assert (1 / rows["inclusion_probability"]).sum() == pytest.approx(600)
    assert rows[list(COLUMNS.values())].isna().all(axis=None)
    assert sheet.draw(made.labels, 150, seed=4).text == drawn.text
    assert sheet.draw(made.labels, 150, seed=5).text != drawn.text


def test_a_sheet_that_grew_holds_the_earlier_one_with_its_answers(made: Made, filled: Path, tmp_path: Path) -> None:
    grown = tmp_path / "grown.csv"
    assert call("sample", made.labels, "--n", 60, "--grow", filled, "--out", grown).exit_code == 0
    before, after = (pd.read_csv(path, keep_default_na=False) for path in (filled, grown))
    assert len(after) >= 210
    assert set(before["path"]) < set(after["path"])
    kept = after.set_index("path").loc[before["path"], "gender"]
    assert kept.tolist() == before["gender"].tolist()
    assert (1 / after["inclusion_probability"]).sum() == pytest.approx(600)


def test_a_new_sheet_takes_the_place_of_no_answer(made: Made, tmp_path: Path) -> None:
    path, other = tmp_path / "sheet.csv", tmp_path / "notes.csv"
    for seed in (0, 1):
        assert call("sample", made.labels, "--n", 150, "--out", path, "--seed", seed).exit_code == 0
    before = fill(path, made).read_text()
    refused = call("sample", made.labels, "--n", 150, "--out", path)
    assert refused.exit_code == 2
    assert f"the answers of 150 images would be lost; add to that sheet with --grow {path}" in refused.output
    other.write_text("path,of mine\n")
    lost = call("sample", made.labels, "--n", 150, "--out", other, "--grow", path)
    assert (lost.exit_code, "is no sheet and would be lost" in lost.output) == (2, True)
    assert (path.read_text(), other.read_text()) == (before, "path,of mine\n")
    assert call("sample", made.labels, "--n", 20, "--out", path, "--grow", path).exit_code == 0
    assert len(pd.read_csv(path)) == 170


def test_a_small_store_gets_each_size_of_a_sample_once(made: Made, tmp_path: Path) -> None:
    printed = call("sample", made.labels, "--n", 250, "--out", tmp_path / "sheet.csv").output
    sizes = [int(line.split("->")[0]) for line in printed.splitlines() if " -> ±" in line]
    assert sizes == [250, 375, 500, 600] * len(ATTRIBUTES)


def test_no_path_is_a_formula_to_a_spreadsheet(tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0.jpg", "+1.jpg", "-1.jpg", "@sum.jpg", "\t=1.jpg", "a=1.jpg", "a\rb.jpg"]
    made = make(tmp_path, n=600)
    table = pq.read_table(made.labels)
    paths = pa.array([*names, *table.column("path").to_pylist()[len(names) :]])
    pq.write_table(table.set_column(table.schema.get_field_index("path"), "path", paths), made.labels)
    path = tmp_path / "sheet.csv"
    assert call("sample", made.labels, "--n", 600, "--out", path).exit_code == 0
    written = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert not written["path"].str.match(r"[=+\-@\t\r]").any()
    assert written["path"].str.startswith("./").sum() == 5
    before = set(written["path"])
    written.assign(gender="male").to_csv(path, index=False, quoting=csv.QUOTE_ALL)
    assert call("sample", made.labels, "--n", 1, "--grow", path, "--out", path).exit_code == 0
    assert set(pd.read_csv(path, dtype=str)["path"]) == before
    checked = sheet.read([path], made.labels, population.read(made.labels))
    assert len(checked.rows) == 600
    assert call("plan", made.labels, "--attribute", "gender", "--out", tmp_path / "plan.csv").exit_code == 0
    assert set(pd.read_csv(tmp_path / "plan.csv")["path"]) == before


def test_verified_shares_hold_the_truth_and_carry_the_verdict(made: Made, filled: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.json"
    done = call("report", made.labels, "--checked", filled, "--json", out, "--margin", "0.01")
    document = json.loads(out.read_text())
    assert done.exit_code == {"fail": 1, "inconclusive": 3}[document["verdict"]["result"]]
    assert document["verdict"]["basis"] == "verified"
    verified = [r for r in document["shares"] if r["grade"] == "verified" and r["attribute"] in ATTRIBUTES]
    inside = [
        r["low"] <= (made.true[r["attribute"]] == made.classes[r["attribute"]].index(r["class"])).mean() <= r["high"]
        for r in verified
        if r["status"] == "ok"
    ]
    assert np.mean(inside) > 0.8
    assert {record["basis"] for record in document["performance"]} == {"sheet.csv"}


@pytest.mark.parametrize(("margin", "code"), [(None, 0), ("0.9", 0), ("0.0001", 1)])
def test_the_exit_code_is_the_verdict(margin: str | None, code: int, made: Made, filled: Path, tmp_path: Path) -> None:
    option = () if margin is None else ("--margin", margin)
    assert call("report", made.labels, "--checked", filled, "--json", tmp_path / "a.json", *option).exit_code == code


def test_a_margin_without_a_checked_sample_is_inconclusive(made: Made, tmp_path: Path) -> None:
    assert call("report", made.labels, "--json", tmp_path / "a.json", "--margin", "0.1").exit_code == 3


def test_two_annotators_agree_by_cohens_kappa_and_a_third_line_decides(
    made: Made, filled: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second.csv"
    second.write_text(filled.read_text())
    fill(filled, made, "ann")
    fill(second, made, "bo", wrong=10)
    rows = population.read(made.labels)
    checked = sheet.read([filled, second], made.labels, rows)
    gender = next(found for found in checked.agreements if found.attribute == "gender")
    assert (gender.n, len(gender.disagreements)) == (150, 10)
    assert gender.kappa is not None
    assert 0.7 < gender.kappa < 1
    assert (checked.codes["gender"] == 3).sum() == 10
    third = tmp_path / "third.csv"
    fill(filled, made, "ann")
    third.write_text(filled.read_text())
    fill(third, made, sheet.ADJUDICATED)
    settled = sheet.read([filled, second, third], made.labels, rows)
    assert (settled.codes["gender"] == 3).sum() == 0
    assert all(found.disagreements == () for found in settled.agreements)


def test_a_picture_without_a_face_is_a_class_of_its_own(made: Made, filled: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(filled, keep_default_na=False)
    rows.loc[:19, "gender"] = NO_FACE
    rows.loc[20:29, "gender"] = CANT_TELL
    rows.to_csv(filled, index=False)
    out = tmp_path / "audit.json"
    call("report", made.labels, "--checked", filled, "--json", out, "--min-cell", "1")
    shares = [
        r for r in json.loads(out.read_text())["shares"] if r["attribute"] == "gender" and r["grade"] == "verified"
    ]
    assert [r["class"] for r in shares] == ["male", "female", NO_FACE, CANT_TELL]
    assert sum(r["value"] for r in shares) == pytest.approx(1)
    assert "can't tell".replace("'", "’") in shares[0]["reason"].replace("'", "’")


def test_a_sheet_with_rows_removed_is_refused(made: Made, filled: Path, tmp_path: Path) -> None:
    pd.read_csv(filled, keep_default_na=False).head(100).to_csv(filled, index=False)
    done = call("report", made.labels, "--checked", filled, "--json", tmp_path / "a.json")
    assert done.exit_code == 2
    assert "give the whole sheet" in done.stderr


def test_a_truth_file_is_no_checked_sheet(made: Made) -> None:
    with pytest.raises(LabelerError, match="stratum is missing"):
        sheet.read([made.truth], made.labels, population.read(made.labels))


def test_a_strata_without_answers_leaves_the_share_undefined(made: Made, filled: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(filled, keep_default_na=False)
    rows.loc[rows["stratum"] == rows["stratum"].iloc[0], "gender"] = ""
    rows.to_csv(filled, index=False)
    out, page = tmp_path / "audit.json", tmp_path / "page.html"
    written = ("--json", out, "--out", page, "--markdown", "-")
    done = call("report", made.labels, "--checked", filled, "--margin", "0.9", *written)
    assert done.exit_code == 3
    for words in (
        "Which groups look short",
        "what is said of gender is a classifier’s guess",
        "shares, but for gender:",
    ):
        assert words in page.read_text()
    document = json.loads(out.read_text())
    shares = [r for r in document["shares"] if r["grade"] == "verified"]
    assert {r["status"] for r in shares if r["attribute"] == "gender"} == {"undefined"}
    assert document["store"]["checked"]["unanswered"] == ["gender"]
    empty = int((rows["gender"] == "").sum())
    assert document["verdict"]["reasons"] == [
        "Too few rows of the sheet are filled in for verified shares of gender.",
        f"Fill in the rest of the sheet: {empty} rows of it lack a label.",
    ]
    assert "150 images that people checked; those of gender are a classifier’s guesses." in done.stdout
    assert done.stdout.count("| verified shares |") == len(made.classes["age"]) + len(made.classes["ethnicity"])
    assert done.stdout.count("| uncorrected counts |") == len(made.classes["gender"])
    assert "audit-labels review sheet.csv" in done.stdout


def test_only_rows_that_people_filled_in_count_as_checked(made: Made, filled: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(filled, keep_default_na=False)
    rows.loc[12:, list(COLUMNS.values())] = ""
    rows.to_csv(filled, index=False)
    out, page = tmp_path / "audit.json", tmp_path / "page.html"
    done = call("report", made.labels, "--checked", filled, "--json", out, "--out", page, "--margin", "0.05")
    assert done.exit_code == 3
    assert "12 of 150 checked by people" in done.output
    assert "0.0" not in done.output
    document = json.loads(out.read_text())
    assert document["store"]["checked"]["filled"] == 12
    assert document["verdict"]["basis"] == "raw"
    assert "people have not sufficiently checked its guesses here" in page.read_text()
    planned = call("plan", made.labels, "--checked", filled)
    assert planned.exit_code == 2
    assert "fill in the rest of the sheet" in planned.output


@pytest.mark.parametrize("verb", ["report", "plan"])
def test_a_sheet_that_nobody_filled_in_is_refused(made: Made, tmp_path: Path, verb: str) -> None:
    path = tmp_path / "sheet.csv"
    assert call("sample", made.labels, "--n", 150, "--out", path).exit_code == 0
    asked = call(verb, made.labels, "--checked", path, *(["--json", tmp_path / "a.json"] if verb == "report" else []))
    assert asked.exit_code == 2
    assert "sheet.csv: no label is filled in; let people fill age_group, gender, ethnicity" in asked.output
