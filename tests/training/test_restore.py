"""A pack as a run again: the same weights, whatever the export made of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed; install the extra [train]")

from labeler.errors import LabelerError  # noqa: E402 (only where torch is there)
from tests.packs import write_pack  # noqa: E402
from tests.training.noise import SETTINGS, noise_data  # noqa: E402
from training.cli import main  # noqa: E402
from training.export import Options, export_pack  # noqa: E402
from training.parallel import as_input  # noqa: E402
from training.restore import restore_run  # noqa: E402
from training.sources import TrainingData  # noqa: E402
from training.train import Run, crop_logits  # noqa: E402
from training.trained import Trained, read_trained  # noqa: E402


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return noise_data()


@pytest.fixture(scope="module", params=["residual", "residual-mirrored"])
def trained(request: pytest.FixtureRequest, data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train one epoch."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    Run(data, replace(SETTINGS, network=request.param), folder).train()
    return read_trained(folder)


@pytest.mark.parametrize(("int8", "flip"), [("never", False), ("never", True), ("auto", False)])
def test_a_restored_pack_has_the_weights_of_its_run(
    trained: Trained, data: TrainingData, tmp_path: Path, int8: str, flip: bool
) -> None:
    options = Options(flip=flip, int8=int8)
    document = export_pack(trained, tmp_path / "p", name="p", version="1", description="", options=options)
    restore_run(tmp_path / "p", data, tmp_path / "run")
    again = read_trained(tmp_path / "run")
    assert again.settings == trained.settings
    assert again.sources == trained.sources
    assert again.crops is not None
    assert trained.crops is not None
    assert np.array_equal(again.crops, trained.crops)
    apart = 1e-4 if document["training"]["precision"] == "float32" else 0.2
    logits = crop_logits(again.answers(), again.crops)
    for name, values in trained.logits.items():
        assert np.abs(values - logits[name]).max() < apart
        assert np.array_equal(again.labels[name], trained.labels[name])


def test_training_goes_on_from_what_the_pack_does(trained: Trained, data: TrainingData, tmp_path: Path) -> None:
    export_pack(trained, tmp_path / "p", name="p", version="1", description="")
    restore_run(tmp_path / "p", data, tmp_path / "run")
    network = read_trained(tmp_path / "run").network
    assert trained.crops is not None
    crops = as_input(trained.crops)
    with torch.no_grad():
        ready = network.eval()(crops)["gender"]
        learning = network.train()(crops)["gender"]
    # A batch has means and variances of its own, near to those that the layers were given.
    assert float((ready - learning).abs().mean()) < 0.3 * float(ready.std())


def test_a_restored_run_can_be_trained_on(trained: Trained, data: TrainingData, tmp_path: Path) -> None:
    export_pack(trained, tmp_path / "p", name="p", version="1", description="")
    restore_run(tmp_path / "p", data, tmp_path / "run")
    again = read_trained(tmp_path / "run")
    settings = replace(again.settings, seed=1)
    Run(data, settings, tmp_path / "next", init=again, teachers=[again]).train()
    assert read_trained(tmp_path / "next").settings.init == "run"


def test_a_pack_that_was_not_trained_here_is_refused(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(LabelerError, match=r"pack\.json.*how it was trained"):
        restore_run(write_pack(tmp_path / "p"), data, tmp_path / "run")


def test_another_network_than_the_manifest_names_is_refused(
    trained: Trained, data: TrainingData, tmp_path: Path
) -> None:
    export_pack(trained, tmp_path / "p", name="p", version="1", description="")
    path = tmp_path / "p" / "pack.json"
    document = json.loads(path.read_text())
    document["training"]["settings"]["network"] = "logistic"
    path.write_text(json.dumps(document))
    with pytest.raises(LabelerError, match=r"labels\.onnx"):
        restore_run(tmp_path / "p", data, tmp_path / "run")


def test_the_command_restores_by_a_cut_that_does_not_depend_on_the_faces_found(
    shared_data: Path, tmp_path: Path
) -> None:
    labels = shared_data / "fairface" / "fairface_labels.csv"
    lines = labels.read_text().splitlines()
    training = [line for line in lines[1:] if line.startswith("train/")][:60]
    source = tmp_path / "labels.csv"
    source.write_text("\n".join([lines[0], *training]) + "\n")
    (tmp_path / "train").symlink_to(labels.parent / "train")
    splits = tmp_path / "splits.csv"
    names = [line.split(",")[0] for line in training]
    rows = [f"{name},{'val' if k % 4 == 0 else 'train'}" for k, name in enumerate(names)]
    splits.write_text("\n".join(["img_name,split", *rows]) + "\n")
    asked = [
        "restore",
        "models/fairface",
        "fairface",
        str(source),
        "--splits",
        str(splits),
        "--out",
        str(tmp_path / "r"),
    ]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    assert len(read_trained(tmp_path / "r").labels["gender"]) == 15
