"""The channels of a layer norm, brought to one extent before they share a scale of 8 bits.

A few channels reach twenty times as far as the rest and would leave them a handful of levels. Each is divided by its
extent, and the rows of the matrices that read it are multiplied (Xiao et al., 2023, "SmoothQuant: Accurate and
Efficient Post-Training Quantization for Large Language Models"; all of the extent moves into the weights here, which
have scales of their own).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from training.rows import Array
from training.watching import watch

MOST = 0.999  # of a channel's values lie within its extent


def smooth(model: onnx.ModelProto, batches: Sequence[dict[str, Any]]) -> None:
    """Rewrites, in place, every product of a layer norm and a matrix."""
    graph = model.graph
    norms = {node.output[0] for node in graph.node if node.op_type == "LayerNormalization"}
    matrices = {tensor.name: tensor for tensor in graph.initializer}
    readers = [
        (node.input[0], node.input[1], at)
        for at, node in enumerate(graph.node)
        if node.op_type == "MatMul" and node.input[0] in norms and node.input[1] in matrices
    ]
    found = extents(model, sorted({norm for norm, _, _ in readers}), batches)
    for norm, matrix, at in readers:
        grown = numpy_helper.to_array(matrices[matrix]) * found[norm][:, None]
        graph.initializer.append(numpy_helper.from_array(grown, f"{matrix}_grown"))
        graph.node[at].input[:] = [f"{norm}_even", f"{matrix}_grown"]
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        name = node.output[0]
        if name in found:
            graph.initializer.append(numpy_helper.from_array(1 / found[name], f"{name}_shrink"))
            nodes.append(helper.make_node("Mul", [name, f"{name}_shrink"], [f"{name}_even"]))
    del graph.node[:]
    graph.node.extend(nodes)


def extents(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[dict[str, Any]]
) -> dict[str, Array]:
    """By tensor, how far each channel reaches in any batch, float32 [channels], 1 on (geometric) average."""
    found: dict[str, Array] = {}
    for name, values in watch(model, names, batches):
        reach = np.quantile(np.abs(values), MOST, axis=0)
        found[name] = np.maximum(found.get(name, 1e-6), reach).astype(np.float32)
    return {name: reach / np.exp(np.log(reach).mean()) for name, reach in found.items()}
