"""The work: blind until the end, nothing asked twice, differences settled last, agreement and forecasts on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import cohen_kappa_score

from audit import population, sheet
from audit.review import run
from labeler import table
from labeler.taxonomy import ATTRIBUTES, COLUMNS
from tests.audit.tables import HOSTILE
from tests.review.desk import Desk, Person, Server, fairface_digest, furnish, paths_of

MALE = {"age": "20-29", "gender": "male", "ethnicity": "White"}
FEMALE = {**MALE, "gender": "female"}
NO_FACE = dict.fromkeys(ATTRIBUTES, "no face")


def everything_said(server: Server) -> dict[str, bytes]:
    """Return every reply that somebody gets who labels all images, by what was asked."""
    person = Person(server, "Anna")
    state = person.sit_down()
    said = {
        path: server.ask(path, headers=person.headers)[2]
        for path in ("/", "/static/review.js", "/static/review.css", "/api/progress")
    }
    while state["next"]:
        image = state["next"][0]["image"]
        for view in ("face", "whole"):
            said[f"{image} {view}"] = server.ask(f"/images/{image}/{view}", headers=person.headers)[2]
        state = person.answer(image, MALE)
        said[f"after {image}"] = repr(state).encode()
    for path in ("/api/adjudication", "/api/progress"):
        said[f"{path} at the end"] = server.ask(path, headers=person.headers)[2]
    assert server.ask("/api/model", {}, person.headers)[0] == 409
    return said


def test_the_model_s_labels_change_nothing_that_anybody_is_sent(desk: Desk, tmp_path: Path) -> None:
    found = []
    for shift in (0, 17):
        answers = tmp_path / f"{shift}.sqlite"
        shuffled = tmp_path / f"labels {shift}.parquet"
        read = table.read(desk.made.labels)
        rows = read.rows.to_pandas()
        given = [name for name in rows.columns if any(part in name for part in ("age", "gender", "ethnicity"))]
        order = np.roll(np.arange(len(rows)), shift)
        columns = [
            read.rows.column(name).take(order) if name in given else read.rows.column(name)
            for name in read.rows.column_names
        ]
        moved = read.rows.from_arrays(columns, schema=read.rows.schema)
        table.write(shuffled, moved.to_batches(), read.info)
        with Server([desk.sheet], desk.store, {"labels": shuffled, "answers": answers}) as server:
            found.append(everything_said(server))
            numbers = paths_of(answers)
        review = found[-1]["/"]
        start = review.index(b"data-review=")
        found[-1]["/"] = review.replace(review[start : start + 22], b"")
    assert found[0] == found[1]
    assert len(numbers) == 20


def test_differences_are_settled_by_all_and_the_model_comes_last(desk: Desk, server: Server) -> None:
    anna, ben = Person(server, "Anna"), Person(server, "Ben")
    anna.sit_down()
    address = anna.post("/api/invitation", {})["address"]
    server.link = address
    ben.sit_down()
    odd = {1: FEMALE, 2: NO_FACE, 3: {**MALE, "age": "can't tell"}}
    ben.answer(5, MALE)
    assert anna.answer_all(MALE)["waiting_for"] == ["Ben"]
    anna.get("/api/adjudication", 409)
    anna.post("/api/model", {}, 409)
    ben.answer_all(MALE, odd)
    cases = anna.get("/api/adjudication")
    assert {case["image"]: case["ask"] for case in cases["next"]} == {1: ["gender"], 2: list(ATTRIBUTES), 3: ["age"]}
    assert "model" in cases
    assert "confidence" not in repr(cases)
    anna.post("/api/model", {}, 409)
    settle = {"annotator": "adjudicated"}
    anna.post("/api/answers", {**anna.message(4, {"gender": "male"}), **settle}, 409)
    anna.post("/api/answers", {**anna.message(1, {"age": "20-29"}), **settle}, 400)
    anna.post("/api/answers", {**anna.message(1, {"gender": "female"}), **settle})
    anna.post("/api/answers", {**anna.message(2, NO_FACE), **settle})
    ben.post("/api/answers", ben.message(1, {}, "undo"), 409)
    state = anna.post("/api/answers", {**anna.message(3, {"age": "20-29"}), **settle})
    assert (state["done"], state["total"], state["next"]) == (3, 3, [])
    found = anna.post("/api/model", {})["differences"]
    guesses = pq.read_table(desk.made.labels).to_pandas().set_index("path")
    path_of = paths_of(desk.answers)
    expected = {**dict.fromkeys(path_of, MALE), 1: FEMALE, 2: NO_FACE}
    assert {case["image"] for case in found} == {
        n for n, path in path_of.items() if any(guesses.loc[path, COLUMNS[a]] != expected[n][a] for a in ATTRIBUTES)
    }
    anna.post("/api/answers", anna.message(5, {}, "undo"), 409)
    assert len(desk.rows("SELECT * FROM revealed")) == 20


def test_what_was_settled_is_what_report_counts(desk: Desk, server: Server, tmp_path: Path) -> None:
    anna, ben = Person(server, "Anna"), Person(server, "Ben")
    anna.sit_down()
    server.link = anna.post("/api/invitation", {})["address"]
    ben.sit_down()
    anna.answer_all(MALE)
    ben.answer_all(MALE, dict.fromkeys((1, 2, 3), FEMALE))
    for image in (1, 2):
        anna.post("/api/answers", {**anna.message(image, {"gender": "female"}), "annotator": "adjudicated"})
    run.export([desk.sheet], tmp_path / "checked.csv", None)
    read = sheet.read([tmp_path / "checked.csv"], desk.made.labels, population.read(desk.made.labels))
    codes = np.bincount(read.codes["gender"], minlength=4)
    assert codes.tolist() == [17, 2, 0, 1]  # one is left undecided, and counts as "can't tell"
    assert [len(a.disagreements) for a in read.agreements if a.attribute == "gender"] == [1]


def test_agreement_is_cohen_s_and_waits_for_ten_images(desk: Desk, server: Server) -> None:
    anna, ben = Person(server, "Anna"), Person(server, "Ben")
    anna.sit_down()
    server.link = anna.post("/api/invitation", {})["address"]
    ben.sit_down()
    rng = np.random.default_rng(3)
    given: dict[str, list[str]] = {"Anna": [], "Ben": []}
    for image in range(1, 21):
        for person in (anna, ben):
            labels = {**MALE, "gender": ("male", "female")[int(rng.random() < 0.4 + 0.2 * (image % 2))]}
            given[person.name].append(labels["gender"])
            person.answer(image, labels)
        if image in (9, 10):
            first = anna.get("/api/progress")["agreement"][1]
            assert (first["attribute"], first["n"], first["kappa"] is None) == ("gender", image, image == 9)
    found = {one["attribute"]: one for one in anna.get("/api/progress")["agreement"]}
    expected = cohen_kappa_score(given["Anna"], given["Ben"])
    assert found["gender"]["kappa"] == pytest.approx(expected)
    assert found["gender"]["by_class"] == {"male": pytest.approx(expected), "female": pytest.approx(expected)}
    assert found["age"]["kappa"] is None  # all said the same: agreement by chance alone is full


def test_skipped_images_come_last_and_undone_ones_first(server: Server) -> None:
    person = Person(server, "Anna")
    first, second, third = (item["image"] for item in person.sit_down()["next"][:3])
    state = person.answer(first, {}, kind="skip", note="blurred")
    assert [item["image"] for item in state["next"]][:2] == [second, third]
    state = person.answer(second, MALE)
    assert (state["done"], state["last"]) == (1, second)
    state = person.answer(second, {}, kind="undo")
    assert ([item["image"] for item in state["next"]][:2], state["done"], state["last"]) == ([second, third], 0, None)
    state = person.get("/api/state")
    for _ in range(19):
        state = person.answer(state["next"][0]["image"], MALE)
    assert [(item["image"], item["note"]) for item in state["next"]] == [(first, "blurred")]


def test_a_message_that_comes_again_is_stored_once_and_confirmed(desk: Desk, server: Server) -> None:
    person = Person(server, "Anna")
    image = person.sit_down()["next"][0]["image"]
    message = person.message(image, MALE)
    states = [person.post("/api/answers", message) for _ in range(3)]
    assert states[0] == states[1] == states[2]
    assert desk.rows("SELECT count(*) FROM answers") == [(1,)]
    person.post("/api/answers", {**message, "labels": FEMALE}, 409)


def test_parts_are_for_their_people_and_agreement_comes_from_the_overlap(desk: Desk, tmp_path: Path) -> None:
    parts = [tmp_path / "Anna.csv", tmp_path / "Ben.csv"]
    run.cut([desk.sheet], parts, 12)
    options: dict[str, Any] = {"answers": desk.answers, "labels": desk.made.labels}
    with Server(parts, desk.store, options) as server:
        anna, ben = Person(server, "anna"), Person(server, "Ben")
        assert anna.sit_down()["total"] == 16
        anna.name = "Anna"
        server.link = anna.post("/api/invitation", {})["address"]
        ben.sit_down()
        assert "Anna, Ben" in anna.post("/api/name", {"name": "Eve"}, 400)["error"]
        anna.answer_all(MALE)
        anna.get("/api/adjudication", 409)
        ben.answer_all(FEMALE)
        assert anna.get("/api/adjudication")["total"] == 12
        agreement = anna.get("/api/progress")["agreement"]
        assert {one["n"] for one in agreement} == {12}
    run.export(parts, tmp_path / "checked.csv", None, answers=desk.answers, labels=desk.made.labels)
    read = sheet.read([tmp_path / "checked.csv"], desk.made.labels, population.read(desk.made.labels))
    assert len(read.rows) == 20
    assert int(read.design.sizes.sum()) == 40


def test_a_sheet_that_grew_keeps_its_answers_and_numbers(desk: Desk) -> None:
    with Server([desk.sheet], desk.store) as server:
        person = Person(server, "Anna")
        person.sit_down()
        person.answer_all(MALE)
    before = paths_of(desk.answers)
    desk.sheet.write_text(sheet.draw(desk.made.labels, 10, grow=desk.sheet).text, encoding="utf-8")
    with Server([desk.sheet], desk.store) as server:
        state = Person(server, "Anna").sit_down()
    assert (state["done"], state["total"]) == (20, 30)
    after = paths_of(desk.answers)
    assert {number: after[number] for number in before} == before


def test_the_forecast_narrows_and_ends_where_the_sample_promised(desk: Desk, server: Server) -> None:
    person = Person(server, "Anna")
    state = person.sit_down()
    assert [one["now"] for one in state["outlook"]] == [None] * 3
    widths = []
    while state["next"]:
        state = person.answer(state["next"][0]["image"], MALE)
        if state["done"] >= 10:
            widths.append(state["outlook"][2]["now"])
    assert widths == sorted(widths, reverse=True)
    promised = {f.n: f.widest for f in sheet.draw(desk.made.labels, 20).forecasts["ethnicity"]}
    assert widths[-1] == state["outlook"][2]["then"] == round(promised[20], 4)


def test_without_a_label_table_the_forecast_rests_on_the_answers(desk: Desk, tmp_path: Path) -> None:
    rows = pd.read_csv(desk.sheet, dtype=str, keep_default_na=False)
    rows["pack_digest"] = fairface_digest()
    alone = tmp_path / "alone"
    alone.mkdir()
    rows.to_csv(alone / "sheet.csv", index=False)
    with Server([alone / "sheet.csv"], desk.store) as server:
        person = Person(server, "Anna")
        state = person.sit_down()
        assert state["outlook"][0]["then"] is None
        while state["done"] < 12:
            labels = {**MALE, "gender": "female" if state["done"] % 2 else "male"}
            state = person.answer(state["next"][0]["image"], labels)
        gender = state["outlook"][1]
        assert 0.1 < gender["then"] < gender["now"] < 0.4
        assert person.server.ask("/images/1/face", headers=person.headers)[0] == 200


def test_pictures_without_a_face_are_shown_whole_and_files_that_are_gone_say_so(tmp_path: Path) -> None:
    desk = furnish(tmp_path, 20, 12, missed=HOSTILE)
    drawn = sheet.draw(desk.made.labels, 30, no_face=True)
    desk.sheet.write_text(drawn.text, encoding="utf-8")
    with Server([desk.sheet], desk.store) as server:
        person = Person(server, "Anna")
        person.sit_down()
        gone = {path for path in pd.read_csv(desk.sheet)["path"] if not (desk.store / path).exists()}
        numbers = {path: number for number, path in paths_of(desk.answers).items()}
        assert gone
        for path in gone:
            status, _, content = server.ask(f"/images/{numbers[path]}/face", headers=person.headers)
            assert (status, b"cannot be read" in content, b".jpg" in content) == (422, True, False)
