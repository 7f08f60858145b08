"""A trained network as a model pack: one ONNX file with an output for each attribute, and its manifest."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from labeler.errors import LabelerError
from labeler.faces import TEMPLATE
from labeler.pack import FORMAT_VERSION, MANIFEST, read_manifest
from labeler.taxonomy import ATTRIBUTES, COLUMNS
from training.merge import merge_averages
from training.metrics import fit_temperature
from training.networks import EXPECTED_AGE, Answers
from training.quantise import milliseconds, network_outputs, smallest_loss
from training.settings import Settings
from training.sources import pack_licence, pack_notice
from training.trained import VALIDATION, Trained

Logits = Mapping[str, npt.NDArray[np.float32]]

OPSET = 17
ONNX_FILE = "labels.onnx"
INPUT = "crops"
OPEN_GROUP_YEARS = 5.0
"""How far past its lower end the open last age group is taken to lie on average."""


class InOrder(nn.Module):
    """A network whose outputs come as a tuple, in the order of given names."""

    def __init__(self, answers: Answers, names: Sequence[str]) -> None:
        super().__init__()
        self.answers = answers
        self.names = tuple(names)

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs named."""
        outputs = self.answers(crops)
        return tuple(outputs[name] for name in self.names)


def output_names(answers: Answers) -> list[str]:
    """Return the names of what a network gives, those of the attributes first."""
    names = [name for name in ATTRIBUTES if name in answers.network.heads]
    return [*names, EXPECTED_AGE] if answers.year_groups else names


def onnx_bytes(answers: Answers, channels: int, height: int, width: int) -> bytes:
    """Return a network as an ONNX file: input ``crops`` (n, channels, height, width), one output an attribute.

    The same weights give the same bytes.
    """
    names = output_names(answers)
    return merge_averages(
        exported(
            InOrder(answers, names),
            torch.zeros(2, channels, height, width),
            INPUT,
            names,
            {name: {0: "n"} for name in (INPUT, *names)},
        )
    )


def exported(
    network: nn.Module,
    example: Tensor,
    entrance: str,
    outputs: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> bytes:
    """Return a network of one input as an ONNX file; the same weights give the same bytes.

    Parameters
    ----------
    network : torch.nn.Module
        What is written, as it is in use.
    example : torch.Tensor
        An input of the shape and kind that it takes.
    entrance : str
        The input's name.
    outputs : sequence of str
        The outputs' names, in order.
    dynamic_axes : mapping, optional
        The axes that may have any length, by the name of the input or output.
    """
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ONNX_FILE
        # The newer exporter writes the paths of this machine's source files into the graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network.eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[entrance],
            output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in (dynamic_axes or {}).items()},
        )
        return path.read_bytes()


def group_years(groups: tuple[str, ...]) -> list[float]:
    """Return the years that each age group stands for: its middle, and for the open last one a little past its start.

    Examples
    --------
    >>> group_years(("0-2", "3-9", "more than 70"))
    [1.0, 6.0, 75.0]
    """
    years = []
    for group in groups[:-1]:
        low, high = group.split("-")
        years.append((int(low) + int(high)) / 2)
    start = next(int(word) for word in groups[-1].split() if word.isdigit())
    return [*years, start + OPEN_GROUP_YEARS]


@dataclass(frozen=True)
class Options:
    """How a trained network becomes a pack.

    Parameters
    ----------
    flip : bool
        Average over the crop and its mirror image inside the graph: twice the work.
    int8 : str
        ``auto`` for int8 where `training.quantise.Loss` finds it acceptable on the validation pictures, else
        ``never``.
    points : sequence of (x, y), optional
        The framing of a network that was trained on whole pictures: where the landmarks lie in them, as
        `training.framing` measures it. Any portrait can then be brought into that frame.
    """

    flip: bool = False
    int8: str = "never"
    points: Sequence[tuple[float, float]] | None = None


def export_pack(
    trained: Trained,
    folder: str | os.PathLike[str],
    *,
    name: str,
    version: str,
    description: str,
    options: Options | None = None,
) -> dict[str, Any]:
    """Write a trained network as a model pack and return its manifest.

    The temperatures are fitted on the validation pictures that were cut out of the training split.

    Raises
    ------
    LabelerError
        If the folder cannot be written, the network lacks an attribute, or an option needs validation crops that the
        run did not keep.
    """
    options = options or Options()
    missing = [attribute for attribute in ATTRIBUTES if attribute not in trained.settings.names]
    if missing:
        raise LabelerError(f"{trained.name}: did not learn {', '.join(missing)}; a pack needs {', '.join(ATTRIBUTES)}")
    content, logits, notes = _network(trained, options)
    document = {
        "format": FORMAT_VERSION,
        "name": name,
        "version": version,
        "licence": pack_licence(trained.sources),
        **({"notice": notice} if (notice := pack_notice(trained.sources)) else {}),
        "taxonomy": trained.taxonomy.name,
        "description": description,
        "input": _input(trained.settings, options),
        "attributes": {attribute: _attribute(trained, attribute, logits) for attribute in ATTRIBUTES},
        "files": {ONNX_FILE: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}},
        "training": {
            "data": [dict(source) for source in trained.sources],
            "validation_images": len(trained.labels["age"]),
            "seed": trained.settings.seed,
            "epoch": trained.epoch,
            "network": trained.settings.network,
            **notes,
            "settings": trained.settings.to_document(),
        },
    }
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / ONNX_FILE).write_bytes(content)
        (target / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise LabelerError(f"--out {target}: cannot be written ({error.strerror}); choose another folder") from error
    read_manifest(target)
    return document


def _network(trained: Trained, options: Options) -> tuple[bytes, Logits, dict[str, Any]]:
    """Return the ONNX file, its logits on the validation pictures, and what the manifest says of how it was made."""
    settings = trained.settings
    channels = 1 if settings.colour == "gray" else 3
    content = onnx_bytes(trained.answers(flip=options.flip), channels, settings.height, settings.width)
    notes: dict[str, Any] = {"precision": "float32", "test_time_flip": options.flip}
    if not options.flip and options.int8 == "never":
        return content, trained.logits, notes
    if trained.crops is None:
        raise LabelerError(
            f"{trained.name}: kept no {VALIDATION}, which --flip and --int8 auto need; call train-labelers train with "
            "the run's own options once more"
        )
    logits = network_outputs(content, trained.crops)
    if options.int8 == "never":
        return content, logits, notes
    small = smallest_loss(content, trained.crops, trained.labels)
    before, after = milliseconds([content, small.content], trained.crops)
    notes["int8"] = {
        "chosen": small.loss.acceptable,
        "variant": small.variant,
        "loss": small.loss.to_document(),
        "milliseconds": {"float32": round(before, 3), "int8": round(after, 3)},
        "bytes": {"float32": len(content), "int8": len(small.content)},
    }
    if not small.loss.acceptable:
        return content, logits, notes
    return small.content, small.logits, notes | {"precision": "int8"}


def _input(settings: Settings, options: Options) -> dict[str, Any]:
    if options.points is not None and settings.framing != "whole":
        raise LabelerError("--framing: the network was trained on aligned faces, whose framing it keeps; leave it out")
    points = options.points
    if settings.framing == "landmarks":
        points = [(0.5 + (x - 0.5) / settings.margin, 0.5 + (y - 0.5) / settings.margin) for x, y in TEMPLATE]
    framing: dict[str, Any] = {"kind": "whole"}
    if points is not None:
        framing = {"kind": "landmarks", "points": [list(point) for point in points]}
    return {
        "width": settings.width,
        "height": settings.height,
        "colour": settings.colour,
        "range": [0, 1],
        "framing": framing,
    }


def _attribute(trained: Trained, attribute: str, logits: Logits) -> dict[str, Any]:
    classes = trained.taxonomy.classes[attribute]
    entry: dict[str, Any] = {
        "file": ONNX_FILE,
        "output": attribute,
        "classes": list(classes),
        "temperature": round(fit_temperature(logits[attribute], trained.labels[attribute]), 4),
    }
    if COLUMNS[attribute] == "age_group":
        years_output = EXPECTED_AGE if trained.settings.age_years else None
        entry |= {"years": group_years(classes), "years_output": years_output}
    return entry
