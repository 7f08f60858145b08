"""The networks by name: each takes crops as a pack hands them over and gives logits for every attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from labeler.errors import LabelerError
from training.mirrored import mirrored, plain
from training.years import expected_years, group_log_probabilities

EXPECTED_AGE = "age_years"
"""The output with the expected age in years."""

CONTRAST_FLOOR = 0.02
"""Added to the standard deviation of a crop (values 0 to 1), so that a flat crop's noise is not blown up."""


@dataclass(frozen=True)
class Shape:
    """What goes into a network and what comes out.

    Parameters
    ----------
    width, height, channels : int
        The crop.
    classes : mapping of str to int
        The number of classes of each attribute, in the order of the outputs.
    """

    width: int
    height: int
    channels: int
    classes: Mapping[str, int]


class NormaliseContrast(nn.Module):
    """Bring every crop to mean 0 and standard deviation 1: ``(x - mean) / (std + CONTRAST_FLOOR)``.

    It is part of the graph, so that a dark face in a dark photo keeps its contrast wherever the pack runs.
    """

    def forward(self, crops: Tensor) -> Tensor:
        """Return crops of the same shape (n, channels, height, width), normalised one by one."""
        axes = (1, 2, 3)
        centred = crops - crops.mean(dim=axes, keepdim=True)
        spread = (centred * centred).mean(dim=axes, keepdim=True).sqrt()
        return centred / (spread + CONTRAST_FLOOR)


def rounded(values: Tensor) -> Tensor:
    """Return values rounded to the 256 steps between their smallest and largest (0 included), as int8 stores them.

    The gradient passes as if they had not been rounded (Jacob et al. 2018, "Quantization and training of neural
    networks for efficient integer-arithmetic-only inference").
    """
    exact = values.float()
    low = exact.detach().amin().clamp(max=0.0)
    step = ((exact.detach().amax().clamp(min=0.0) - low) / 255).clamp(min=1e-8)
    zero = torch.round(-low / step).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(exact, step, zero, 0, 255).to(values.dtype)


def rounded_weights(weights: Tensor) -> Tensor:
    """Return weights (outputs, ...) rounded to the 255 steps of each output's own largest magnitude."""
    steps = weights.detach().flatten(1).abs().amax(dim=1).div(127).clamp(min=1e-8)
    zeros = torch.zeros(len(steps), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights, steps, zeros, 0, -127, 127)


class Convolution(nn.Sequential):
    """Convolution, batch normalisation and, where asked, a rectifier; `rounding` acts as it will in int8."""

    rounding = False

    def __init__(self, inputs: int, outputs: int, side: int = 3, stride: int = 1, *, rectified: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if rectified:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)
        self.side, self.stride = side, stride

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, outputs, height / stride, width / stride) from (n, inputs, height, width)."""
        convolution, *rest = self
        if self.rounding:
            # Rounding by output channel commutes with the scale that batch normalisation gives the channel later.
            weights = rounded_weights(cast("Tensor", convolution.weight))
            features = nn.functional.conv2d(features, weights, None, self.stride, self.side // 2)
        else:
            features = convolution(features)
        for layer in rest:
            features = layer(features)
        return rounded(features) if self.rounding else features


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a way around them (He et al. 2016, "Deep residual learning").

    Where the block halves the resolution, the way around averages 2×2 pixels before its 1×1 convolution
    (He et al. 2019, "Bag of tricks", ResNet-D), so that no pixel is dropped.
    """

    rounding = False

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Convolution(inputs, outputs, stride=stride), Convolution(outputs, outputs, rectified=False)
        )
        around: list[nn.Module] = [nn.AvgPool2d(2, ceil_mode=True)] if stride == 2 else []
        if inputs != outputs:
            around.append(Convolution(inputs, outputs, 1, rectified=False))
        self.around = nn.Sequential(*around)

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, outputs, height / stride, width / stride) from (n, inputs, height, width)."""
        found = torch.relu(self.body(features) + self.around(features))
        return rounded(found) if self.rounding else found


class SideBySide(nn.Sequential):
    """Trunks that see the same crops, their features one after the other."""

    def forward(self, crops: Tensor) -> Tensor:
        """Return the features of all, shape (n, features of the first + features of the second ...)."""
        return torch.cat([trunk(crops) for trunk in self], 1)


class Labeler(nn.Module):
    """A trunk and one linear output for each attribute.

    Parameters
    ----------
    trunk : torch.nn.Module
        From crops (n, channels, height, width), values 0 to 1, to features (n, features).
    features : int
        The number of features.
    classes : mapping of str to int
        The number of classes of each attribute.
    """

    def __init__(self, trunk: nn.Module, features: int, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict({name: nn.Linear(features, count) for name, count in classes.items()})

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        """Return the logits of each attribute, shape (n, classes)."""
        features = self.trunk(crops)
        return {name: head(features) for name, head in self.heads.items()}


class Answers(nn.Module):
    """A network as a pack gives it: logits in a taxonomy's classes, and the expected age where it learned years.

    Parameters
    ----------
    network : Labeler
        The network, of which a copy is taken.
    year_groups : sequence of str
        The age groups that its years are summed up to; empty where its age is in groups already.
    flip : bool
        Average the logits over the crop and its mirror image: twice the work, a little more right.
    """

    def __init__(self, network: Labeler, year_groups: Sequence[str] = (), *, flip: bool = False) -> None:
        super().__init__()
        self.network = plain(network)
        self.year_groups = tuple(year_groups)
        self.flip = flip

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        """Return the logits of each attribute, shape (n, classes), and perhaps `EXPECTED_AGE`, shape (n,)."""
        # One pass over a doubled batch: two passes would share weights, which keeps onnxruntime from fusing int8.
        outputs: dict[str, Tensor] = self.network(torch.cat([crops, torch.flip(crops, [3])]) if self.flip else crops)
        if self.flip:
            outputs = {name: logits.reshape(2, -1, logits.shape[1]).mean(dim=0) for name, logits in outputs.items()}
        if "age" in outputs and self.year_groups:
            years = outputs["age"]
            outputs = outputs | {
                "age": group_log_probabilities(years, self.year_groups),
                EXPECTED_AGE: expected_years(years),
            }
        return outputs


def logistic(shape: Shape) -> Labeler:
    """Build multinomial logistic regression on the pixels."""
    return Labeler(nn.Flatten(), shape.width * shape.height * shape.channels, shape.classes)


def convolutional(shape: Shape, dense: tuple[int, ...]) -> Labeler:
    """Build the small network published for the AGE data set, with dense layers of the given widths.

    Convolutions of 16 (3×3, padded), 32 (5×5), pooling by 2, 64 (5×5), pooling by 2, then the dense layers.
    With one attribute of two classes it has 728,194 trainable parameters for ``(128,)``, 5,375,746 for
    ``(1024,)`` and 744,706 for ``(128, 128)``.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(shape.channels, 16, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 32, 5),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
    ]
    features = 64 * (((shape.height - 4) // 2 - 4) // 2) * (((shape.width - 4) // 2 - 4) // 2)
    for width in dense:
        layers += [nn.Linear(features, width), nn.ReLU(inplace=True)]
        features = width
    return Labeler(nn.Sequential(*layers), features, shape.classes)


def multitask_cnn(shape: Shape) -> Labeler:
    """Build a plain convolutional network with batch normalisation, shared by all attributes."""
    layers: list[nn.Module] = []
    inputs = shape.channels
    for width in (32, 64, 128, 256):
        layers += [Convolution(inputs, width), nn.MaxPool2d(2)]
        inputs = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Labeler(nn.Sequential(*layers), inputs, shape.classes)


def residual(
    shape: Shape,
    widths: tuple[int, ...] = (32, 64, 128, 256),
    depths: tuple[int, ...] = (1, 2, 3, 2),
    *,
    normalised: bool = True,
    fine: bool = False,
) -> Labeler:
    """Build the residual trunk of the shipped packs.

    Most of its work is at low resolution, for on a CPU a wide layer at 24×24 costs more than it gives. It can be had
    without `NormaliseContrast`, to see what that gives, and `fine`: halving at the first convolution, so that a crop
    of twice the side costs the same.
    """
    layers: list[nn.Module] = [
        NormaliseContrast() if normalised else nn.Identity(),
        Convolution(shape.channels, 16, stride=2 if fine else 1),
        Convolution(16, widths[0], stride=2),
    ]
    inputs = widths[0]
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            layers.append(ResidualBlock(inputs, width, 2 if block == 0 and stage > 0 else 1))
            inputs = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Labeler(nn.Sequential(*layers), inputs, shape.classes)


PAIR = "residual-pair"
PAIR_OF = ("residual", "residual-mirrored")


def pair(shape: Shape) -> Labeler:
    """Build an ordinary and a mirrored residual trunk side by side, which `training.join` fills with trained ones."""
    first, second = (build(name, shape) for name in PAIR_OF)
    head = next(iter(first.heads.children()))
    assert isinstance(head, nn.Linear)
    return Labeler(SideBySide(first.trunk, second.trunk), 2 * head.in_features, shape.classes)


NETWORKS: Mapping[str, Callable[[Shape], Labeler]] = MappingProxyType(
    {
        "logistic": logistic,
        "cnn-128": lambda shape: convolutional(shape, (128,)),
        "cnn-1024": lambda shape: convolutional(shape, (1024,)),
        "cnn-128-128": lambda shape: convolutional(shape, (128, 128)),
        "multitask-cnn": multitask_cnn,
        "residual": residual,
        "residual-plain": lambda shape: residual(shape, normalised=False),
        "residual-fine": lambda shape: residual(shape, fine=True),
        "residual-mirrored": lambda shape: mirrored(residual(shape)),
        PAIR: pair,
    }
)
"""The builder of each network."""


def build(name: str, shape: Shape) -> Labeler:
    """Build a network with fresh weights.

    Raises
    ------
    LabelerError
        If no network has this name.
    """
    if name not in NETWORKS:
        raise LabelerError(f"--network {name}: no such network; choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name](shape)


def start_rounding(network: Labeler) -> None:
    """Make the convolutions and the sums of the blocks round as they will in int8."""
    for part in network.modules():
        if isinstance(part, (Convolution, ResidualBlock)):
            part.rounding = True


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
