"""Smaller graphs whose scores do not depend on a text's batch neighbours.

`weights` stores embedding tables per row (narrow ones per column, or wide ones in blocks of 4-bit values) and
matrices per column as int8 and computes in float. `static` quantizes activations too, with ranges fixed by
calibration texts. Dynamic quantization is left out on purpose: it scales activations over the whole batch, so
a text's scores shift with its neighbours.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.rows import Array
from training.smoothing import smooth
from training.watching import watch

MICROSOFT = "com.microsoft"  # domain of what ONNX Runtime adds to ONNX
LEAST = 4096  # smaller tensors are not worth their scales
NARROW = 64  # columns below which a table's rows are not worth four bytes of scale each
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # shares of the range seen that may be kept
WATCHED = 17  # of so many values one is watched
BLOCK = 64  # values of a row that share a scale where they have four bits
MANY = 1024  # rows below which four bits would save next to nothing: positions keep eight


def scaled(values: Array, axis: int) -> tuple[NDArray[np.int8], Array]:
    """Symmetric int8 [rows, columns] and float32 scales, one per index of `axis`."""
    scale = np.abs(values).max(axis=1 - axis) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.round(values / np.expand_dims(scale, 1 - axis)).astype(np.int8), scale


def nibbles(values: Array) -> tuple[NDArray[np.uint8], Array]:
    """[rows, columns] as 4-bit values, two to a byte, the left one low: uint8 [rows, columns / 2], and float32 scales
    [rows, columns / BLOCK]. A value is (nibble - 8) * scale, as ONNX Runtime's GatherBlockQuantized has it.
    """
    blocks = values.reshape(len(values), -1, BLOCK)
    farthest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1, keepdims=True), axis=-1)
    scale = np.where(farthest == 0, 1, farthest / -8).astype(np.float32)  # one more level below 0 than above
    levels = (np.clip(np.round(blocks / scale), -8, 7) + 8).astype(np.uint8).reshape(values.shape)
    return (levels[:, ::2] | levels[:, 1::2] << 4).astype(np.uint8), scale[..., 0]


def quantize_weights(model: onnx.ModelProto, table_bits: int = 8) -> onnx.ModelProto:
    """Rewrites Gather tables and MatMul / Gemm matrices of `LEAST` values or more."""
    graph = model.graph
    large = {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2 and np.prod(tensor.dims) >= LEAST
    }
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()
    for node in graph.node:
        table = large.get(node.input[0]) if node.op_type == "Gather" and _axis(node) == 0 else None
        matrix = large.get(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
        if table is not None and table_bits == 4 and table.dims[0] >= MANY and table.dims[1] % BLOCK == 0:
            nodes.append(_gather_nibbles(graph, node, table))
        elif table is not None:
            nodes += _gather(graph, node, table, done)
        elif matrix is not None:
            nodes += _dequantized(graph, node, matrix, done)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    if any(node.domain == MICROSOFT for node in graph.node):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    onnx.checker.check_model(model)
    return model


def _axis(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def _store(
    graph: onnx.GraphProto, tensor: onnx.TensorProto, axis: int, done: set[str], keep: bool
) -> tuple[str, str]:
    names = f"{tensor.name}_int8", f"{tensor.name}_scale"
    if tensor.name not in done:
        done.add(tensor.name)
        values, scale = scaled(numpy_helper.to_array(tensor), axis)
        graph.initializer.append(numpy_helper.from_array(values, names[0]))
        graph.initializer.append(numpy_helper.from_array(scale[:, None] if keep else scale, names[1]))
    return names


def _gather(
    graph: onnx.GraphProto, node: onnx.NodeProto, table: onnx.TensorProto, done: set[str]
) -> Iterator[onnx.NodeProto]:
    by_row = table.dims[1] >= NARROW
    values, scale = _store(graph, table, 0 if by_row else 1, done, keep=by_row)
    out, index = node.output[0], node.input[1]
    yield helper.make_node("Gather", [values, index], [f"{out}_int8"], axis=0)
    if by_row:
        yield helper.make_node("Gather", [scale, index], [f"{out}_scale"], axis=0)
        scale = f"{out}_scale"
    yield helper.make_node("Cast", [f"{out}_int8"], [f"{out}_cast"], to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{out}_cast", scale], [out])


def _gather_nibbles(graph: onnx.GraphProto, node: onnx.NodeProto, table: onnx.TensorProto) -> onnx.NodeProto:
    names = f"{table.name}_nibbles", f"{table.name}_scale"
    if names[0] not in {tensor.name for tensor in graph.initializer}:
        for name, values in zip(names, nibbles(numpy_helper.to_array(table)), strict=True):
            graph.initializer.append(numpy_helper.from_array(values, name))
    return helper.make_node(
        "GatherBlockQuantized",
        [names[0], node.input[1], names[1]],
        [node.output[0]],
        domain=MICROSOFT,
        bits=4,
        block_size=BLOCK,
        gather_axis=0,
        quantize_axis=1,
    )


def _dequantized(
    graph: onnx.GraphProto, node: onnx.NodeProto, matrix: onnx.TensorProto, done: set[str]
) -> Iterator[onnx.NodeProto]:
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    axis = 0 if transposed else 1
    first = matrix.name not in done
    values, scale = _store(graph, matrix, axis, done, keep=False)
    if first:
        yield helper.make_node("DequantizeLinear", [values, scale], [f"{matrix.name}_float"], axis=axis)
    node.input[1] = f"{matrix.name}_float"
    yield node


def quantize_activations(model: onnx.ModelProto, batches: Sequence[dict[str, Any]]) -> onnx.ModelProto:
    """Products with matrices of `LEAST` values or more become int8 with fixed ranges, one range a tensor.

    ONNX Runtime's own static quantizer rounds the products too, which costs accuracy, and time in its kernels.
    """
    graph = model.graph
    matrices = {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2 and np.prod(tensor.dims) >= LEAST
    }
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in matrices]
    ranges = activation_ranges(model, sorted({node.input[0] for node in products}), batches)
    biases = {
        node.input[0]: node
        for node in graph.node
        if node.op_type == "Add" and any(tensor.name == node.input[1] for tensor in graph.initializer)
    }
    done: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    folded = {biases[node.output[0]].output[0] for node in products if node.output[0] in biases}
    for node in graph.node:
        if any(node is product for product in products):
            nodes += _int8_product(graph, node, biases.get(node.output[0]), ranges, matrices, done)
        elif node.output[0] not in folded:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _int8_product(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    bias: onnx.NodeProto | None,
    ranges: Mapping[str, tuple[np.float32, np.uint8]],
    matrices: Mapping[str, onnx.TensorProto],
    done: set[str],
) -> Iterator[onnx.NodeProto]:
    left, matrix = node.input
    rounded, scale, zero = f"{left}_uint8", f"{left}_range", f"{left}_zero"
    if rounded not in done:
        done.add(rounded)
        for name, value in zip((scale, zero), ranges[left], strict=True):
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        yield helper.make_node("QuantizeLinear", [left, scale, zero], [rounded])
    values, scales = _store(graph, matrices[matrix], 1, done, keep=False)
    yield helper.make_node(
        "MatMulIntegerToFloat",
        [rounded, values, scale, scales, zero, "", *([bias.input[1]] if bias else [])],
        [bias.output[0] if bias else node.output[0]],
        domain=MICROSOFT,
    )


def activation_ranges(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[dict[str, Any]]
) -> dict[str, tuple[np.float32, np.uint8]]:
    """By tensor, scale and zero point with the least squared error over all batches: a value is (uint8 - zero) * scale.

    A few outliers would take the range from all other values, so its ends may be clipped.
    """
    seen: dict[str, list[Array]] = {name: [] for name in names}
    for name, values in watch(model, names, batches):
        seen[name].append(values.ravel()[::WATCHED])
    return {name: least_error(np.concatenate(values)) for name, values in seen.items()}


def least_error(values: Array) -> tuple[np.float32, np.uint8]:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 1e-6)
    found = []
    for below, above in itertools.product(CLIPS if low < 0 else (1.0,), CLIPS):
        scale = (high * above - low * below) / 255
        zero = round(-low * below / scale)
        back = (np.clip(np.round(values / scale) + zero, 0, 255) - zero) * scale
        found.append((float(np.square(back - values).sum()), scale, zero))
    _, scale, zero = min(found)
    return np.float32(scale), np.uint8(zero)


def quantize(
    source: Path, target: Path, kind: str, batches: Sequence[dict[str, Any]], table_bits: int = 8
) -> None:
    """Writes `target`; `batches` are used by `static` alone. Weight-only int8 comes on top of it for the
    tables, the wide ones of `table_bits`, 4 or 8.
    """
    model = onnx.load(source)
    if kind == "static":
        smooth(model, batches)
        model = quantize_activations(model, batches)
    onnx.save(quantize_weights(model, table_bits) if kind != "none" else model, target)
