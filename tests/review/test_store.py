"""The file of answers: added to, never changed, one event for one id, whole after every commit."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from audit.review.errors import RefusedError, ReviewError
from audit.review.store import Event, Store

LABELS = {"age": "20-29", "gender": "male", "ethnicity": "White"}
EVENT = Event("0" * 32, "Anna", "Anna", 1, "answer", LABELS, "a note", "2026-01-01T00:00:00Z")


def accept(event: Event) -> None:
    """Let every event pass."""


def opened(folder: Path) -> Store:
    store = Store(folder / "a.sqlite")
    store.add_images(["a.jpg", "b.jpg"])
    return store


def test_an_event_that_comes_again_is_stored_once(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert [store.record(EVENT, accept) for _ in range(3)] == [True, False, False]
    assert [(e.id, dict(e.labels), e.note) for e in store.history()] == [(EVENT.id, LABELS, "a note")]


def test_an_id_is_not_taken_for_another_answer(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.record(EVENT, accept)
    with pytest.raises(RefusedError, match="another answer"):
        store.record(replace(EVENT, labels={**LABELS, "gender": "female"}), accept)
    assert store.answers()["Anna"][1].labels["gender"] == "male"


def test_undo_takes_back_and_keeps_the_history(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.record(EVENT, accept)
    store.record(replace(EVENT, id="1" * 32, kind="undo", labels={}), accept)
    assert store.answers() == {"Anna": {}}
    store.record(replace(EVENT, id="2" * 32, note="again"), accept)
    assert store.answers()["Anna"][1].note == "again"
    assert [event.kind for event in store.history()] == ["answer", "undo", "answer"]


def test_after_the_model_was_shown_no_answer_changes_but_what_was_sent_before_is_confirmed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.record(EVENT, accept)
    store.reveal([1])
    with pytest.raises(RefusedError, match="have been shown"):
        store.record(replace(EVENT, id="1" * 32, kind="undo", labels={}), accept)
    assert store.record(EVENT, accept) is False
    assert store.record(replace(EVENT, id="2" * 32, image=2), accept)


def test_a_commit_waits_for_the_disk_and_readers_do_not_wait_for_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    settings = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("a.sqlite*")} == {0o600}
    store.close()


def test_an_image_keeps_its_number(tmp_path: Path) -> None:
    assert opened(tmp_path).add_images(["b.jpg", "c.jpg"]) == {"b.jpg": 2, "c.jpg": 3}
    assert Store(tmp_path / "a.sqlite").add_images(["a.jpg", "c.jpg"]) == {"a.jpg": 1, "c.jpg": 3}


def test_another_file_is_not_written_into(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    with pytest.raises(ReviewError, match="is not a file of answers"):
        Store(other)
    text = tmp_path / "text.csv"
    text.write_text("path\n" * 1000)
    with pytest.raises(ReviewError, match="name another with --answers"):
        Store(text)
    assert text.read_text() == "path\n" * 1000


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ReviewError, match="newer version"):
        Store(tmp_path / "a.sqlite")


def test_the_purposes_are_kept(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for text in ("first", "first", "second"):
        store.add_purpose(text)
    assert [text for text, _ in store.purposes] == ["first", "second"]


def test_a_name_is_one_person_in_upper_and_lower_case(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert [store.add_annotator(name) for name in ("Anna", "anna", "Ben")] == ["Anna", "Anna", "Ben"]
    assert store.annotators() == ["Anna", "Ben"]


def test_a_session_ends(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.add_session("early", 0.0)
    store.add_session("late", 4e9)
    assert (store.session("early"), store.session("late")) == ((False, None), (True, None))
