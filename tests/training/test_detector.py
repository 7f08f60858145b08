"""The shipped face detector is what the command makes of the published network."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from labeler.detector import Detector
from labeler.errors import LabelerError
from labeler.pack import models_folder

detector = pytest.importorskip("training.detector")


def test_the_command_makes_the_shipped_detector(shared_data: Path, tmp_path: Path) -> None:
    from training.cli import main

    published = shared_data.parent / "models" / "yunet.onnx"
    if not published.exists():
        pytest.skip("the published network is not there")
    folder = tmp_path / "models" / "yunet"
    shutil.copytree(models_folder() / "yunet", folder)
    (folder / "yunet.onnx").unlink()
    result = CliRunner().invoke(main, ["detector", str(published), "--out", str(folder)])
    assert result.exit_code == 0, result.output
    shipped = onnx.load(models_folder() / "yunet" / "yunet.onnx")
    assert onnx.load(folder / "yunet.onnx").graph == shipped.graph
    assert Detector.load(folder) is not None


def test_another_network_is_refused(tmp_path: Path) -> None:
    other = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    with pytest.raises(LabelerError, match="not built like YuNet"):
        detector.merge_heads(other)
    with pytest.raises(LabelerError, match="check both paths"):
        detector.write_detector(str(tmp_path / "missing.onnx"), str(tmp_path))
