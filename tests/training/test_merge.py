"""Averages merged into the convolutions behind them: the same numbers from fewer nodes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; install the extra [train]")

import onnx  # noqa: E402 (only where torch is there)
from torch import Tensor, nn  # noqa: E402

from training.export import exported  # noqa: E402
from training.merge import merge_averages  # noqa: E402
from training.networks import ResidualBlock  # noqa: E402
from training.quantise import network_outputs  # noqa: E402


def operations(content: bytes) -> list[str]:
    """Return what the nodes of an ONNX network do, in order."""
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


@pytest.mark.parametrize(("side", "merged"), [(12, True), (10, True), (9, False)])
def test_a_merged_average_gives_the_same_wherever_no_pixel_lies_outside(side: int, merged: bool) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(3, 5, 2)
    plain = exported(block, torch.zeros(2, 3, side, side), "crops", ["found"], {"crops": {0: "n"}, "found": {0: "n"}})
    changed = merge_averages(plain)
    assert "AveragePool" in operations(plain)
    assert ("AveragePool" not in operations(changed)) == merged
    crops = np.random.default_rng(1).integers(0, 256, (7, 3, side, side)).astype(np.uint8)
    before, after = (network_outputs(content, crops)["found"] for content in (plain, changed))
    assert np.allclose(before, after, atol=1e-5)


def test_an_average_that_two_nodes_use_stays() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.average, self.mixed = nn.AvgPool2d(2), nn.Conv2d(2, 2, 1)

        def forward(self, crops: Tensor) -> Tensor:
            small: Tensor = self.average(crops)
            mixed: Tensor = self.mixed(small)
            return mixed + small

    content = exported(Twice(), torch.zeros(1, 2, 8, 8), "crops", ["found"])
    assert operations(merge_averages(content)) == operations(content)
