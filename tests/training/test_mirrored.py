"""Mirrored networks: the same answer to a crop and to its mirror image, from half the weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; install the extra [train]")

from training.mirrored import plain, take  # noqa: E402 (only where torch is there)
from training.networks import Labeler, Shape, build, parameter_count  # noqa: E402

SHAPE = Shape(16, 16, 1, {"gender": 2, "ethnicity": 7})


@pytest.fixture
def trained() -> Labeler:
    """Take two steps, so that averages and weights are not those that the network began with."""
    torch.manual_seed(1)
    network = build("residual-mirrored", SHAPE)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    for _ in range(2):
        optimiser.zero_grad()
        outputs = network(torch.rand(8, 1, 16, 16))
        torch.stack([(logits - 1).square().mean() for logits in outputs.values()]).sum().backward()
        optimiser.step()
    return network.eval()


def test_a_crop_and_its_mirror_image_get_the_same_answer(trained: Labeler) -> None:
    crops = torch.rand(4, 1, 16, 16)
    outputs, mirrored = trained(crops), trained(crops.flip(3))
    for name, logits in outputs.items():
        assert torch.allclose(logits, mirrored[name], atol=1e-5)
        assert (logits - logits[:1]).abs().max() > 1e-4


def test_the_ordinary_network_answers_a_mirror_image_otherwise() -> None:
    torch.manual_seed(1)
    network = build("residual", SHAPE).eval()
    crops = torch.rand(4, 1, 16, 16)
    assert (network(crops)["gender"] - network(crops.flip(3))["gender"]).abs().max() > 1e-4


def test_half_of_the_filters_are_learned() -> None:
    assert parameter_count(build("residual-mirrored", SHAPE)) < 0.6 * parameter_count(build("residual", SHAPE))


def test_written_out_it_is_the_same_of_ordinary_layers(trained: Labeler) -> None:
    written, crops = plain(trained), torch.rand(4, 1, 16, 16)
    assert not any("parametrizations" in name for name in written.state_dict())
    assert {type(module) for module in written.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {
        torch.nn.BatchNorm2d
    }
    for name, logits in trained(crops).items():
        assert torch.allclose(logits, written(crops)[name], atol=1e-6)


def test_what_was_written_out_can_be_taken_back(trained: Labeler) -> None:
    other, crops = build("residual-mirrored", SHAPE), torch.rand(4, 1, 16, 16)
    take(other, plain(trained))
    for name, logits in trained(crops).items():
        assert torch.allclose(logits, other.eval()(crops)[name], atol=1e-6)


def test_an_ordinary_network_is_written_out_as_it_is() -> None:
    network, crops = build("residual", SHAPE).eval(), torch.rand(2, 1, 16, 16)
    assert torch.equal(plain(network)(crops)["gender"], network(crops)["gender"])
