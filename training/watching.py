"""What flows inside a graph: the values of named tensors for calibration texts."""

from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto, helper

from training.rows import Array


def watch(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[dict[str, Any]]
) -> Iterator[tuple[str, Array]]:
    """Name and float32 [values, channels] of every tensor for every batch, padding left out where there is any."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in batches if names else ():
        present = batch["attention_mask"] > 0
        for name, values in zip(names, session.run(list(names), batch), strict=True):
            whole = values.shape[:2] == present.shape
            yield name, values[present] if whole else values.reshape(-1, values.shape[-1])
