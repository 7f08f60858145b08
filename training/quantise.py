"""A network in int8: quantised, measured against its float32 self on validation crops, kept only if as good."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from labeler.pack import BATCH, session
from labeler.taxonomy import ATTRIBUTES
from training.pictures import Pixels
from training.sources import Indices

Outputs = Mapping[str, npt.NDArray[np.float32]]

LARGEST_LOSS = 0.003
"""Share of all validation pictures that int8 may recognise less."""

LARGEST_GROUP_LOSS = 0.01
"""The same within any group of at least `GROUP` pictures."""

GROUP = 100
SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
"""Pixels right and down by which each validation crop is moved. In a group of 150 pictures two that are lost at a tie
are more than what is allowed; over several crops a picture such chance evens out."""

CALIBRATION = 256
"""Crops on which the ranges of the activations are measured."""

VARIANTS: Mapping[str, tuple[tuple[str, ...], CalibrationMethod]] = MappingProxyType(
    {
        "sums in int8, outermost values cut": (("Conv", "Relu", "Add", "AveragePool"), CalibrationMethod.Percentile),
        "sums in float32, outermost values cut": (("Conv", "Relu"), CalibrationMethod.Percentile),
        "sums in int8, full range": (("Conv", "Relu", "Add", "AveragePool"), CalibrationMethod.MinMax),
        "sums in float32, full range": (("Conv", "Relu"), CalibrationMethod.MinMax),
    }
)
"""What is rounded, and how the ranges of the activations are found: as measured, or without the outermost
hundred-thousandth either side."""


@dataclass(frozen=True)
class Loss:
    """What int8 costs on validation pictures.

    Parameters
    ----------
    overall : mapping of str to float
        For each attribute the accuracy of float32 minus that of int8.
    worst_group : mapping of str to float
        The same, the largest over the groups of at least `GROUP` pictures.
    """

    overall: Mapping[str, float]
    worst_group: Mapping[str, float]

    @property
    def cost(self) -> float:
        """The largest loss as a multiple of what is allowed."""
        return max(max(self.overall.values()) / LARGEST_LOSS, max(self.worst_group.values()) / LARGEST_GROUP_LOSS)

    @property
    def acceptable(self) -> bool:
        """Whether int8 may be shipped."""
        return self.cost <= 1 + 1e-6

    def to_document(self) -> dict[str, dict[str, float]]:
        """Return the losses as a JSON document, in shares of pictures."""
        return {
            "overall": {name: round(value, 5) for name, value in self.overall.items()},
            "worst_group": {name: round(value, 5) for name, value in self.worst_group.items()},
        }


class _Inputs(CalibrationDataReader):  # type: ignore[misc]  # its base has no types
    def __init__(self, name: str, inputs: Iterable[npt.NDArray[Any]]) -> None:
        self.name = name
        self.inputs = iter(inputs)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        values = next(self.inputs, None)
        return None if values is None else {self.name: values}


def as_floats(crops: Pixels) -> npt.NDArray[np.float32]:
    """Return crops, uint8, as a network takes them: float32, 0 to 1."""
    return crops.astype(np.float32) / np.float32(255)


def batches_of(crops: Pixels) -> list[npt.NDArray[np.float32]]:
    """Return crops, shape (n, channels, height, width), uint8, in the batches that a network takes them in."""
    return [as_floats(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]


def quantise(content: bytes, inputs: Iterable[npt.NDArray[Any]], variant: str) -> bytes:
    """Return an ONNX network with its convolutions in int8, weights scaled for each channel.

    The first convolution and what follows the last pooling stay float32: they cost little time and much accuracy.

    Parameters
    ----------
    content : bytes
        The float32 network, of one input.
    inputs : iterable of numpy.ndarray
        What the ranges of the activations are measured on, each as the network takes it.
    variant : str
        One of `VARIANTS`.
    """
    operations, method = VARIANTS[variant]
    model = onnx.load_from_string(content)
    # The calibrator reports its progress on stdout and through the root logger.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            _Inputs(model.graph.input[0].name, inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(operations),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_kept_in_float(model),
            calibrate_method=method,
        )
        return path.read_bytes()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _kept_in_float(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that no convolution comes before, and those from the pooling over the whole picture on."""
    convolved: set[str] = set()
    pooled: set[str] = set()
    kept = []
    for node in model.graph.node:
        behind = not convolved.isdisjoint(node.input)
        last = behind and (node.op_type in ("GlobalAveragePool", "Gemm") or not pooled.isdisjoint(node.input))
        if behind or node.op_type == "Conv":
            convolved.update(node.output)
        if last:
            pooled.update(node.output)
        if last or not behind:
            kept.append(node.name)
    return kept


def network_outputs(content: bytes, crops: Pixels) -> dict[str, npt.NDArray[np.float32]]:
    """Return every output of an ONNX network for crops (n, channels, height, width), uint8, by its name."""
    runner = session(content, Path("network"))
    names = [item.name for item in runner.get_outputs()]
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in names}
    for batch in batches_of(crops):
        values = runner.run(names, {runner.get_inputs()[0].name: batch})
        for name, value in zip(names, values, strict=True):
            parts[name].append(value)
    return {name: np.concatenate(values) for name, values in parts.items()}


@dataclass(frozen=True)
class Small:
    """A network in int8, the variant that loses least.

    Parameters
    ----------
    variant : str
        One of `VARIANTS`.
    content : bytes
        The ONNX network.
    logits : mapping of str to numpy.ndarray
        Its outputs on the validation crops.
    loss : Loss
        Against float32.
    """

    variant: str
    content: bytes
    logits: Outputs
    loss: Loss


def shifted(crops: Pixels) -> Pixels:
    """Return crops (n, channels, height, width) moved by each of `SHIFTS` in turn; the border is repeated."""
    height, width = crops.shape[2:]
    padded = np.pad(crops, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    views = [padded[:, :, 1 - down : 1 - down + height, 1 - right : 1 - right + width] for right, down in SHIFTS]
    return np.concatenate(views)


def smallest_loss(content: bytes, crops: Pixels, labels: Mapping[str, Indices]) -> Small:
    """Return, of all variants in int8, the one that loses least on validation pictures, each seen in all `SHIFTS`.

    Parameters
    ----------
    content : bytes
        The float32 network.
    crops : numpy.ndarray
        Validation crops, shape (n, channels, height, width), uint8; the first are those of the calibration too.
    labels : mapping of str to numpy.ndarray
        True class numbers of the same pictures, shape (n,).
    """
    views = shifted(crops)
    repeated = {name: np.tile(values, len(SHIFTS)) for name, values in labels.items()}
    precise = network_outputs(content, views)
    found = []
    for variant in VARIANTS:
        small = quantise(content, batches_of(crops[:CALIBRATION]), variant)
        rounded = network_outputs(small, views)
        loss = loss_of(precise, rounded, repeated, GROUP * len(SHIFTS))
        # Nothing is moved first, so that the outputs on the crops themselves come first.
        found.append(Small(variant, small, {name: values[: len(crops)] for name, values in rounded.items()}, loss))
    return min(found, key=lambda small: small.loss.cost)


def loss_of(precise: Outputs, quantised: Outputs, labels: Mapping[str, Indices], least: int = GROUP) -> Loss:
    """Return what int8 costs: overall and in the worst group of the three attributes and of gender × ethnicity.

    Parameters
    ----------
    precise, quantised : mapping of str to numpy.ndarray
        Logits of each attribute, shape (n, classes), in float32 and int8.
    labels : mapping of str to numpy.ndarray
        True class numbers of the same pictures, shape (n,).
    least : int
        Crops of the smallest group that counts.
    """
    overall, worst = {}, {}
    groups = [*(labels[name] for name in ATTRIBUTES), labels["gender"] * 1000 + labels["ethnicity"]]
    for name in ATTRIBUTES:
        before = precise[name].argmax(axis=1) == labels[name]
        after = quantised[name].argmax(axis=1) == labels[name]
        lost = before.astype(np.float64) - after
        overall[name] = float(lost.mean())
        members = [group == value for group in groups for value in np.unique(group)]
        worst[name] = max([float(lost[inside].mean()) for inside in members if inside.sum() >= least], default=0.0)
    return Loss(overall, worst)


def milliseconds(contents: Sequence[bytes], crops: Pixels, *, rounds: int = 15) -> list[float]:
    """Return the time an image of each network, in milliseconds of one core, a batch of `BATCH` at a time.

    The networks take turns, and each one's fastest round counts, so that a busy machine changes the ratio least.
    """
    runners = [session(content, Path("network")) for content in contents]
    batch: dict[str, Any] = {runners[0].get_inputs()[0].name: as_floats(crops[:BATCH])}
    best = [float("inf")] * len(runners)
    for _ in range(rounds):
        for number, runner in enumerate(runners):
            started = time.thread_time()
            runner.run(None, batch)
            best[number] = min(best[number], time.thread_time() - started)
    return [1000 * seconds / len(crops[:BATCH]) for seconds in best]
