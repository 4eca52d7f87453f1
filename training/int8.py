"""Smaller graphs whose scores do not depend on a text's batch neighbours.

`weights` stores embedding tables per row (narrow ones per column, or wide ones in blocks of 4-bit values) and
matrices per column as int8 and computes in float. `static` quantizes activations too, with ranges fixed by
calibration texts. Dynamic quantization is left out on purpose: it scales activations over the whole batch, so
a text's scores shift with its neighbours.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from training.rows import Array

MICROSOFT = "com.microsoft"  # domain of what ONNX Runtime adds to ONNX
LEAST = 4096  # smaller tensors are not worth their scales
NARROW = 64  # columns below which a table's rows are not worth four bytes of scale each
BLOCK = 64  # values of a row that share a scale where they have four bits


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


def from_nibbles(packed: NDArray[np.uint8], scale: Array) -> Array:
    """What the graph makes of `nibbles`, float32 [rows, columns]."""
    levels = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1, BLOCK)
    return ((levels.astype(np.float32) - 8) * scale[..., None]).reshape(len(packed), -1)


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
        if table is not None and table_bits == 4 and table.dims[1] % BLOCK == 0:
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


class Calibrating(CalibrationDataReader):
    """Feeds batches of token ids and masks to the static quantizer."""

    def __init__(self, batches: Sequence[dict[str, Any]]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


def quantize(
    source: Path, target: Path, kind: str, batches: Sequence[dict[str, Any]], table_bits: int = 8
) -> None:
    """Writes `target`; `batches` are used by `static` alone. Weight-only int8 comes on top of it for the
    tables, the wide ones of `table_bits`, 4 or 8.
    """
    model = onnx.load(source)
    if kind == "static":
        ready = target.with_suffix(".ready.onnx")
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(target),
            Calibrating(batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm", "Conv"],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        ready.unlink()
        model = onnx.load(target)
    onnx.save(quantize_weights(model, table_bits) if kind != "none" else model, target)
