"""Two audits of one store: which images are new, gone and labelled otherwise, and what stays withheld."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

from audit import population, turnover
from audit.cli import main
from labeler.taxonomy import ATTRIBUTES, FAIRFACE
from tests.audit.tables import information, make, write_labels
from tests.audit.test_result import SCHEMA


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_store(path: Path, names: list[str], seed: int) -> dict[str, str]:
    """Write a label table and return the gender that each image got."""
    rng = np.random.default_rng(seed)
    shares = {a: rng.dirichlet(np.ones(len(FAIRFACE.classes[a])), len(names)).astype(np.float32) for a in ATTRIBUTES}
    write_labels(path, information(), names, shares)
    best = shares["gender"].argmax(axis=1)
    return {name: FAIRFACE.classes["gender"][k] for name, k in zip(names, best.tolist(), strict=True)}


@pytest.mark.parametrize("batch", [7, 65_536])
@pytest.mark.parametrize(("old", "new"), [(60, 80), (0, 30), (30, 0), (0, 0), (50, 50)])
def test_new_gone_and_moved_images_are_those_of_comparing_all_with_all(
    old: int, new: int, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(population, "BATCH", batch)
    rng = np.random.default_rng(old + new)
    names = [f"{k % 3}/ä{k:03d}.jpg" for k in range(100)]
    before = write_store(tmp_path / "old.parquet", sorted(rng.choice(names, old, replace=False).tolist()), 1)
    after = write_store(tmp_path / "new.parquet", sorted(rng.choice(names, new, replace=False).tolist()), 2)
    found = turnover.compare(tmp_path / "old.parquet", tmp_path / "new.parquet")
    assert found.new_names == sorted(after.keys() - before.keys())[: turnover.NAMED]
    assert found.gone_names == sorted(before.keys() - after.keys())[: turnover.NAMED]
    both = before.keys() & after.keys()
    assert (found.new, found.gone, found.kept) == (len(after) - len(both), len(before) - len(both), len(both))
    pairs = [(before[name], after[name]) for name in both]
    classes = FAIRFACE.classes["gender"]
    assert found.moves["gender"].tolist() == [[pairs.count((a, b)) for b in classes] for a in classes]


def test_few_images_that_changed_class_are_not_counted_out(tmp_path: Path) -> None:
    found = turnover.Turnover(classes={"gender": ("male", "female")}, moves={"gender": np.array([[50, 3], [40, 60]])})
    counts = [record["count"] for record in found.document(10)["relabelled"]]
    assert counts == [None, None]
    assert [record["count"] for record in found.document(2)["relabelled"]] == [3, 40]


def test_a_report_tells_what_changed_since_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = make(tmp_path / "old", n=300), make(tmp_path / "new", n=340, failures=["zz/<b>new.jpg"])
    first, second, page = tmp_path / "first.json", tmp_path / "second.json", tmp_path / "page.html"
    assert call("report", old.labels, "--json", first).exit_code == 0
    done = call(
        "report", new.labels, "--json", second, "--out", page, "--previous", first, "--previous-labels", old.labels
    )
    assert done.exit_code == 0, done.output
    document = json.loads(second.read_text())
    jsonschema.validate(document, SCHEMA)
    change = document["change"]
    assert (change["images"]["new"], change["images"]["gone"], change["images"]["kept"]) == (41, 0, 300)
    assert document["provenance"]["previous"]["file"] == "first.json"
    text = page.read_text()
    assert "Change since the last audit" in text
    assert "Images between the two audits" in text
    withheld = {
        (r["attribute"], r["class"])
        for r in json.loads(first.read_text())["shares"]
        if (r["grade"], r["status"]) == ("raw", "suppressed")
    }
    still = {(r["attribute"], r["class"]) for r in document["shares"] if r["status"] == "suppressed"}
    assert withheld <= still


def test_diff_names_the_images_where_it_has_both_tables(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = make(tmp_path / "old", n=60), make(tmp_path / "new", n=90)
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    call("report", old.labels, "--json", first)
    call("report", new.labels, "--json", second)
    plain = call("diff", first, second)
    assert "give both label tables" in plain.stdout
    named = call("diff", first, second, "--old-labels", old.labels, "--new-labels", new.labels)
    assert "30 new images, 0 images gone, 60 kept." in named.stdout
    assert "new: and 10 more" in named.stdout
    half = call("diff", first, second, "--old-labels", old.labels)
    assert (half.exit_code, half.stderr.count("\n")) == (2, 1)
    alone = call("report", new.labels, "--json", tmp_path / "x.json", "--previous-labels", old.labels)
    assert alone.exit_code == 2
