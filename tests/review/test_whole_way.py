"""The whole way without a person: label, sample, answer from the truth through the page, export, report, verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from audit.cli import main as audit_labels
from audit.review import run
from labeler.cli import main as label_images
from labeler.taxonomy import ATTRIBUTES, COLUMNS, FAIRFACE
from tests.packs import write_pack
from tests.review.desk import Hand, Server, paths_of, truth_of

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

pytest.importorskip("playwright", reason="playwright is not installed")
CHECKS = 300


@dataclass(frozen=True)
class Way:
    """What the way leads through, and what came out."""

    checked: Path
    audit: dict[str, Any]
    exit_code: int
    answered: int


def call(command: Any, *arguments: object, allowed: Sequence[int] = (0,)) -> int:
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code in allowed, done.output
    return int(done.exit_code)


def go(folder: Path, store: Path, truth: Path, context: BrowserContext, options: Sequence[object] = ()) -> Way:
    """Go the whole way."""
    labels, sheet, checked, audit = (folder / n for n in ("labels.parquet", "sheet.csv", "checked.csv", "audit.json"))
    call(label_images, store, "--out", labels, *options)
    call(audit_labels, "sample", labels, "--n", CHECKS, "--out", sheet)
    with Server([sheet], store) as server:
        hand = Hand(context, server)
        hand.enter("Anna")
        answered = hand.answer_all(paths_of(run.answers_beside(sheet)), truth_of(truth))
        assert hand.errors == []
    call(audit_labels, "review", sheet, "--export", checked)
    code = call(
        audit_labels, "report", labels, "--checked", checked, "--json", audit, "--margin", "0.15", allowed=(0, 1, 3)
    )
    return Way(checked, json.loads(audit.read_text(encoding="utf-8")), code, answered)


def expect(way: Way, truth: Path) -> None:
    """Check that every answer arrived, and that shares and verdict rest on them."""
    assert way.answered == CHECKS
    rows = pd.read_csv(way.checked, dtype=str, keep_default_na=False)
    true = pd.read_csv(truth, dtype=str, keep_default_na=False).set_index("path")
    assert len(rows) == CHECKS
    for column in COLUMNS.values():
        assert rows[column].tolist() == true.loc[rows["path"], column].tolist()
    shares = [record for record in way.audit["shares"] if record["grade"] == "verified"]
    for name in ATTRIBUTES:
        counted = true[COLUMNS[name]].value_counts(normalize=True)
        own = [record for record in shares if record["attribute"] == name and record["class"] in set(counted.index)]
        inside = [record["low"] <= counted[record["class"]] <= record["high"] for record in own]
        assert len(inside) >= 2
        assert np.mean(inside) >= 0.6
    assert way.audit["verdict"]["result"] in ("pass", "fail", "inconclusive")
    assert way.exit_code == {"pass": 0, "fail": 1, "inconclusive": 3}[way.audit["verdict"]["result"]]


def test_three_hundred_images_by_keyboard_alone_from_pictures_to_a_verdict(
    tmp_path: Path, context: BrowserContext
) -> None:
    rng = np.random.default_rng(5)
    store, lines = tmp_path / "store", [",".join(("path", *COLUMNS.values()))]
    store.mkdir()
    for number in range(420):
        cv2.imwrite(str(store / f"{number:03d}.png"), rng.integers(0, 256, (48, 48), np.uint8))
        labels = (str(rng.choice(FAIRFACE.classes[name])) for name in ATTRIBUTES)
        lines.append(",".join((f"{number:03d}.png", *labels)))
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(lines) + "\n")
    pack = write_pack(tmp_path / "pack")
    expect(go(tmp_path, store, truth, context, ("--models", pack)), truth)


def test_the_whole_way_on_real_photos(shared_data: Path, tmp_path: Path, context: BrowserContext) -> None:
    store = shared_data / "fairface" / "val"
    if not store.is_dir():
        pytest.skip("fairface/val is not here")
    rows = pd.read_csv(shared_data / "fairface" / "fairface_labels.csv", dtype=str)
    rows = rows[rows["file"].str.startswith("val/")]
    known = pd.DataFrame(
        {
            "path": rows["file"].str.removeprefix("val/"),
            "age_group": rows["age"],
            "gender": rows["gender"].str.lower(),
            "ethnicity": rows["race"],
        }
    )
    here = {path.name for path in store.iterdir()}
    truth = tmp_path / "truth.csv"
    known[known["path"].isin(here)].to_csv(truth, index=False)
    expect(go(tmp_path, store, truth, context), truth)
