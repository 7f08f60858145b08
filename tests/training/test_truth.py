"""Truth files: paths as a label table has them, labels as a pack writes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from training.cli import main

WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
from training.cli import main
main(sys.argv[1:], standalone_mode=False)
"""


def fairface_file(folder: Path, *rows: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("file,age,gender,race\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_a_split_is_kept_and_its_folder_stripped(tmp_path: Path) -> None:
    source = fairface_file(
        tmp_path, "train/1.jpg,0-2,Male,White", "val/10.jpg,more than 70,Female,Indian", "val/1.jpg,3-9,Male,Black"
    )
    out = tmp_path / "truth.csv"
    result = CliRunner().invoke(main, ["truth", "fairface", str(source), "--split", "val", "--out", str(out)])
    assert result.exit_code == 0
    assert "2 rows" in result.output
    assert out.read_text(encoding="utf-8") == (
        "path,age_group,gender,ethnicity,source\n"
        "1.jpg,3-9,male,Black,annotator\n"
        "10.jpg,more than 70,female,Indian,annotator\n"
    )


def test_utkface_gives_years_and_decades(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "26_1_2_2017 0112.jpg").touch()
    out = tmp_path / "truth.csv"
    assert CliRunner().invoke(main, ["truth", "utkface", str(folder), "--out", str(out)]).exit_code == 0
    row = pd.read_csv(out).loc[0].to_dict()
    assert row == {
        "path": "26_1_2_2017 0112.jpg",
        "age": 26,
        "age_group": "20-29",
        "gender": "female",
        "ethnicity": "Asian",
        "source": "annotator",
    }


def test_another_taxonomy_maps_what_has_one_counterpart_and_leaves_out_the_rest(tmp_path: Path) -> None:
    source = fairface_file(tmp_path, "val/1.jpg,3-9,Male,Middle Eastern", "val/2.jpg,3-9,Male,Southeast Asian")
    out = tmp_path / "truth.csv"
    call = ["truth", "fairface", str(source), "--out", str(out), "--taxonomy", "utkface"]
    assert CliRunner().invoke(main, call).exit_code == 0
    frame = pd.read_csv(out)
    assert list(frame.columns) == ["path", "gender", "ethnicity", "source"]
    assert frame["ethnicity"].tolist() == ["Others", "Asian"]

    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "71_0_4_2017.jpg").touch()
    call = ["truth", "utkface", str(folder), "--out", str(out), "--taxonomy", "fairface"]
    assert CliRunner().invoke(main, call).exit_code == 0
    frame = pd.read_csv(out)
    assert list(frame.columns) == ["path", "age", "age_group", "gender", "source"]
    assert frame["age_group"].tolist() == ["more than 70"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fairface", "none.csv", "--out", "truth.csv"], "none.csv: no such file"),
        (["fairface", "bad.csv", "--out", "truth.csv"], "bad.csv, row 2: age is '03-Sep'"),
        (["fairface", "good.csv", "--out", "no/truth.csv"], "the folder no does not exist"),
        (["utkface", "good.csv", "--split", "val", "--out", "truth.csv"], "--split val"),
        (["fairface", "good.csv", "--split", "test", "--out", "truth.csv"], "begins with test/"),
    ],
)
def test_a_bad_call_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("file,age,gender,race\nval/1.jpg,03-Sep,Male,White\n", encoding="utf-8")
    Path("good.csv").write_text("file,age,gender,race\nval/1.jpg,3-9,Male,White\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["truth", *arguments])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert not Path("truth.csv").exists()


def test_help_and_truth_work_without_torch(tmp_path: Path) -> None:
    source = fairface_file(tmp_path, "val/1.jpg,3-9,Male,Black")
    for arguments in (["--help"], ["truth", "fairface", str(source), "--out", str(tmp_path / "truth.csv")]):
        subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *arguments], check=True, capture_output=True)
    train = ["train", "fairface", str(source), "--out", str(tmp_path / "run")]
    result = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *train], check=False, capture_output=True, text=True)
    assert result.returncode == 2
    assert "[train]" in result.stderr
    assert result.stderr.count("\n") == 1
