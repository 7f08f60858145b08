"""Networks that say the same of a crop and of its mirror image, in one pass and by construction."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Network = TypeVar("Network", bound=nn.Module)


class Filters(nn.Module):
    """Filters of which each stands for itself and for its mirror image.

    Feature maps come in pairs, first one of each pair and then the others: where the crop is mirrored, the maps of a
    pair change places and are mirrored too (group convolutions, Cohen & Welling 2016, "Group equivariant convolutional
    networks", for the group of two). So a filter of the second half is one of the first, mirrored, with the halves of
    its inputs exchanged; only the first half is learned.

    Parameters
    ----------
    paired : bool
        Whether the inputs are such pairs; those of the first layer, the crop's colours, are not.
    """

    def __init__(self, *, paired: bool) -> None:
        super().__init__()
        self.paired = paired

    def forward(self, learned: Tensor) -> Tensor:
        """Return all filters, shape (2 n, inputs, height, width), from those of the first half, (n, ...)."""
        others = learned.roll(learned.shape[1] // 2, 1) if self.paired else learned
        return torch.cat([learned, others.flip(3)])

    def right_inverse(self, filters: Tensor) -> Tensor:
        """Return the first half of all filters."""
        return filters[: len(filters) // 2].clone()


class Repeated(nn.Module):
    """Values that both halves of the feature maps share, along one axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, learned: Tensor) -> Tensor:
        """Return the values twice."""
        return torch.cat([learned, learned], self.axis)

    def right_inverse(self, values: Tensor) -> Tensor:
        """Return the first half of the values."""
        return values.chunk(2, self.axis)[0].clone()


class Normalisation(nn.BatchNorm2d):
    """Batch normalisation whose moving averages are the same for both halves of the feature maps."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape (n, channels, height, width), normalised."""
        # Before and not after: backward must find the averages as forward left them.
        self.level()
        return super().forward(features)

    @torch.no_grad()
    def level(self) -> None:
        """Make the moving averages of both halves the same."""
        for average in (self.running_mean, self.running_var):
            assert average is not None
            average.lerp_(average.roll(len(average) // 2), 0.5)


def mirrored(network: Network) -> Network:
    """Return a network with the same layers that gives a crop and its mirror image the same logits.

    It costs one pass, where the mean over both costs two, and learns half as many weights. Convolutions with a stride
    of 2 get kernels one column wider, for those of odd width look at other places of a mirrored picture.

    Parameters
    ----------
    network : torch.nn.Module
        Of convolutions, batch normalisation, means over 2×2 pixels, a mean over all and linear outputs, with fresh
        weights. All widths that are halved must be even.
    """
    first = True
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                setattr(parent, name, _convolution(layer, paired=not first))
                first = False
            elif isinstance(layer, nn.BatchNorm2d):
                setattr(parent, name, _shared(Normalisation(layer.num_features), 0, "weight", "bias"))
            elif isinstance(layer, nn.Linear):
                _shared(layer, 1, "weight")
    return network


def plain(network: Network) -> Network:
    """Return a copy whose weights are all written out, for what knows ordinary layers only."""
    written = copy.deepcopy(network)
    for parent in list(written.modules()):
        for name, layer in list(parent.named_children()):
            if parametrize.is_parametrized(layer):
                setattr(parent, name, _ordinary(layer))
    return written


def take(network: nn.Module, written: nn.Module) -> None:
    """Give a network the weights and moving averages of what `plain` has made of it or of one like it."""
    network.load_state_dict(written.state_dict(), strict=False)
    for place, module in list(network.named_modules()):
        for name in getattr(module, "parametrizations", {}):
            setattr(module, name, getattr(written.get_submodule(place), name).detach())


def _ordinary(layer: nn.Module) -> nn.Module:
    # Taking the parametrization off a copy would take it off the original, whose class it shares.
    if isinstance(layer, nn.Conv2d):
        (height, width), (stride, _) = layer.kernel_size, layer.stride
        fresh: nn.Module = nn.Conv2d(
            layer.in_channels, layer.out_channels, (height, width), stride, height // 2, bias=False
        )
    elif isinstance(layer, Normalisation):
        layer.level()
        fresh = nn.BatchNorm2d(layer.num_features)
    else:
        assert isinstance(layer, nn.Linear)
        fresh = nn.Linear(layer.in_features, layer.out_features)
    fresh.load_state_dict({name: getattr(layer, name) for name in fresh.state_dict()})
    return fresh.train(layer.training)


def _convolution(layer: nn.Conv2d, *, paired: bool) -> nn.Conv2d:
    if layer.stride == (2, 2):
        height, width = layer.kernel_size
        layer = nn.Conv2d(layer.in_channels, layer.out_channels, (height, width + 1), 2, height // 2, bias=False)
    parametrize.register_parametrization(layer, "weight", Filters(paired=paired))
    return layer


def _shared(layer: nn.Module, axis: int, *names: str) -> nn.Module:
    for name in names:
        parametrize.register_parametrization(layer, name, Repeated(axis))
    return layer
