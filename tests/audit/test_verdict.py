"""The verdict: what people could not tell settles nothing, the border passes, nothing withheld is named in it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from audit import findings
from audit.cli import main
from audit.estimate import Estimate
from audit.result import _blurred
from audit.verdict import Claim, of_verified_shares
from labeler.taxonomy import COLUMNS
from tests.audit.tables import Made

SURE = math.inf
GENDERS = "attribute,class,share\ngender,male,0.5\ngender,female,0.5\n"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def whole(made: Made, tmp_path: Path) -> Path:
    """Return a sheet of every image, answered as the truth is."""
    path = tmp_path / "sheet.csv"
    assert call("sample", made.labels, "--n", 600, "--out", path).exit_code == 0
    truth = pd.read_csv(made.truth, dtype=str).set_index("path")
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in ("gender", "ethnicity"):
        rows[column] = truth.loc[rows["path"], column].to_numpy()
    ages = [made.classes["age"][code] for code in made.true["age"]]
    rows["age_group"] = pd.Series(ages, index=truth.index).loc[rows["path"]].to_numpy()
    rows.to_csv(path, index=False)
    return path


def change(path: Path, **columns: Any) -> None:
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows.assign(**columns).to_csv(path, index=False)


def report(made: Made, sheet: Path, *more: object) -> tuple[int, dict[str, Any], str]:
    out = sheet.with_name("audit.json")
    done = call("report", made.labels, "--checked", sheet, "--json", out, *more)
    return done.exit_code, json.loads(out.read_text()) if out.exists() else {}, done.output


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target.csv"
    path.write_text(GENDERS)
    return path


@pytest.mark.parametrize(
    ("share", "unknown", "result"),
    [
        (0.4, 0.2, "inconclusive"),
        (0.4, 0.0, "fail"),
        (0.1, 0.2, "fail"),
        (0.48, 0.04, "pass"),
        (0.48, 0.1, "inconclusive"),
    ],
)
def test_what_nobody_could_tell_may_be_of_any_class(share: float, unknown: float, result: str) -> None:
    found = of_verified_shares([Claim("a", share, 0.5, SURE, unknown)], 0.05, 0.95)
    assert found.result == result
    if result == "fail" and unknown:
        assert "10.0 % to 30.0 %" in found.reasons[0].replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("share", [0.6, 0.4, 0.7 - 0.1, 0.5 - 0.1])
def test_a_share_that_lies_just_on_the_margin_passes(share: float) -> None:
    assert of_verified_shares([Claim("a", share, 0.5, SURE)], 0.1, 0.95).result == "pass"


def test_a_withheld_share_is_not_named_by_the_verdict() -> None:
    reason = of_verified_shares([Claim("a", 0.01, 0.5, SURE, small=True)], 0.1, 0.95).reasons[0]
    assert "a (withheld, target" in reason


def test_pictures_that_nobody_can_tell_or_that_show_no_face_fail_no_gender(
    made: Made, whole: Path, target: Path
) -> None:
    ask = ("--target", target, "--margin", "0.05")
    half = np.where(np.arange(600) % 2 == 0, "male", "female")
    for other in ("can't tell", "no face"):
        change(whole, gender=np.where(np.arange(600) < 400, half, other))
        code, document, _ = report(made, whole, *ask)
        assert code == {"can't tell": 3, "no face": 0}[other]
        assert not any(findings.shortfalls(document, "gender"))


def test_a_checked_store_on_its_margin_passes(made: Made, whole: Path, target: Path) -> None:
    change(whole, gender=np.where(np.arange(600) < 360, "male", "female"))
    code, document, _ = report(made, whole, "--target", target, "--margin", "0.1")
    assert code == 0
    values = {
        r["class"]: r["value"] for r in document["shares"] if r["grade"] == "verified" and r["attribute"] == "gender"
    }
    assert values == {"male": 0.6, "female": 0.4}


def test_what_is_not_judged_is_no_headline_and_a_fail_has_a_next_step(made: Made, whole: Path, target: Path) -> None:
    change(whole, gender=np.where(np.arange(600) % 2 == 0, "male", "female"))
    _, document, _ = report(made, whole, "--target", target, "--margin", "0.1")
    assert any(findings.shortfalls(document, "ethnicity"))
    assert findings.headline(document) == "No group shown is clearly below its target."
    document["verdict"]["result"] = "fail"
    wanted = "audit-labels plan labels.parquet --checked sheet.csv --target target.csv --out plan.parquet"
    assert findings.next_step(document)[1] == wanted


def test_the_command_of_the_next_step_names_hostile_files_safely(made: Made, whole: Path) -> None:
    sheet = whole.with_name("; rm -rf $HOME.csv")
    whole.rename(sheet)
    _, document, _ = report(made, sheet, "--margin", "0.9")
    assert findings.next_step(document)[1].startswith(
        "audit-labels plan labels.parquet --checked '; rm -rf $HOME.csv' --out"
    )


def test_a_sheet_of_another_pack_or_of_a_store_that_changed_is_refused(made: Made, whole: Path, tmp_path: Path) -> None:
    change(whole, pack_digest="1" * 64)
    code, _, said = report(made, whole)
    assert (code, "labels of another pack" in said) == (2, True)
    change(whole, pack_digest="")
    assert report(made, whole)[0] == 0
    table = pq.read_table(made.labels)
    place = table.schema.get_field_index("gender")
    genders = table.column("gender").to_pylist()
    swapped = pa.array(["female" if g == "male" else "male" for g in genders[:100]] + genders[100:])
    changed = tmp_path / "changed.parquet"
    pq.write_table(
        table.set_column(place, table.field(place), swapped.dictionary_encode().cast(table.field(place).type)), changed
    )
    done = call("report", changed, "--checked", whole, "--json", tmp_path / "b.json")
    assert (done.exit_code, "the store has changed or was labelled anew" in done.output) == (2, True)


def test_the_adjudicators_name_may_be_written_in_capitals(made: Made, whole: Path) -> None:
    rows = pd.read_csv(whole, dtype=str, keep_default_na=False).assign(annotator="ann")
    other = rows.assign(annotator="bo ", gender=rows["gender"].map({"male": "female", "female": "male"}))
    word = rows.assign(annotator="Adjudicated")
    pd.concat([rows, other, word]).to_csv(whole, index=False)
    _, document, _ = report(made, whole)
    unknown = [r for r in document["shares"] if r["grade"] == "verified" and r["class"] == "can't tell"]
    assert unknown == []
    assert document["agreement"][0]["annotators"] == ["ann", "bo"]


def test_a_small_verified_class_does_not_follow_from_the_others(made: Made, whole: Path) -> None:
    names = np.array(["White"] * 300 + ["Black"] * 295 + ["Indian"] * 5)
    change(whole, ethnicity=names)
    _, document, _ = report(made, whole)
    shares = {
        r["class"]: r["status"]
        for r in document["shares"]
        if r["grade"] == "verified" and r["attribute"] == "ethnicity"
    }
    assert shares["Indian"] == "suppressed"
    assert "suppressed" in (shares["White"], shares["Black"])
    assert not [r for r in document["balance"] if r["grade"] == "verified" and r["attribute"] == "ethnicity"]
    assert not [r for r in document["plan"] if r["attribute"] == "ethnicity"]


def test_one_number_of_a_table_with_withheld_cells_is_withheld_too(made: Made, tmp_path: Path) -> None:
    assert call("report", made.labels, "--json", tmp_path / "a.json").exit_code == 0
    document = json.loads((tmp_path / "a.json").read_text())
    for record in document["balance"]:
        if record["statistic"] == "cramers_v":
            cells = [r["status"] for r in document["shares"] if r["attribute"] == record["attribute"]]
            withheld = cells.count("suppressed")
            assert (record["status"] == "suppressed") == (0 < withheld < 6)
            if withheld >= 6:
                assert record["value"] == round(record["value"], 2)


def test_an_empty_target_is_refused(made: Made, target: Path, tmp_path: Path) -> None:
    target.write_text("attribute,class,share\n")
    done = call("report", made.labels, "--target", target, "--json", tmp_path / "a.json")
    assert (done.exit_code, "holds no rows" in done.output) == (2, True)


def test_accuracy_on_a_partly_filled_sheet_weights_what_was_answered(made: Made, whole: Path) -> None:
    rows = pd.read_csv(whole, dtype=str, keep_default_na=False)
    labels = pd.read_parquet(made.labels, columns=["path", "gender"]).set_index("path")["gender"].astype(str)
    men = rows["path"].map(labels) == "male"
    kept = men | (rows[~men].groupby("stratum").cumcount().reindex(rows.index, fill_value=0) < 2)
    rows.loc[~kept, list(COLUMNS.values())] = ""
    rows.to_csv(whole, index=False)
    _, document, _ = report(made, whole)
    given = rows[kept].assign(right=rows["path"].map(labels) == rows["gender"])
    weight = rows.groupby("stratum").size() / len(rows)
    expected = (given.groupby("stratum")["right"].mean() * weight).sum()
    found = next(
        r for r in document["performance"] if (r["attribute"], r["metric"], r["group"]) == ("gender", "accuracy", {})
    )
    assert found["value"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("withheld", "value"), [(0, 0.12345), (1, None), (5, None), (6, 0.12)])
def test_the_fewer_cells_are_withheld_the_less_is_said_of_the_whole_table(withheld: int, value: float | None) -> None:
    found = _blurred(Estimate(0.12345, 0.1, 0.2, 100), withheld)
    assert (found.value, found.status) == (value, "ok" if value else "suppressed")
