"""torch -> ONNX: the trained model with links and temperatures inside, so that outputs are probabilities."""

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from training.calibration import Calibration
from training.models import Classifier


class Scorer(nn.Module):
    """int64 [B,T] ids and mask -> probabilities per task, float32 [B, labels], then the embedding [B,D]."""

    def __init__(self, model: Classifier, calibration: dict[str, Calibration]) -> None:
        super().__init__()
        self.model = model
        for name, fit in calibration.items():
            self.register_buffer(f"scale_{name}", torch.from_numpy(fit.scale))
            self.register_buffer(f"shift_{name}", torch.from_numpy(fit.shift))
        self.eval()

    @property
    def outputs(self) -> list[str]:
        return [*(task.name for task in self.model.tasks.values()), "embedding"]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        output = self.model(input_ids, attention_mask)
        scores = []
        for name, task in self.model.tasks.items():
            logits = output["logits"][name] * getattr(self, f"scale_{name}") + getattr(self, f"shift_{name}")
            scores.append(
                torch.sigmoid(logits) if task.kind == "multilabel" else torch.softmax(logits, dim=-1)
            )
        return (*scores, output["embedding"])


def write_onnx(scorer: Scorer, path: Path) -> None:
    """One file, weights inside, batch and length dynamic."""
    ids = torch.randint(1, 50, (2, 16))
    shape = {0: torch.export.Dim("batch", min=1, max=1024), 1: torch.export.Dim("length", min=1, max=128)}
    with torch.inference_mode():
        program = torch.onnx.export(
            scorer,
            (ids, torch.ones_like(ids)),
            input_names=["input_ids", "attention_mask"],
            dynamic_shapes={"input_ids": shape, "attention_mask": shape},
            dynamo=True,
            verbose=False,
        )
    onnx.save(_named(program.model_proto, scorer.outputs), path)


def _named(model: onnx.ModelProto, outputs: list[str]) -> onnx.ModelProto:
    """Outputs get their names here: the exporter lets them collide with values it names after operators."""
    final = {value.name: name for value, name in zip(model.graph.output, outputs, strict=True)}
    inner = {name: f"value_{i}" for i, name in enumerate(n for node in model.graph.node for n in node.output)}
    names = {**inner, **final}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        del node.metadata_props[:]  # stack traces of the exporting machine, a quarter of a small file
    for value in model.graph.output:
        value.name = names[value.name]
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]
    return model
