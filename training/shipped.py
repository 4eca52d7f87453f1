"""A shipped version as a checkpoint again: its weights, as int8 left them, by the names they had in training.

It knows graphs of the encoder in `training.encoders.use` alone, and trained ones: the exporter keeps but one of two weights
that are alike. Labels come from the recipe.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from transformers import PreTrainedTokenizerFast

from training import int8
from training.calibration import Calibration
from training.checkpoint import Checkpoint
from training.encoders.use import UseConfig, UseEncoder
from training.errors import CheckpointError
from training.labels import Task
from training.models import Classifier
from training.recipe import Recipe
from training.rows import Array


class Graph:
    """What a graph that `training.graph` and `training.int8` wrote keeps."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self.nodes = list(graph.node)
        self.made = {name: node for node in self.nodes for name in node.output}
        self.stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def value(self, name: str) -> Array:
        """A tensor as float32, scaled back where it is kept as int8."""
        if name in self.stored:
            return np.array(self.stored[name], np.float32)
        scale = self.stored[f"{name}_scale"]
        if f"{name}_nibbles" in self.stored:
            return int8.from_nibbles(self.stored[f"{name}_nibbles"], scale)
        values = self.stored[f"{name}_int8"]
        back = self.made.get(f"{name}_float")
        if back is not None and back.attribute[0].i == 0:  # the axis of its scales
            scale = scale[:, None]
        return np.asarray(values * scale, np.float32)

    def weights(self) -> dict[str, Array]:
        """The classifier's state, by name."""
        names = {re.sub("_(int8|nibbles|scale)$", "", name) for name in self.stored}
        found = {name.removeprefix("model."): self.value(name) for name in names if name.startswith("model.")}
        # the exporter turns a linear layer's matrix over and forgets its name; the bias added next tells it
        for node in self.nodes:
            product = self.made.get(node.input[0])
            if node.op_type == "Add" and product is not None and product.op_type == "MatMul":
                layer = node.input[1].removeprefix("model.").removesuffix(".bias")
                found[f"{layer}.weight"] = self.value(product.input[1].removesuffix("_float")).T
        return found

    def calibration(self, task: Task) -> Calibration:
        """What stands between a task's logits and its link: times the scale, plus the shift."""
        plus = self.made[self.made[task.name].input[0]]
        times = self.made[plus.input[0]]
        return Calibration(self.value(times.input[1]), self.value(plus.input[1]))


def encoder_config(weights: Mapping[str, Array]) -> UseConfig:
    """Weights tell by their shapes how their encoder is built."""
    shape = {name.removeprefix("encoder."): value.shape for name, value in weights.items()}
    pieces, rank = shape["table.weight"]
    width, size = shape["convolutions.0.project.weight"]
    buckets, ngram_size = shape["ngrams.weight"]
    skip_buckets, skip_size = shape["linear_ngrams.weight"]
    windows = [shape[name][1] for name in sorted(shape) if name.endswith(".first.weight")]
    return UseConfig(
        vocab_size=pieces,
        rank=rank,
        embedding_size=size,
        width=width,
        orders=tuple(window // width for window in windows),
        pooled_size=shape["pool.weight"][0],
        ngrams=buckets,
        ngram_size=ngram_size,
        skip_size=skip_size,
        skip_ngrams=skip_buckets,
    )


def load(folder: Path, recipe: Recipe) -> Checkpoint:
    """The version in `folder`, made by `recipe`; raises CheckpointError where there is none."""
    if not (folder / "model.onnx").is_file():
        raise CheckpointError(f"{folder} holds no model.onnx")
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    if figures["recipe"] != recipe.name:
        raise CheckpointError(f"{folder} was made by recipe {figures['recipe']}, not {recipe.name}")
    graph = Graph(folder / "model.onnx")
    weights = graph.weights()
    if "encoder.table.weight" not in weights:
        raise CheckpointError(f"{folder} holds another encoder than that of training.encoders.use")
    encoder, heads = recipe.encoder, recipe.heads.items()
    model = Classifier(
        UseEncoder(encoder_config(weights)),
        recipe.heads,
        embedding=encoder.embedding,
        pooling=encoder.pooling,
        dropout=encoder.dropout,
    )
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        unk_token="<unk>",
        pad_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=encoder.max_tokens,
    )
    return Checkpoint(
        model.eval(),
        tokenizer,
        recipe,
        {name: graph.calibration(task) for name, task in heads},
        {
            name: figures["tasks"][task.name]["thresholds"]
            for name, task in heads
            if task.kind == "multilabel"
        },
        {"data": figures["data"], "dev": figures["dev"], "restored": int(folder.name)},
    )
