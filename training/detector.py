"""The face detector as it is shipped: YuNet's heads merged and its scores computed in the graph, which costs less."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from labeler.errors import LabelerError

STRIDES = (8, 16, 32)
KINDS = ("cls", "obj", "bbox", "kps")
CHANNELS = 16
"""Of a merged head: class, objectness, four of the box, ten of the landmarks."""

BODY = ("Conv", "Relu", "MaxPool", "Resize", "Add")
OPSET = 17
FILE = "yunet.onnx"
ABOUT = "detector.json"

Tensors = dict[str, npt.NDArray[np.generic]]


def merge_heads(source: onnx.ModelProto) -> onnx.ModelProto:
    """Return YuNet with one head a level instead of four, for pixels as they are decoded.

    The published network has, at each of three levels, a pointwise and a depthwise convolution for each of class,
    objectness, box and landmarks, and hands out twelve tensors. Side by side in one convolution they give the same
    numbers in less time, and the scores ``sqrt(class × objectness)`` come out of the graph.

    Parameters
    ----------
    source : onnx.ModelProto
        face_detection_yunet_2023mar: ``input`` (1, 3, height, width), BGR.

    Returns
    -------
    onnx.ModelProto
        ``pixels`` (height, width, 3), RGB, uint8, sides multiples of 16, to ``scores`` (cells,) and ``cells``
        (14, cells): what is left of the box and the landmarks, as `labeler.detector` decodes them.

    Raises
    ------
    LabelerError
        If the network is not built like YuNet.
    """
    tensors = _constants(source.graph)
    nodes = [node for node in source.graph.node if node.op_type in BODY]
    trunk = [node for node in nodes if not any("bbox_head" in name for name in node.input)]
    try:
        features, merged = _merged_heads(nodes, tensors)
        first = next(node for node in trunk if "input" in node.input).input[1]
        trunk = _rounded_up(trunk)
    except (KeyError, ValueError, StopIteration) as error:
        raise LabelerError("the network is not built like YuNet 2023mar; take face_detection_yunet_2023mar") from error
    tensors |= merged
    # Decoded pixels are RGB; the network was trained on BGR.
    tensors[first] = np.ascontiguousarray(tensors[first][:, ::-1])
    tensors |= {
        "flat": np.array([CHANNELS, -1]),
        "from_0": np.array([0]),
        "from_2": np.array([2]),
        "from_16": np.array([CHANNELS]),
        "corner": np.array([0, 0]),
        "finer_stride": np.array([STRIDES[1]] * 2),
        "sides": np.array([2, 3]),
    }
    ready = [*_entrance(), *trunk, *_levels(features), *_exit()]
    used = sorted({name for node in ready for name in node.input} & tensors.keys())
    graph = helper.make_graph(
        ready,
        "yunet",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["height", "width", 3])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("cells", TensorProto.FLOAT, [CHANNELS - 2, "n"]),
        ],
        [numpy_helper.from_array(tensors[name], name) for name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write_detector(source: str, folder: str) -> None:
    """Write the merged network and its checksum into a folder that describes the detector.

    Raises
    ------
    LabelerError
        If the source cannot be read or is not YuNet, or the folder holds no description.
    """
    try:
        content = merge_heads(onnx.load(source)).SerializeToString()
        about = json.loads((Path(folder) / ABOUT).read_text(encoding="utf-8"))
        about["files"]["detector"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (Path(folder) / FILE).write_bytes(content)
        (Path(folder) / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        raise LabelerError(f"{source}: cannot be made the detector in {folder} ({error}); check both paths") from error


def _constants(graph: onnx.GraphProto) -> Tensors:
    """Return every constant tensor of a graph by name, those that a node reshapes included."""
    found: Tensors = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        if node.op_type == "Reshape" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]].reshape(found[node.input[1]])
    return found


def _merged_heads(
    nodes: Sequence[NodeProto], tensors: Mapping[str, npt.NDArray[np.generic]]
) -> tuple[list[str], Tensors]:
    """Return the name of each level's features, and the tensors of its merged convolutions."""
    features: list[str] = []
    merged: Tensors = {}
    for level, stride in enumerate(STRIDES):
        pairs = []
        for kind in KINDS:
            pointwise, depthwise = (
                node for node in nodes if any(f"bbox_head.multi_level_{kind}.{level}." in name for name in node.input)
            )
            pairs.append((pointwise, depthwise))
        features.append(pairs[0][0].input[0])
        for number, name in enumerate(("pointwise", "depthwise")):
            for place, part in ((1, "weight"), (2, "bias")):
                values = [tensors[pair[number].input[place]] for pair in pairs]
                merged[f"head_{stride}_{name}_{part}"] = np.concatenate(values).astype(np.float32)
    return features, merged


def _rounded_up(trunk: Sequence[NodeProto]) -> list[NodeProto]:
    """Return the trunk for sides that are multiples of 16: those of the coarsest level are rounded up, not down.

    Where it is laid over the level before, what reaches past that is cut off.
    """
    *_, last_pooling = (node for node in trunk if node.op_type == "MaxPool")
    enlarging = next(node for node in trunk if node.op_type == "Resize")
    nodes = []
    for original in trunk:
        node = NodeProto()
        node.CopyFrom(original)
        nodes.append(node)
        if original is last_pooling:
            kept = [attribute for attribute in node.attribute if attribute.name != "ceil_mode"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("ceil_mode", 1)])
        if original is enlarging:
            node.output[0] = "enlarged"
            nodes.append(helper.make_node("Slice", ["enlarged", "corner", "finer", "sides"], original.output))
    return nodes


def _entrance() -> list[NodeProto]:
    return [
        helper.make_node("Shape", ["pixels"], ["size"], start=0, end=2),
        helper.make_node("Div", ["size", "finer_stride"], ["finer"]),
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", ["planes", "from_0"], ["input"]),
    ]


def _levels(features: Sequence[str]) -> list[NodeProto]:
    nodes = []
    for stride, feature in zip(STRIDES, features, strict=True):
        head = f"head_{stride}"
        weights = {name: [f"{head}_{name}_weight", f"{head}_{name}_bias"] for name in ("pointwise", "depthwise")}
        nodes += [
            helper.make_node("Conv", [feature, *weights["pointwise"]], [f"{head}_wide"], kernel_shape=[1, 1]),
            helper.make_node(
                "Conv",
                [f"{head}_wide", *weights["depthwise"]],
                [f"{head}_map"],
                kernel_shape=[3, 3],
                pads=[1] * 4,
                group=CHANNELS,
            ),
            helper.make_node("Reshape", [f"{head}_map", "flat"], [f"{head}_cells"]),
        ]
    return nodes


def _exit() -> list[NodeProto]:
    return [
        helper.make_node("Concat", [f"head_{stride}_cells" for stride in STRIDES], ["all"], axis=1),
        helper.make_node("Slice", ["all", "from_0", "from_2", "from_0"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["chances"]),
        helper.make_node("ReduceProd", ["chances"], ["product"], axes=[0], keepdims=0),
        helper.make_node("Sqrt", ["product"], ["scores"]),
        helper.make_node("Slice", ["all", "from_2", "from_16", "from_0"], ["cells"]),
    ]
