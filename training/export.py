"""A trained network as a model pack: one ONNX file with an output for each attribute, and its manifest."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labeler.errors import LabelerError
from labeler.faces import TEMPLATE
from labeler.pack import FORMAT_VERSION, MANIFEST, read_manifest
from labeler.taxonomy import ATTRIBUTES, COLUMNS, Taxonomy
from training.metrics import fit_temperature
from training.networks import Labeler
from training.train import Trained

OPSET = 17
ONNX_FILE = "labels.onnx"
INPUT = "crops"
OPEN_GROUP_YEARS = 5.0
"""How far past its lower end the open last age group is taken to lie on average."""


class InOrder(nn.Module):
    """A network whose outputs come as a tuple, in the order of `labeler.taxonomy.ATTRIBUTES`."""

    def __init__(self, network: Labeler) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of each attribute, shape (n, classes)."""
        outputs = self.network(crops)
        return tuple(outputs[name] for name in ATTRIBUTES)


def onnx_bytes(network: Labeler, channels: int, height: int, width: int) -> bytes:
    """Return a network as an ONNX file: input ``crops`` (n, channels, height, width), one output an attribute.

    The same weights give the same bytes.
    """
    names = list(ATTRIBUTES)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ONNX_FILE
        # The newer exporter writes the paths of this machine's source files into the graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            InOrder(network).eval(),
            (torch.zeros(2, channels, height, width),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={name: {0: "n"} for name in (INPUT, *names)},
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


def manifest_document(
    trained: Trained,
    content: bytes,
    *,
    name: str,
    version: str,
    description: str,
) -> dict[str, Any]:
    """Return what ``pack.json`` says of a trained network.

    The temperatures are fitted on the validation pictures that were cut out of the training split.
    """
    settings = trained.settings
    return {
        "format": FORMAT_VERSION,
        "name": name,
        "version": version,
        "licence": " and ".join(sorted({str(source["licence"]) for source in trained.sources})),
        "taxonomy": trained.taxonomy.name,
        "description": description,
        "input": {
            "width": settings.width,
            "height": settings.height,
            "colour": settings.colour,
            "range": [0, 1],
            "framing": _framing(settings.framing),
        },
        "attributes": {attribute: _attribute(trained, attribute, trained.taxonomy) for attribute in ATTRIBUTES},
        "files": {ONNX_FILE: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}},
        "training": {
            "data": [dict(source) for source in trained.sources],
            "validation_images": len(trained.labels["age"]),
            "seed": settings.seed,
            "epoch": trained.epoch,
            "network": settings.network,
            "settings": settings.to_document(),
        },
    }


def export_pack(
    trained: Trained,
    folder: str | os.PathLike[str],
    *,
    name: str,
    version: str,
    description: str,
) -> Mapping[str, Any]:
    """Write a trained network as a model pack and return its manifest.

    Raises
    ------
    LabelerError
        If the folder cannot be written.
    """
    settings = trained.settings
    channels = 1 if settings.colour == "gray" else 3
    content = onnx_bytes(trained.network, channels, settings.height, settings.width)
    document = manifest_document(trained, content, name=name, version=version, description=description)
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / ONNX_FILE).write_bytes(content)
        (target / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise LabelerError(f"--out {target}: cannot be written ({error.strerror}); choose another folder") from error
    read_manifest(target)
    return document


def _framing(kind: str) -> dict[str, Any]:
    return {"kind": kind} if kind == "whole" else {"kind": kind, "points": [list(point) for point in TEMPLATE]}


def _attribute(trained: Trained, attribute: str, taxonomy: Taxonomy) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "file": ONNX_FILE,
        "output": attribute,
        "classes": list(taxonomy.classes[attribute]),
        "temperature": round(fit_temperature(trained.logits[attribute], trained.labels[attribute]), 4),
    }
    if COLUMNS[attribute] == "age_group":
        entry |= {"years": group_years(taxonomy.classes[attribute]), "years_output": None}
    return entry
