"""The page of repeated experiments: its numbers are those of independent implementations, its pictures are SVG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed; install the extra [train]")

from labeler.errors import LabelerError
from labeler.taxonomy import UTKFACE
from tests.packs import write_pack
from training import reproduction
from training.cli import main
from training.metrics import Scored, roc_auc, spread_of_accuracy
from training.plots import groups_svg, roc_curve, roc_svg
from training.reproduction import PICTURES, precision_recall_f1, write_page


def random_scored(seed: int, n: int = 300) -> Scored:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    female = np.clip(0.5 + 0.3 * (truth - 0.5) + rng.normal(0, 0.2, n), 0.01, 0.99).round(2)
    return Scored(truth, np.stack([1 - female, female], axis=1))


def test_the_area_beneath_a_curve_is_the_metric() -> None:
    scored = random_scored(1)
    curve = roc_curve(scored.truth == 1, scored.probabilities[:, 1])
    area = float(np.sum(np.diff(curve[:, 0]) * (curve[1:, 1] + curve[:-1, 1]) / 2))
    assert area == pytest.approx(roc_auc(scored))


def test_precision_recall_and_f1_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    scored = random_scored(2)
    expected = metrics.precision_recall_fscore_support(scored.truth, scored.predicted, pos_label=1, average="binary")
    assert precision_recall_f1(scored, 1) == pytest.approx(expected[:3])


def test_the_interval_of_a_spread_holds_it() -> None:
    rng = np.random.default_rng(0)
    column = np.array(["a"] * 500 + ["b"] * 500, object)
    right = np.concatenate([rng.random(500) < 0.9, rng.random(500) < 0.7])
    value, low, high, n = spread_of_accuracy(right, column, ["a", "b", "nobody"])
    assert (low < value < high, n) == (True, 1000)
    assert np.isnan(spread_of_accuracy(right, column, ["a"])[0])
    # Resamples of groups that are alike are never quite alike.
    alike = np.tile(np.arange(500) < 400, 2)
    value, low, high, _ = spread_of_accuracy(alike, column, ["a", "b"])
    assert (value, low) == (0.0, 0.0)
    assert high > 0


def test_plots_are_well_formed_and_name_what_they_show() -> None:
    scored = random_scored(3)
    curves = {"one & only": roc_curve(scored.truth == 1, scored.probabilities[:, 1])}
    for text in (roc_svg(curves, "Curves"), groups_svg({"one & only": [0.9, float("nan"), 0.8]}, ["a", "b", "c"], "G")):
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert "one &amp; only" in text


def test_the_page_holds_a_row_for_each_model_and_part_and_says_what_is_published(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    labels = {name: rng.integers(0, len(UTKFACE.classes[name]), 300) for name in UTKFACE.classes}
    predictions = {
        name: {part: random_scored(seed) for part in ("train", "validation", "test")}
        for seed, name in enumerate(("logistic", "pack ours"))
    }
    page = write_page(predictions, labels, tmp_path).read_text(encoding="utf-8")
    assert page.count("| logistic | ") == 3 + 3 + 2
    assert "balanced accuracy 0.897" in page
    for name in ("roc.svg", "ethnicity.svg", "decade.svg"):
        assert f"({PICTURES}/{name})" in page
        assert (tmp_path / PICTURES / name).exists()


def utkface_csv(root: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    rows, splits = ["age,ethnicity,gender,img_name,pixels"], ["img_name,split"]
    for number in range(40):
        gender = number % 2
        pixels = np.clip(rng.integers(0, 120, 2304) + 100 * gender, 0, 255)
        rows.append(f"{20 + number},{number % 5},{gender},{number}.jpg,{' '.join(map(str, pixels))}")
        splits.append(f"{number}.jpg,{'val' if number >= 30 else 'train'}")
    (root / "age.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "splits.csv").write_text("\n".join(splits) + "\n", encoding="utf-8")
    return root / "age.csv", root / "splits.csv"


def test_one_command_trains_the_networks_and_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(reproduction, "EPOCHS", {"logistic": 1})
    monkeypatch.setattr(reproduction, "BATCH", 8)
    source, splits = utkface_csv(tmp_path)
    test = tmp_path / "test"
    test.mkdir()
    rng = np.random.default_rng(1)
    for number in range(12):
        picture = rng.integers(0, 256, (60, 60), dtype=np.uint8)
        cv2.imwrite(str(test / f"{10 + 5 * number}_{number % 2}_{number % 5}_{number}.png"), picture)
    pack = write_pack(tmp_path / "pack", taxonomy="utkface")
    call = ["reproduce", str(source), "--splits", str(splits), "--test", str(test), "--pack", str(pack)]
    call += ["--runs", str(tmp_path / "runs"), "--docs", str(tmp_path / "docs"), "--threads", "1"]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "docs/reproduction.md").read_text(encoding="utf-8")
    assert "30 train, 10 validation, 12 test pictures" in page
    assert "| pack tiny | test | 12 |" in page
    assert str(tmp_path) not in page


def test_a_pack_of_other_crops_cannot_stand_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labeler.pack import Pack

    pack = Pack.load(write_pack(tmp_path / "pack", colour="rgb"))
    with pytest.raises(LabelerError, match="takes other crops than 48×48 gray"):
        reproduction.pack_gender(pack, np.zeros((1, 1, 48, 48), np.uint8))
