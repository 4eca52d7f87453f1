"""Runs an exported model folder as the Triton backend does: tokenizers, then ONNX Runtime, sorted by
length in slices.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from training.errors import CheckpointError
from training.rows import Array

SLICE = 16


class Exported:
    def __init__(self, folder: Path) -> None:
        if not (folder / "model.onnx").is_file():
            raise CheckpointError(f"{folder} holds no model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, ["CPUExecutionProvider"]
        )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.inputs = {item.name for item in self.session.get_inputs()}
        self.outputs = [item.name for item in self.session.get_outputs()]

    def batch(self, texts: list[str]) -> dict[str, Any]:
        encodings = self.tokenizer.encode_batch(texts)
        width = max(1, *(len(encoding.ids) for encoding in encodings))
        ids = np.zeros((len(texts), width), np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)], mask[row, : len(encoding.ids)] = encoding.ids, 1
        return {
            name: value
            for name, value in (("input_ids", ids), ("attention_mask", mask))
            if name in self.inputs
        }

    def score(self, texts: list[str], *, slice_: int = SLICE) -> dict[str, Array]:
        """Every output, float32 [texts, ...], in the order of `texts`."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        slices = [order[start : start + slice_] for start in range(0, len(order), slice_)]
        found: dict[str, Array] = {}
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for part, values in zip(
                slices, pool.map(lambda part: self._run(texts, part), slices), strict=True
            ):
                for name, value in zip(self.outputs, values, strict=True):
                    found.setdefault(name, np.empty((len(texts), value.shape[1]), np.float32))[part] = value
        return found

    def _run(self, texts: list[str], part: list[int]) -> list[Array]:
        outputs: list[Array] = self.session.run(self.outputs, self.batch([texts[index] for index in part]))
        return outputs
