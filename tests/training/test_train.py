"""Training and export, on tiny pictures: resumption, settings, and the same numbers in torch and onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed; install the extra [train]")

from torch import Tensor  # noqa: E402 (only where torch is there)

from labeler.errors import LabelerError  # noqa: E402
from labeler.faces import TEMPLATE  # noqa: E402
from labeler.pack import Pack, softmax  # noqa: E402
from labeler.taxonomy import ATTRIBUTES, FAIRFACE, UTKFACE  # noqa: E402
from training.average import average_runs  # noqa: E402
from training.batches import Batch, mixed, training_batches  # noqa: E402
from training.cli import main  # noqa: E402
from training.export import Options, export_pack, onnx_bytes  # noqa: E402
from training.networks import (  # noqa: E402
    NETWORKS,
    Answers,
    NormaliseContrast,
    Shape,
    build,
    parameter_count,
    rounded,
    start_rounding,
)
from training.objective import Objective, Teachers, disagreement, soft_cross_entropy, target_tables  # noqa: E402
from training.parallel import Replicas, as_input  # noqa: E402
from training.pictures import Pictures, Pixels, cut, whole_pictures  # noqa: E402
from training.quantise import SHIFTS, VARIANTS, Loss, loss_of, shifted  # noqa: E402
from training.settings import Settings, read_settings  # noqa: E402
from training.sources import TrainingData  # noqa: E402
from training.train import (  # noqa: E402
    Run,
    cut_validation,
    learning_rate,
    sampling_weights,
)
from training.trained import read_trained  # noqa: E402
from training.years import expected_years, group_log_probabilities, year_numbers, year_targets  # noqa: E402

CLASSES = {name: len(FAIRFACE.classes[name]) for name in ATTRIBUTES}
TINY = Settings(
    network="logistic", width=12, height=12, framing="whole", epochs=3, batch=8, validation=10, mixed_precision=False
)
RESEARCH = {"name": "UTKFace", "licence": "research use only, non-commercial", "url": "https://example.org"}
SOURCE = {"name": "Tiny", "licence": "CC0-1.0", "url": "https://example.org"}


def tiny_data(count: int = 40) -> TrainingData:
    rng = np.random.default_rng(3)
    labels = {name: rng.integers(0, size, count) for name, size in CLASSES.items()}
    pixels = rng.integers(0, 256, (count, 24, 24), dtype=np.uint8)
    pixels[:, :12] = (pixels[:, :12] // 4) + 180 * labels["gender"][:, None, None].astype(np.uint8)
    return TrainingData(whole_pictures(pixels), labels, FAIRFACE, [SOURCE])


def plain_pixels(pictures: Pictures, side: int) -> Pixels:
    return np.stack([cut(pictures.pixels[i], pictures.frames[i], side, side) for i in range(len(pictures))])


@pytest.mark.parametrize(("name", "count"), [("cnn-128", 728_194), ("cnn-1024", 5_375_746), ("cnn-128-128", 744_706)])
def test_the_published_networks_have_as_many_parameters_as_published(name: str, count: int) -> None:
    assert parameter_count(build(name, Shape(48, 48, 1, {"gender": 2}))) == count


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_gives_the_same_in_torch_and_onnxruntime(name: str, tmp_path: Path) -> None:
    import onnxruntime

    torch.manual_seed(0)
    network = build(name, Shape(48, 48, 1, CLASSES)).train()
    crops = np.random.default_rng(0).integers(0, 256, (5, 1, 48, 48), dtype=np.uint8)
    network(as_input(crops))
    network.eval()
    content = onnx_bytes(Answers(network), 1, 48, 48)
    assert content == onnx_bytes(Answers(network), 1, 48, 48)
    assert str(Path.cwd()).encode() not in content
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    inputs = (crops / np.float32(255)).astype(np.float32)
    outputs = session.run(list(ATTRIBUTES), {"crops": inputs})
    with torch.inference_mode():
        expected = network(torch.from_numpy(inputs))
    for attribute, values in zip(ATTRIBUTES, outputs, strict=True):
        assert values.shape == (5, CLASSES[attribute])
        np.testing.assert_allclose(values, expected[attribute].numpy(), atol=1e-4)


def test_contrast_and_brightness_hardly_change_what_the_residual_network_sees() -> None:
    torch.manual_seed(0)
    normalise = NormaliseContrast()
    crop = torch.rand(1, 1, 48, 48)
    assert torch.allclose(normalise(0.5 * crop + 0.3), normalise(crop), atol=0.15)
    assert torch.isfinite(normalise(torch.zeros(1, 1, 48, 48))).all()


def test_an_unknown_network_is_refused_by_name() -> None:
    with pytest.raises(LabelerError, match="--network resnet"):
        build("resnet", Shape(48, 48, 1, CLASSES))


@pytest.mark.parametrize("network", ["logistic", "residual"])
def test_a_resumed_run_ends_with_the_same_weights_as_an_undisturbed_one(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    settings = replace(TINY, network=network)
    data = tiny_data()
    whole = Run(data, settings, tmp_path / "whole")
    whole.train()

    class StoppedError(Exception):
        pass

    first = Run(data, settings, tmp_path / "parts")
    epoch = first._epoch

    def stops_in_second(number: int, *, progress: bool) -> dict[str, float]:
        if number == 1:
            raise StoppedError
        return epoch(number, progress=progress)

    monkeypatch.setattr(first, "_epoch", stops_in_second)
    with pytest.raises(StoppedError):
        first.train()
    second = Run(data, settings, tmp_path / "parts")
    assert len(second.history) == 1
    second.train()
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, second.average.state_dict()[name]), name
    assert [row["validation_loss"] for row in whole.history] == [row["validation_loss"] for row in second.history]


WITH_YEARS = replace(TINY, age_years=True)


def data_with_years(count: int = 40) -> TrainingData:
    ages = np.random.default_rng(5).integers(0, 117, count).astype(np.float32)
    plain = tiny_data(count)
    groups = np.minimum(ages // 10, 8).astype(np.int64)
    ethnicity = plain.labels["ethnicity"] % 5
    labels = dict(plain.labels) | {"age": groups, "ethnicity": ethnicity}
    return replace(plain, labels=labels, taxonomy=UTKFACE, years=ages, sources=[RESEARCH])


def test_a_run_starts_from_the_trunk_of_another_and_from_heads_that_mean_the_same(tmp_path: Path) -> None:
    settings = replace(TINY, network="residual", epochs=1)
    Run(tiny_data(), settings, tmp_path / "first").train()
    first = read_trained(tmp_path / "first")
    run = Run(data_with_years(), replace(settings, age_years=True), tmp_path / "second", init=first)
    mine, theirs = run.network.state_dict(), first.network.state_dict()
    same = {name for name, value in mine.items() if value.shape == theirs[name].shape and value.equal(theirs[name])}
    assert {name for name in mine if name.startswith("trunk.")} <= same
    assert {name for name in mine if name.startswith("heads.")} & same == {"heads.gender.weight", "heads.gender.bias"}
    assert [source["name"] for source in run.sources] == ["UTKFace", "Tiny"]
    assert read_settings(tmp_path / "second/settings.json").init == "first"


@pytest.mark.parametrize("extra", [{"mix_up": 0.4}, {"agreement": 1.0}])
def test_a_resumed_run_with_teachers_and_mixed_or_paired_crops_is_exact(tmp_path: Path, extra: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    Run(tiny_data(), replace(TINY, epochs=1), tmp_path / "first").train()
    first = read_trained(tmp_path / "first")
    settings = replace(TINY, epochs=2, **extra)
    whole = Run(tiny_data(), settings, tmp_path / "whole", init=first, teachers=[first])
    whole.train()
    part = Run(tiny_data(), settings, tmp_path / "part", init=first, teachers=[first])
    row = part._epoch(0, progress=False)
    logits = part._validation_logits()
    part.history.append(row | part._validate(logits))
    part._save_best(logits)
    part._save_last()
    again = Run(tiny_data(), settings, tmp_path / "part", init=first, teachers=[first])
    assert len(again.history) == 1
    again.train()
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, again.average.state_dict()[name]), name


def test_weights_that_have_seen_the_validation_pictures_are_refused(tmp_path: Path) -> None:
    Run(tiny_data(), replace(TINY, epochs=1), tmp_path / "first").train()
    first = read_trained(tmp_path / "first")
    with pytest.raises(LabelerError, match="are for validation here"):
        Run(tiny_data(), replace(TINY, seed=2), tmp_path / "second", init=first)


def test_a_trunk_of_another_make_is_refused_by_name(tmp_path: Path) -> None:
    Run(tiny_data(), replace(TINY, network="residual", epochs=1), tmp_path / "first").train()
    with pytest.raises(LabelerError, match="--init first: its network residual has another shape than multitask-cnn"):
        Run(tiny_data(), replace(TINY, network="multitask-cnn"), tmp_path / "x", init=read_trained(tmp_path / "first"))


def test_a_teacher_may_see_larger_crops_in_colour_and_more_around_the_face(tmp_path: Path) -> None:
    gray = tiny_data()
    colour = replace(gray, pictures=whole_pictures(np.repeat(gray.pictures.pixels[..., None], 3, axis=3)))
    aligned = replace(TINY, network="residual", framing="landmarks", epochs=1)
    Run(gray, aligned, tmp_path / "first").train()
    finer = replace(aligned, network="residual-fine", colour="rgb", width=24, height=24, margin=1.5)
    Run(colour, finer, tmp_path / "fine", init=read_trained(tmp_path / "first")).train()
    teacher = read_trained(tmp_path / "fine")
    run = Run(gray, aligned, tmp_path / "taught", teachers=[teacher], lessons=[colour.pictures])
    crops = np.moveaxis(plain_pixels(colour.pictures.widened(1.5), 24), 3, 1)
    with torch.inference_mode():
        views = [teacher.network(as_input(np.ascontiguousarray(view))) for view in (crops, crops[..., ::-1])]
        expected = torch.stack([torch.softmax(view["age"] / 2, dim=1) for view in views]).mean(dim=0)
    torch.testing.assert_close(run.objective.taught["age"], expected, atol=1e-5, rtol=1e-4)
    document = export_pack(teacher, tmp_path / "pack", name="x", version="1", description="x")
    eyes = [point[0] for point in document["input"]["framing"]["points"][:2]]
    assert eyes[1] - eyes[0] == pytest.approx((TEMPLATE[1][0] - TEMPLATE[0][0]) / 1.5)


def test_a_wider_crop_keeps_its_centre() -> None:
    pictures = whole_pictures(np.zeros((1, 24, 24), np.uint8))
    wide = pictures.widened(2.0).frames[0]
    np.testing.assert_allclose(wide @ [0.5, 0.5, 1], [12, 12])
    np.testing.assert_allclose(wide @ [0, 1, 1], [-12, 36])


def test_a_network_that_rounds_gives_nearly_the_same_and_learns_all_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build("residual", Shape(16, 16, 1, CLASSES)).eval()
    crops = torch.rand(8, 1, 16, 16)
    with torch.inference_mode():
        exact = network(crops)["age"]
        start_rounding(network)
        near = network(crops)["age"]
    assert 0 < float((near - exact).abs().max()) < 0.05 * float(exact.abs().max())
    Run(tiny_data(), replace(TINY, network="residual", epochs=1), tmp_path / "first").train()
    first = read_trained(tmp_path / "first")
    run = Run(tiny_data(), replace(TINY, network="residual", epochs=1, rounding=True), tmp_path / "run", init=first)
    run.train()
    moved = run.network.state_dict()["trunk.3.body.0.0.weight"] - first.network.state_dict()["trunk.3.body.0.0.weight"]
    assert float(moved.abs().max()) > 0


def test_rounding_has_256_steps_and_keeps_0_and_the_gradient() -> None:
    values = torch.linspace(-1.0, 3.0, 4001, requires_grad=True)
    found = rounded(values)
    assert len(set(found.tolist())) <= 256
    assert float((found - values).detach().abs().max()) <= 0.5 * 4 / 255 + 1e-6
    assert float(rounded(torch.tensor([0.0, 0.3, 7.0]))[0]) == 0.0
    torch.autograd.backward(found.sum())
    assert values.grad is not None
    assert float(values.grad.min()) == 1.0


def test_the_average_of_runs_is_a_run_of_their_mean_weights(tmp_path: Path) -> None:
    settings = replace(TINY, network="residual", epochs=1)
    Run(tiny_data(), settings, tmp_path / "first").train()
    first = read_trained(tmp_path / "first")
    Run(tiny_data(), settings, tmp_path / "second", init=first).train()
    states = [read_trained(tmp_path / name).network.state_dict() for name in ("first", "second")]
    result = CliRunner().invoke(
        main, ["average", str(tmp_path / "first"), str(tmp_path / "second"), "--out", str(tmp_path / "mean")]
    )
    assert result.exit_code == 0, result.output
    mean = read_trained(tmp_path / "mean")
    for name, value in mean.network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (states[0][name] + states[1][name]) / 2)
    assert mean.settings.init == "first,second"
    assert mean.crops is not None
    export_pack(mean, tmp_path / "pack", name="x", version="1", description="x")
    Run(tiny_data(), replace(settings, seed=2), tmp_path / "other").train()
    with pytest.raises(LabelerError, match="other: other validation pictures than first"):
        average_runs([read_trained(tmp_path / "other"), first], tmp_path / "x")
    with pytest.raises(LabelerError, match="two or more runs"):
        average_runs([first], tmp_path / "x")


def test_mixed_crops_lean_towards_their_own_picture_and_meet_another_group() -> None:
    groups = np.array([0, 0, 1, 1])
    crops = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1) * 60
    batch = mixed(Batch(crops, np.arange(4)), groups, 0.5, np.random.default_rng(0))
    assert batch.partners is not None
    assert batch.shares is not None
    assert (groups[batch.partners] != groups).all()
    assert (batch.shares >= 0.5).all()
    expected = batch.shares * crops.ravel() + (1 - batch.shares) * crops.ravel()[batch.partners]
    np.testing.assert_allclose(batch.crops.ravel(), expected, atol=0.5)


def test_teachers_average_over_themselves_and_the_mirror_image() -> None:
    torch.manual_seed(0)
    networks = [build("logistic", Shape(12, 12, 1, CLASSES)).eval() for _ in range(2)]
    crops = torch.rand(3, 1, 12, 12)
    teachers = Teachers(networks, [{"gender"}, {"gender", "age"}], 2.0, flip=True, mixed_precision=False)
    found = teachers.targets([crops, crops])
    assert set(found) == {"gender", "age"}
    with torch.inference_mode():
        views = [network(view)["gender"] / 2 for network in networks for view in (crops, crops.flip(3))]
        expected = torch.stack([torch.softmax(view, dim=1) for view in views]).mean(dim=0)
    torch.testing.assert_close(found["gender"], expected)


def test_years_add_up_to_decades_and_their_mean_is_the_expected_age() -> None:
    logits = torch.full((1, 101), -50.0)
    logits[0, 29] = logits[0, 31] = 0.0
    groups = UTKFACE.classes["age"]
    probabilities = group_log_probabilities(logits, groups).exp()[0]
    assert probabilities[[2, 3]].tolist() == pytest.approx([0.5, 0.5])
    assert float(probabilities.sum()) == pytest.approx(1.0)
    assert float(expected_years(logits)) == pytest.approx(30.0)
    assert year_numbers(np.array([116.0, 0.5])).tolist() == [100, 0]
    table = year_targets(2.5)
    torch.testing.assert_close(table.sum(dim=1), torch.ones(101))
    assert table[40].argmax() == 40


def test_a_pack_of_years_gives_decades_and_expected_age_and_says_that_it_is_for_research(tmp_path: Path) -> None:
    data = data_with_years()
    Run(data, replace(WITH_YEARS, epochs=1), tmp_path / "run").train()
    trained = read_trained(tmp_path / "run")
    points = [(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)]
    document = export_pack(
        trained, tmp_path / "pack", name="tiny", version="1", description="For a test.", options=Options(points=points)
    )
    assert document["licence"] == RESEARCH["licence"]
    assert "non-commercial research only" in document["notice"]
    assert document["input"]["framing"] == {"kind": "landmarks", "points": [list(point) for point in points]}
    prediction = Pack.load(tmp_path / "pack").predict(data.pictures.pixels[:3, :12, :12])
    with torch.inference_mode():
        answers = trained.answers()(as_input(data.pictures.pixels[:3, None, :12, :12].copy()))
    np.testing.assert_allclose(prediction.years, answers["age_years"].numpy(), rtol=1e-3)


def test_ages_in_years_need_data_that_has_them(tmp_path: Path) -> None:
    with pytest.raises(LabelerError, match="no ages in years"):
        Run(tiny_data(), WITH_YEARS, tmp_path)


def test_a_network_of_one_attribute_trains_but_is_no_pack(tmp_path: Path) -> None:
    run = Run(tiny_data(), replace(TINY, attributes="gender", epochs=1), tmp_path / "run")
    run.train()
    assert set(run.network.heads) == {"gender"}
    with pytest.raises(LabelerError, match="did not learn age, ethnicity"):
        export_pack(read_trained(tmp_path / "run"), tmp_path / "pack", name="x", version="1", description="x")


def test_the_mirror_image_counts_half_where_it_is_asked_for(tmp_path: Path) -> None:
    Run(tiny_data(), replace(TINY, epochs=1), tmp_path / "run").train()
    trained = read_trained(tmp_path / "run")
    export_pack(trained, tmp_path / "pack", name="x", version="1", description="x", options=Options(flip=True))
    crops = np.random.default_rng(0).integers(0, 256, (4, 12, 12), dtype=np.uint8)
    pack = Pack.load(tmp_path / "pack")
    mirrored = pack.predict(np.ascontiguousarray(crops[:, :, ::-1]))
    np.testing.assert_allclose(pack.predict(crops).probabilities["age"], mirrored.probabilities["age"], atol=1e-6)


def test_int8_is_measured_on_validation_pictures_and_shipped_only_where_it_is_as_good(tmp_path: Path) -> None:
    Run(tiny_data(), replace(TINY, network="residual", epochs=1), tmp_path / "run").train()
    trained = read_trained(tmp_path / "run")
    document = export_pack(
        trained, tmp_path / "pack", name="x", version="1", description="x", options=Options(int8="auto")
    )
    report = document["training"]["int8"]
    assert report["variant"] in VARIANTS
    assert report["bytes"]["int8"] < 0.5 * report["bytes"]["float32"]
    small = document["training"]["precision"] == "int8"
    assert small == report["chosen"]
    assert document["files"]["labels.onnx"]["bytes"] == report["bytes"]["int8" if small else "float32"]
    (tmp_path / "run/validation.npz").unlink()
    with pytest.raises(LabelerError, match=r"kept no validation\.npz"):
        export_pack(
            read_trained(tmp_path / "run"), tmp_path, name="x", version="1", description="x", options=Options(flip=True)
        )


def test_crops_are_moved_by_whole_pixels_and_come_first_as_they_are() -> None:
    crops = np.arange(2 * 5 * 6, dtype=np.uint8).reshape(2, 1, 5, 6)
    views = shifted(crops).reshape(len(SHIFTS), 2, 1, 5, 6)
    assert np.array_equal(views[0], crops)
    for view, (right, down) in zip(views[1:], SHIFTS[1:], strict=True):
        assert np.array_equal(view[:, :, 1:-1, 1:-1], np.roll(crops, (down, right), (2, 3))[:, :, 1:-1, 1:-1])
        assert np.array_equal(view[:, :, 2, 5 if right < 0 else 0], crops[:, :, 2 - down, 5 if right < 0 else 0])


def test_the_loss_of_int8_is_that_of_the_worst_group_of_many_pictures() -> None:
    labels = {"age": np.zeros(400, np.int64), "gender": np.repeat([0, 1], 200), "ethnicity": np.zeros(400, np.int64)}
    right = {name: np.eye(2, dtype=np.float32)[values] for name, values in labels.items()}
    wrong = {name: values.copy() for name, values in right.items()}
    wrong["gender"][:4] = [0.0, 1.0]
    loss = loss_of(right, wrong, labels)
    assert loss.overall == {"age": 0.0, "gender": 0.01, "ethnicity": 0.0}
    assert loss.worst_group["gender"] == pytest.approx(0.02)
    assert not loss.acceptable
    assert loss_of(right, right, labels).acceptable


def test_the_cost_of_int8_is_the_largest_loss_against_what_is_allowed() -> None:
    assert Loss({"age": 0.001}, {"age": 0.008}).cost == pytest.approx(0.8)
    assert Loss({"age": 0.003}, {"age": 0.0}).acceptable
    assert not Loss({"age": 0.0, "gender": 0.0031}, {"age": -0.01, "gender": 0.0}).acceptable
    assert Loss({"age": -0.01}, {"age": -0.02}).cost < 0


def test_a_run_leaves_settings_history_curves_and_checkpoints(tmp_path: Path) -> None:
    Run(tiny_data(), TINY, tmp_path / "run").train()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "settings.json",
        "history.csv",
        "curves.svg",
        "validation.npz",
        "last.pt",
        "best.pt",
    }
    assert read_settings(tmp_path / "run/settings.json") == TINY


def test_a_folder_with_other_settings_is_not_continued(tmp_path: Path) -> None:
    Run(tiny_data(), TINY, tmp_path)
    with pytest.raises(LabelerError, match=r"other settings \(epochs\)"):
        Run(tiny_data(), replace(TINY, epochs=9), tmp_path)


def test_training_stops_where_validation_no_longer_improves(tmp_path: Path) -> None:
    run = Run(tiny_data(), replace(TINY, patience=1, epochs=50, learning_rate=1e-9), tmp_path)
    run.history = [{"validation_loss": 1.0}, {"validation_loss": 1.5}]
    assert run.finished
    run.history = [{"validation_loss": 1.5}, {"validation_loss": 1.0}]
    assert not run.finished


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"torn")
    with pytest.raises(LabelerError, match=r"best\.pt: a damaged checkpoint"):
        read_trained(tmp_path)
    with pytest.raises(LabelerError, match="train at least one epoch"):
        read_trained(tmp_path / "none")


def test_replicas_give_the_gradient_of_one_network() -> None:
    torch.manual_seed(0)
    network = build("logistic", Shape(12, 12, 1, CLASSES))
    data = tiny_data(9)
    tables = target_tables(CLASSES, 0.1, 0.5)
    labels = {name: torch.from_numpy(values) for name, values in data.labels.items()}

    def loss(outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        indices = torch.from_numpy(batch.indices)
        losses = [soft_cross_entropy(outputs[name], tables[name][labels[name][indices]]) for name in ATTRIBUTES]
        total: Tensor = torch.stack(losses).sum()
        return total

    crops, indices = data.pictures.pixels[:, None, :12, :12].copy(), np.arange(9)
    gradients = []
    for count in (1, 2):
        replicas = Replicas(network, count, mixed_precision=False)
        replicas.gradients(Batch(crops, indices), loss)
        gradients.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
        replicas.close()
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_targets_are_distributions_and_a_neighbouring_age_is_less_wrong() -> None:
    tables = target_tables(CLASSES, 0.05, 0.5)
    for table in tables.values():
        torch.testing.assert_close(table.sum(dim=1), torch.ones(len(table)))
    assert tables["age"][4, 4] > tables["age"][4, 5] > tables["age"][4, 6]
    assert tables["gender"][0].tolist() == pytest.approx([0.975, 0.025])


def test_an_attribute_counts_as_much_as_its_weight() -> None:
    data = tiny_data()
    outputs = {name: torch.randn(8, count) for name, count in CLASSES.items()}
    batch = Batch(np.zeros((8, 1, 12, 12), np.uint8), np.arange(8))
    plain = Objective(data, TINY)(outputs, batch)
    gender = Objective(data, replace(TINY, attributes="gender"))({"gender": outputs["gender"]}, batch)
    weighted = Objective(data, replace(TINY, gender_weight=3.0))(outputs, batch)
    assert float(weighted) == pytest.approx(float(plain + 2 * gender))


def test_answers_differ_by_their_divergence_where_a_picture_has_two() -> None:
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.3, 0.7]]))
    first = 0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)
    second = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    assert float(disagreement(logits)) == pytest.approx((first + second) / 4, rel=1e-5)


def test_agreement_adds_to_the_loss_what_the_answers_differ_by() -> None:
    data = tiny_data()
    outputs = {"gender": torch.randn(8, 2)}
    batch = Batch(np.zeros((8, 1, 12, 12), np.uint8), np.repeat(np.arange(4), 2), views=2)
    plain = Objective(data, replace(TINY, attributes="gender"))(outputs, batch)
    more = Objective(data, replace(TINY, attributes="gender", agreement=3.0))(outputs, batch)
    assert float(more - plain) == pytest.approx(3 * float(disagreement(outputs["gender"])), rel=1e-4)


def test_two_crops_of_a_picture_stay_together_and_are_not_the_same() -> None:
    data = tiny_data(9)
    order = np.arange(9)[::-1].copy()
    batches = list(training_batches(data.pictures, order, 6, (12, 12), Settings().augmentation, (1,), views=2))
    assert [batch.indices.tolist() for batch in batches] == [[8, 8, 7, 7, 6, 6], [5, 5, 4, 4, 3, 3], [2, 2, 1, 1, 0, 0]]
    parts = batches[0].split(2)
    assert [part.indices.tolist() for part in parts] == [[8, 8, 7, 7], [6, 6]]
    assert (batches[0].crops[0] != batches[0].crops[1]).any()


def test_the_validation_cut_has_each_group_in_its_share() -> None:
    rng = np.random.default_rng(0)
    labels = {"gender": rng.integers(0, 2, 3000), "ethnicity": rng.choice(3, 3000, p=[0.6, 0.3, 0.1])}
    training, validation = cut_validation(labels, 300, seed=1)
    assert len(validation) == 300
    assert sorted([*training, *validation]) == list(range(3000))
    for number in range(3):
        share = np.mean(labels["ethnicity"][validation] == number)
        assert share == pytest.approx(np.mean(labels["ethnicity"] == number), abs=0.01)
    with pytest.raises(LabelerError, match="only 3000"):
        cut_validation(labels, 3000, seed=1)


def test_balanced_sampling_gives_groups_equal_weight() -> None:
    labels = {"ethnicity": np.array([0] * 90 + [1] * 10), "gender": np.zeros(100, np.int64)}
    assert sampling_weights(labels, "none", 1.0) is None
    weights = sampling_weights(labels, "ethnicity", 1.0)
    assert weights is not None
    assert weights[:90].sum() == pytest.approx(weights[90:].sum())


def test_the_learning_rate_rises_then_falls_to_0() -> None:
    rates = [learning_rate(step, 100, 10, 1.0) for step in range(100)]
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert 9 <= int(np.argmax(rates)) <= 10
    assert rates[-1] < 1e-3


def test_a_pack_says_what_the_network_says_after_its_temperature(tmp_path: Path) -> None:
    data = tiny_data()
    Run(data, replace(TINY, epochs=1), tmp_path / "run").train()
    trained = read_trained(tmp_path / "run")
    export_pack(trained, tmp_path / "pack", name="tiny", version="0.0.1", description="For a test.")
    pack = Pack.load(tmp_path / "pack")
    crops = np.random.default_rng(0).integers(0, 256, (3, 12, 12), dtype=np.uint8)
    prediction = pack.predict(crops)
    with torch.inference_mode():
        logits = trained.network(as_input(crops[:, None]))
    for name, output in pack.manifest.outputs.items():
        expected = softmax(logits[name].numpy() / np.float32(output.temperature))
        np.testing.assert_allclose(prediction.probabilities[name], expected, atol=1e-4)
    assert pack.manifest.document["training"]["data"] == [SOURCE | {"images": 30}]
    assert pack.manifest.document["training"]["settings"] == json.loads(json.dumps(trained.settings.to_document()))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"epoch": 3}, "no setting is called 'epoch'"),
        ({"epochs": "3"}, "epochs is '3'; expected int"),
        ({"epochs": 0}, "epochs is 0"),
        ({"colour": "grey"}, "expected gray or rgb"),
        ({"framing": "tight"}, "expected landmarks or whole"),
        ({"augmentation": {"flop": 1.0}}, "augmentation: no setting is called 'flop'"),
        ({"agreement": 1.0, "mix_up": 0.4}, "agreement must be 0 or more"),
        ({"agreement": 1.0, "batch": 9}, "agreement must be 0 or more"),
        ({"augmentation": 3}, "augmentation must be an object"),
    ],
)
def test_a_setting_that_cannot_work_is_named(tmp_path: Path, document: object, said: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(LabelerError, match=said):
        read_settings(path)


def test_the_verbs_lead_from_a_data_set_to_a_pack_with_a_card(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["file,age,gender,race"]
    for split, count in (("train", 24), ("val", 6)):
        (tmp_path / split).mkdir()
        for number in range(count):
            name = f"{split}/{number}.png"
            cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (20, 20), dtype=np.uint8))
            rows.append(f"{name},20-29,{'Male' if number % 2 else 'Female'},White")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = tmp_path / "config.json"
    settings = replace(TINY, epochs=1, validation=6).to_document()
    config.write_text(json.dumps(settings), encoding="utf-8")
    run, pack = str(tmp_path / "run"), tmp_path / "pack"
    calls = [
        ["train", "fairface", str(labels), "--config", str(config), "--out", run],
        ["export", run, "--out", str(pack)],
        ["evaluate", str(pack), "fairface", str(labels), "--split", "val"],
        ["card", str(pack)],
    ]
    for call in calls:
        result = CliRunner().invoke(main, call)
        assert result.exit_code == 0, result.output
    card = (pack / "CARD.md").read_text(encoding="utf-8")
    assert "On 6 pictures of FairFace, split `val`" in card
    assert "18 pictures, CC-BY-4.0" in card
    assert str(tmp_path) not in card + (pack / "pack.json").read_text(encoding="utf-8")
