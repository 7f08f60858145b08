"""Tiny model packs for tests: a linear layer over the crop, made without a training library."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from labeler.taxonomy import ATTRIBUTES, TAXONOMIES

YEARS = (1.0, 6.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0)
LANDMARKS = ((0.29, 0.35), (0.71, 0.35), (0.5, 0.58), (0.33, 0.8), (0.67, 0.8))


def write_pack(
    folder: Path,
    *,
    taxonomy: str = "fairface",
    width: int = 48,
    height: int = 48,
    colour: str = "gray",
    framing: str = "whole",
    seed: int = 7,
    years_output: bool = False,
) -> Path:
    """Write a pack whose logits are a fixed random linear map of the crop; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = TAXONOMIES[taxonomy].classes
    channels = 1 if colour == "gray" else 3
    model = _linear_model(channels * height * width, (channels, height, width), classes, seed, years_output)
    content = model.SerializeToString()
    (folder / "labels.onnx").write_bytes(content)
    attributes: dict[str, Any] = {
        name: {"file": "labels.onnx", "output": name, "classes": list(classes[name]), "temperature": 1.0}
        for name in ATTRIBUTES
    }
    attributes["age"]["years"] = list(YEARS)
    attributes["age"]["years_output"] = "years" if years_output else None
    points = [list(point) for point in LANDMARKS] if framing == "landmarks" else []
    manifest = {
        "format": 1,
        "name": "tiny",
        "version": "0.0.1",
        "licence": "CC0-1.0",
        "taxonomy": taxonomy,
        "description": "A fixed random linear map, for tests.",
        "input": {
            "width": width,
            "height": height,
            "colour": colour,
            "range": [0, 1],
            "framing": {"kind": framing, **({"points": points} if points else {})},
        },
        "attributes": attributes,
        "files": {"labels.onnx": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}},
        "training": {"data": [], "seed": seed},
    }
    (folder / "pack.json").write_text(json.dumps(manifest, indent=1))
    return folder


def _linear_model(
    size: int, shape: tuple[int, int, int], classes: Any, seed: int, years_output: bool
) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    nodes = [helper.make_node("Flatten", ["crop"], ["flat"])]
    constants, outputs = [], []
    widths = {name: len(classes[name]) for name in ATTRIBUTES} | ({"years": 1} if years_output else {})
    for name, width in widths.items():
        weight = rng.normal(0, 12 / size**0.5, (size, width)).astype(np.float32)
        constants.append(numpy_helper.from_array(weight - weight.mean(0), f"{name}_weight"))
        nodes.append(helper.make_node("MatMul", ["flat", f"{name}_weight"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]))
    graph_input = helper.make_tensor_value_info("crop", TensorProto.FLOAT, ["n", *shape])
    graph = helper.make_graph(nodes, "tiny", [graph_input], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
