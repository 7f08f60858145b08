"""Claims about the label table: a round trip that loses nothing, bytes that depend on rows alone, and a safe commit."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler import table
from labeler.errors import TableError
from labeler.table import (
    SCHEMA_VERSION,
    STATUSES,
    TableInfo,
    check_output,
    read,
    read_info,
    schema,
    write,
)
from labeler.taxonomy import ATTRIBUTES, COLUMNS, FAIRFACE, UTKFACE
from tests.labeler.tables import INFO, batches, row, rows

PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    values=st.dictionaries(PATHS, st.tuples(st.integers(0, 2**32), st.sampled_from(STATUSES)), max_size=12),
    size=st.integers(1, 5),
)
def test_what_is_written_is_read_back(
    values: dict[str, tuple[int, str]], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("table") / "labels.parquet"
    wanted = [
        row(path, seed, status) for path, (seed, status) in sorted(values.items(), key=lambda item: item[0].encode())
    ]
    assert write(target, batches(wanted, size), INFO) == len(wanted)
    found = read(target)
    assert found.info == INFO
    assert found.rows.to_pylist() == wanted
    assert found.rows.schema.equals(schema(FAIRFACE.classes))


def test_the_columns_are_the_agreed_ones() -> None:
    assert (
        schema(FAIRFACE.classes).names
        == (
            "path size_bytes mtime_ns content_hash status error width height faces "
            "face_x face_y face_width face_height face_score face_quality face_roll "
            "age age_group age_confidence age_probabilities gender gender_confidence gender_probabilities "
            "ethnicity ethnicity_confidence ethnicity_probabilities sharpness contrast phash"
        ).split()
    )
    assert schema(UTKFACE.classes).field("ethnicity_probabilities").type == pa.list_(pa.float32(), 5)


def test_how_the_rows_arrive_does_not_change_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROW_GROUP_ROWS", 100)
    values = rows(330)
    contents = set()
    for size in (1, 7, 32, 100, 101, 330):
        write(tmp_path / f"{size}.parquet", batches(values, size), INFO)
        contents.add((tmp_path / f"{size}.parquet").read_bytes())
    assert len(contents) == 1
    assert read(tmp_path / "7.parquet").rows.to_pylist() == values


def test_the_order_of_a_batchs_dictionary_does_not_change_the_bytes(tmp_path: Path) -> None:
    values = rows(64)
    (batch,) = batches(values, 64)
    shuffled = batch.column("status").cast(pa.string())
    order = pa.array(STATUSES[::-1])
    indices = pa.array([STATUSES[::-1].index(value) for value in shuffled.to_pylist()], pa.int8())
    other = batch.set_column(4, batch.schema.field("status"), pa.DictionaryArray.from_arrays(indices, order))
    write(tmp_path / "one.parquet", [batch], INFO)
    write(tmp_path / "other.parquet", [other], INFO)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_row_groups_are_of_equal_size_but_for_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROW_GROUP_ROWS", 100)
    write(tmp_path / "labels.parquet", batches(rows(250), 32), INFO)
    metadata = pq.read_metadata(tmp_path / "labels.parquet")
    assert [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)] == [100, 100, 50]


def test_an_empty_store_gives_an_empty_table(tmp_path: Path) -> None:
    assert write(tmp_path / "labels.parquet", [], INFO) == 0
    assert read(tmp_path / "labels.parquet").rows.num_rows == 0
    assert read_info(tmp_path / "labels.parquet") == INFO


def test_pandas_reads_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROW_GROUP_ROWS", 50)
    values = rows(120)
    write(tmp_path / "labels.parquet", batches(values, 32), INFO)
    frame = pd.read_parquet(tmp_path / "labels.parquet")
    assert frame["path"].tolist() == [value["path"] for value in values]
    assert frame["status"].tolist() == [value["status"] for value in values]
    assert str(frame["status"].dtype) == "category"
    labelled = frame[frame["status"] == "ok"]
    assert labelled["phash"].max() > 2**63
    for attribute in ATTRIBUTES:
        assert labelled[COLUMNS[attribute]].notna().all()
        assert frame.loc[frame["status"] != "ok", COLUMNS[attribute]].isna().all()


def test_duckdb_reads_the_table(tmp_path: Path) -> None:
    values = rows(120)
    target = tmp_path / "labels.parquet"
    write(target, batches(values, 32), INFO)
    with duckdb.connect() as connection:
        query = "select status, count(*), sum(len(age_probabilities)) from read_parquet(?) group by status"
        found = connection.execute(query, [str(target)]).fetchall()
        text = connection.execute("select distinct typeof(status), typeof(phash) from read_parquet(?)", [str(target)])
        assert text.fetchone() is not None
    labelled = sum(value["status"] == "ok" for value in values)
    assert sum(count for _, count, _ in found) == len(values)
    assert {status: classes for status, _, classes in found}["ok"] == 9 * labelled


def test_some_columns_can_be_read_alone(tmp_path: Path) -> None:
    write(tmp_path / "labels.parquet", batches(rows(5), 5), INFO)
    assert read(tmp_path / "labels.parquet", ["path", "age_group"]).rows.column_names == ["path", "age_group"]


def breaking(error: BaseException) -> Iterator[pa.RecordBatch]:
    """Yield some rows and then raise."""
    yield from batches(rows(20), 10)
    raise error


@pytest.mark.parametrize("error", [RuntimeError("worker"), OSError(28, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [True, False])
def test_a_run_that_breaks_off_leaves_the_old_table_and_nothing_else(
    tmp_path: Path, error: BaseException, old: bool
) -> None:
    target = tmp_path / "labels.parquet"
    if old:
        write(target, batches(rows(3), 3), INFO)
    before = target.read_bytes() if old else None
    with pytest.raises(type(error)):
        write(target, breaking(error), INFO)
    assert [path.name for path in tmp_path.iterdir()] == (["labels.parquet"] if old else [])
    assert before is None or target.read_bytes() == before


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_disk_that_fails_at_the_end_leaves_the_old_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    target = tmp_path / "labels.parquet"
    write(target, batches(rows(3), 3), INFO)
    before = target.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="Input/output"):
        write(target, batches(rows(9), 3), INFO)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.parquet"]
    assert target.read_bytes() == before


def test_the_rows_are_on_the_disk_before_the_old_table_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(name: str) -> Callable[..., object]:
        real: Callable[..., object] = getattr(os, name)

        def call(*given: object) -> object:
            calls.append(name)
            return real(*given)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name))
    write(tmp_path / "labels.parquet", batches(rows(3), 3), INFO)
    assert calls == ["fsync", "replace", "fsync"]


def test_the_table_is_readable_to_whom_the_umask_allows(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write(tmp_path / "labels.parquet", batches(rows(3), 3), INFO)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "labels.parquet").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "is a folder"),
        ("missing/labels.parquet", "does not exist"),
        ("file/labels.parquet", "does not exist"),
        ("pipe", "not a regular file"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TableError, match=words):
        check_output(tmp_path / name)
    with pytest.raises(TableError, match=words):
        write(tmp_path / name, [], INFO)


def test_a_device_is_never_replaced_by_a_table() -> None:
    with pytest.raises(TableError, match="not a regular file"):
        check_output("/dev/null")


def test_a_folder_without_the_right_to_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(TableError, match="cannot be written"):
        check_output(tmp_path / "labels.parquet")


def foreign(path: Path, metadata: dict[bytes, bytes]) -> Path:
    """Write a Parquet file with some metadata and a single column."""
    pq.write_table(pa.table({"path": ["a"]}).replace_schema_metadata(metadata), path)
    return path


def test_what_is_no_label_table_is_refused_by_name(tmp_path: Path) -> None:
    named = INFO.to_metadata()
    (tmp_path / "text").write_text("path,status\n")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    foreign(tmp_path / "parquet", {})
    foreign(tmp_path / "no columns", named)
    foreign(tmp_path / "newer", {b"efrs.schema_version": b"2", b"efrs.other": b"x"})
    foreign(tmp_path / "version", named | {b"efrs.schema_version": b"one"})
    foreign(tmp_path / "classes", named | {b"efrs.classes": b"[]"})
    foreign(tmp_path / "not json", named | {b"efrs.options": b"{"})
    expected = {
        "missing": "no such label table",
        ".": "is a folder",
        "pipe": "no regular file",
        "text": "not a readable Parquet file .*; name the Parquet file that label-images wrote",
        "empty": "not a readable Parquet file",
        "parquet": "no label table",
        "version": "no label table",
        "classes": "no label table",
        "not json": "no label table",
        "no columns": "column size_bytes is missing",
        "newer": f"schema version 2 is newer than this tool reads .{SCHEMA_VERSION}.; update",
    }
    for name, words in expected.items():
        with pytest.raises(TableError, match=words) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_damaged_table_raises_nothing_but_a_table_error(tmp_path: Path) -> None:
    target = tmp_path / "labels.parquet"
    write(target, batches(rows(50), 50), INFO)
    content = target.read_bytes()
    for length in range(0, len(content), 97):
        target.write_bytes(content[:length])
        with pytest.raises(TableError):
            read(target)


def test_a_damaged_footer_raises_nothing_but_a_table_error(tmp_path: Path) -> None:
    target = tmp_path / "labels.parquet"
    write(target, batches(rows(50), 50), INFO)
    content = target.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        damaged[int(rng.integers(footer, len(content)))] ^= 1 << int(rng.integers(8))
        target.write_bytes(damaged)
        try:
            read(target)
        except TableError:
            refused += 1
    assert refused > 100


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    target = tmp_path / "labels.parquet"
    write(target, batches(rows(5), 5), INFO)
    table = pq.read_table(target)
    place = table.column_names.index("width")
    changed = table.set_column(place, "width", table["width"].cast(pa.string()))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), target)
    with pytest.raises(TableError, match="the column width is string, not"):
        read(target)


def test_what_a_table_says_of_itself_is_kept() -> None:
    assert TableInfo.from_metadata(INFO.to_metadata()) == INFO
    assert all(key.startswith(b"efrs.") for key in INFO.to_metadata())
    incomplete = INFO.to_metadata()
    del incomplete[b"efrs.pack_digest"]
    with pytest.raises(KeyError):
        TableInfo.from_metadata(incomplete)
