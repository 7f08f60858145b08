"""An exported graph whose averages of 2 x 2 pixels are part of the convolution behind them: the same in less time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import helper, numpy_helper


def merge_averages(content: bytes) -> bytes:
    """Return an ONNX network whose 1x1 convolutions of 2x2 averages are 2x2 convolutions of stride 2.

    The weights are a quarter of what they were, four times. An average over an odd side, or one that another node uses
    too, stays as it is.

    Parameters
    ----------
    content : bytes
        A float32 network as `training.export` writes it.
    """
    model = onnx.load_from_string(content)
    nodes, initializers = model.graph.node, {item.name: item for item in model.graph.initializer}
    sides = {
        item.name: [side.dim_value for side in item.type.tensor_type.shape.dim[2:]]
        for item in [*onnx.shape_inference.infer_shapes(model).graph.value_info, *model.graph.input]
    }
    uses = Counter(name for node in nodes for name in node.input) + Counter(item.name for item in model.graph.output)
    for pool in [node for node in nodes if node.op_type == "AveragePool"]:
        behind = next((node for node in nodes if pool.output[0] in node.input), pool)
        alone = uses[pool.output[0]] == 1 and _is_pointwise(behind) and uses[behind.input[1]] == 1
        if not (alone and behind.input[1] in initializers and _halves(pool, sides.get(pool.input[0], []))):
            continue
        kernel = initializers[behind.input[1]]
        merged = np.repeat(np.repeat(numpy_helper.to_array(kernel) / 4, 2, axis=2), 2, axis=3)
        kernel.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(merged), kernel.name))
        behind.input[0] = pool.input[0]
        kept = [item for item in behind.attribute if item.name not in ("kernel_shape", "strides", "pads")]
        del behind.attribute[:]
        behind.attribute.extend([*kept, *(helper.make_attribute(name, [2, 2]) for name in ("kernel_shape", "strides"))])
        nodes.remove(pool)
    return bytes(model.SerializeToString())


def _halves(pool: onnx.NodeProto, sides: list[int]) -> bool:
    """Tell whether a node averages 2 x 2 pixels of a picture of these sides, each pixel once."""
    even = len(sides) == 2 and all(side > 0 and side % 2 == 0 for side in sides)
    return (
        even and _values(pool, "kernel_shape") == [2, 2] == _values(pool, "strides") and not any(_values(pool, "pads"))
    )


def _is_pointwise(node: onnx.NodeProto) -> bool:
    plain = set(_values(node, "strides")) <= {1} and not any(_values(node, "pads"))
    return node.op_type == "Conv" and _values(node, "kernel_shape") == [1, 1] and plain


def _values(node: onnx.NodeProto, name: str) -> list[int]:
    return next((list(item.ints) for item in node.attribute if item.name == name), [])
