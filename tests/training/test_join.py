"""Two runs side by side: their mean, as one run that can be exported, restored and read like any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed; install the extra [train]")

from labeler.errors import LabelerError  # noqa: E402 (only where torch is there)
from tests.training.noise import SETTINGS, noise_data  # noqa: E402
from training.cli import main  # noqa: E402
from training.export import Options, export_pack, onnx_bytes  # noqa: E402
from training.join import join_runs  # noqa: E402
from training.quantise import VARIANTS, batches_of, network_outputs, quantise  # noqa: E402
from training.restore import restore_run  # noqa: E402
from training.sources import TrainingData  # noqa: E402
from training.train import Run, crop_logits  # noqa: E402
from training.trained import read_trained  # noqa: E402


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return noise_data()


@pytest.fixture(scope="module")
def runs(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train one epoch of each network."""
    folder = tmp_path_factory.mktemp("runs")
    Run(data, SETTINGS, folder / "first").train()
    Run(data, replace(SETTINGS, network="residual-mirrored", seed=1), folder / "second").train()
    return folder


@pytest.fixture(scope="module")
def both(runs: Path) -> Path:
    """Lay the two networks side by side."""
    join_runs(read_trained(runs / "first"), read_trained(runs / "second"), runs / "both")
    return runs / "both"


def test_the_command_joins_two_runs_into_one_that_says_their_mean(runs: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(
        main,
        ["join", str(runs / "first"), str(runs / "second"), "--out", str(tmp_path / "both")],
        catch_exceptions=False,
    )
    assert told.exit_code == 0
    assert "validation_loss" in told.output
    first, second, both = (read_trained(path) for path in (runs / "first", runs / "second", tmp_path / "both"))
    assert both.settings.network == "residual-pair"
    assert both.settings.init == "first,second"
    assert both.sources == second.sources
    assert both.crops is not None
    logits = crop_logits(both.answers(), both.crops)
    one, other = (crop_logits(run.answers(), both.crops) for run in (first, second))
    for name, values in logits.items():
        assert np.allclose(values, (one[name] + other[name]) / 2, atol=1e-5)
        assert np.allclose(values, both.logits[name], atol=1e-5)
        assert not np.allclose(values, one[name], atol=1e-3)


def test_a_joined_run_can_be_exported_and_restored(both: Path, data: TrainingData, tmp_path: Path) -> None:
    joined = read_trained(both)
    export_pack(joined, tmp_path / "p", name="p", version="1", description="", options=Options())
    restore_run(tmp_path / "p", data, tmp_path / "again")
    again = read_trained(tmp_path / "again")
    assert again.crops is not None
    for name, values in crop_logits(again.answers(), again.crops).items():
        assert np.abs(values - joined.logits[name]).max() < 1e-4


def test_int8_leaves_the_first_convolution_of_both_networks_as_it_is(both: Path) -> None:
    joined = read_trained(both)
    assert joined.crops is not None
    content = onnx_bytes(joined.answers(), 1, 16, 16)
    small = quantise(content, batches_of(joined.crops), next(iter(VARIANTS)))
    nodes = onnx.load_from_string(small).graph.node
    rounded = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    kept = [node for node in nodes if node.op_type in ("Conv", "Gemm") and rounded.isdisjoint(node.input)]
    assert [node.op_type for node in kept] == ["Conv", "Conv", "Gemm", "Gemm", "Gemm"]
    exact, near = network_outputs(content, joined.crops), network_outputs(small, joined.crops)
    assert all(np.abs(near[name] - values).max() < 0.1 * np.ptp(values) for name, values in exact.items())


def test_runs_that_do_not_fit_are_refused(runs: Path, data: TrainingData, tmp_path: Path) -> None:
    first, second = read_trained(runs / "first"), read_trained(runs / "second")
    with pytest.raises(LabelerError, match="join a run of residual and"):
        join_runs(second, first, tmp_path / "x")
    coloured = replace(first, settings=replace(first.settings, margin=1.5))
    with pytest.raises(LabelerError, match="first: other crops than second"):
        join_runs(coloured, second, tmp_path / "x")
    labels = {name: values[::-1] for name, values in first.labels.items()}
    with pytest.raises(LabelerError, match="other validation pictures"):
        join_runs(replace(first, labels=labels), second, tmp_path / "x")
