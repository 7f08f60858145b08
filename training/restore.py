"""A shipped pack as a training run again, so that its weights can be trained on, averaged or exported anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from labeler.errors import LabelerError
from labeler.pack import Manifest, Pack
from labeler.taxonomy import TAXONOMIES
from training.batches import plain_crops
from training.mirrored import plain, take
from training.networks import Labeler, build
from training.parallel import as_input
from training.pictures import Pixels
from training.settings import Settings
from training.sources import TrainingData
from training.train import crop_logits, validation_cut, validation_row
from training.trained import Trained, answers, output_shape, write_trained

Array = npt.NDArray[np.float32]

_WEIGHTED = (nn.Conv2d, nn.Linear)

SETTLED_ON = 2000
"""Training crops whose means and variances the batch normalisation gets."""


def restore_run(folder: str | os.PathLike[str], data: TrainingData, out: str | os.PathLike[str]) -> dict[str, float]:
    """Read a pack's weights out of its network and leave them as a run.

    Weights in int8 come back as what they stand for, and batch normalisation, which the export folded into the
    convolutions, as one that changes nothing: its means and variances are those of training crops, so that training
    goes on from what the pack does. The validation pictures must be those that the pack was trained without: give the
    data the split that it was cut by.

    Parameters
    ----------
    folder : path
        Of the pack, one that `training.export` wrote.
    data : TrainingData
        The data set that it was trained on.
    out : path
        Of the run to write.

    Returns
    -------
    dict
        Of `training.train.validation_row`: the pack's accuracy on the validation crops, without mirror images.

    Raises
    ------
    LabelerError
        If the pack cannot be read, was not written by `training.export`, or the folder cannot be written.
    """
    manifest = Pack.load(folder).manifest
    settings, epoch, sources = _settings(manifest)
    taxonomy = TAXONOMIES[manifest.taxonomy]
    network = build(settings.network, output_shape(settings, taxonomy))
    file = next(iter(manifest.outputs.values())).file
    written = plain(network)
    _put_in(written, manifest.folder / file)
    training, validation = validation_cut(data, settings)
    pictures, side = data.pictures.widened(settings.margin), (settings.width, settings.height)
    chosen = plain_crops(pictures, training[:: max(1, len(training) // SETTLED_ON)], side)
    # With their mirror images, for what a network says of both alike has the same averages in both.
    _settle_normalisation(written, np.concatenate([chosen, chosen[..., ::-1]]))
    take(network, written)
    crops = plain_crops(pictures, validation, side)
    logits = crop_logits(answers(network, settings, taxonomy), crops)
    labels = {name: data.labels[name][validation] for name in settings.names}
    years = None if data.years is None else data.years[validation]
    write_trained(Trained(network, settings, taxonomy, epoch, sources, logits, labels, "", crops, years), out)
    return validation_row(logits, labels)


def _settings(manifest: Manifest) -> tuple[Settings, int, list[dict[str, Any]]]:
    path = f"{manifest.folder}/pack.json"
    try:
        training = manifest.document["training"]
        sources = [dict(source) for source in training["data"]]
        return Settings.from_document(training["settings"], path), int(training["epoch"]), sources
    except (KeyError, TypeError, ValueError) as error:
        raise LabelerError(
            f"{path}: does not say how it was trained ({error}); only such packs can be restored"
        ) from error


def _weights(path: Path) -> dict[str, tuple[Array, Array]]:
    """Return weights and bias of every layer that has some, by the layer's place in the network."""
    model = onnx.load(path)
    values: dict[str, Array] = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and all(name in values for name in node.input):
            stored, scale, zero = (values[name] for name in node.input)
            shape = (-1, *(1 for _ in stored.shape[1:]))
            values[node.output[0]] = (stored.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)
    return {
        _place(node.name): (values[node.input[1]], values[node.input[2]])
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm")
    }


def _place(name: str) -> str:
    """Return a layer's place in the network, given the name of its node, which repeats the way there.

    Examples
    --------
    >>> _place("/answers/network/trunk/trunk.4/around/around.1/around.1.0/Conv")
    'trunk.4.around.1.0'
    >>> _place("/answers/network/age/Gemm")
    'age'
    """
    way = name.split("/")[3:-1]
    longer = [*way[1:], ""]
    return ".".join(part for part, after in zip(way, longer, strict=True) if not after.startswith(f"{part}."))


def _put_in(network: Labeler, path: Path) -> None:
    """Put a pack's weights into a network whose batch normalisation then changes nothing but adds the bias."""
    state = network.state_dict()
    layers = {name.removeprefix("heads.") for name, part in network.named_modules() if isinstance(part, _WEIGHTED)}
    try:
        weights = _weights(path)
        if layers != weights.keys():
            raise ValueError(f"only one of them has {', '.join(sorted(layers ^ weights.keys())[:3])}")
        for place, (kernel, bias) in weights.items():
            if place in network.heads:
                state[f"heads.{place}.weight"], state[f"heads.{place}.bias"] = map(torch.tensor, (kernel, bias))
                continue
            stem, number = place.rsplit(".", 1)
            after = f"{stem}.{int(number) + 1}"
            if kernel.shape[2] == 2:
                # An average of 2 x 2 pixels that the export merged into the convolution behind it.
                kernel = kernel.sum(axis=(2, 3), keepdims=True)
            state[f"{place}.weight"] = torch.tensor(kernel)
            normalisation = network.get_submodule(after)
            assert isinstance(normalisation, nn.BatchNorm2d)
            state |= {
                f"{after}.weight": torch.full((len(bias),), (1 + normalisation.eps) ** 0.5),
                f"{after}.bias": torch.tensor(bias),
                f"{after}.running_mean": torch.zeros(len(bias)),
                f"{after}.running_var": torch.ones(len(bias)),
            }
        network.load_state_dict(state)
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise LabelerError(f"{path}: not the network that pack.json names ({reason}); copy the pack anew") from error
    network.eval()


def _settle_normalisation(network: Labeler, crops: Pixels) -> None:
    """Give batch normalisation the means and variances of crops, and the scale and shift that undo them."""
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.BatchNorm2d)
        values = inputs[0].double()
        parts = [
            torch.tensor(values.numel() / values.shape[1]),
            values.sum((0, 2, 3)),
            (values * values).sum((0, 2, 3)),
        ]
        sums[layer] = [a + b for a, b in zip(sums[layer], parts, strict=True)] if layer in sums else parts

    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    with torch.inference_mode():
        for start in range(0, len(crops), 256):
            network(as_input(crops[start : start + 256]))
    for handle in handles:
        handle.remove()
    with torch.no_grad():
        for layer, (count, total, squares) in sums.items():
            assert layer.running_mean is not None
            assert layer.running_var is not None
            mean = total / count
            variance = squares / count - mean * mean
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)
            layer.weight.copy_(torch.sqrt(variance + layer.eps))
            layer.bias.add_(mean)
