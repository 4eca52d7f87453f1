"""What a model says of rows; it knows nothing of targets."""

import numpy as np
import torch

from training.batches import Collator, EncodedRows
from training.models import Classifier
from training.rows import Array


def predict(model: Classifier, rows: EncodedRows, pad: int, batch: int = 256) -> dict[str, Array]:
    """Logits per task, float32 [rows, labels]; rows run in order of length, which wastes no padding."""
    collate, device = Collator(pad), next(model.parameters()).device
    order = sorted(range(len(rows)), key=lambda index: len(rows.ids[index]))
    found: dict[str, Array] = {
        name: np.empty((len(rows), len(task.labels)), np.float32) for name, task in model.tasks.items()
    }
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            inputs = collate([{"input_ids": rows.ids[index]} for index in part])
            outputs = model(**{key: value.to(device) for key, value in inputs.items()})
            for name, logits in outputs["logits"].items():
                found[name][part] = logits.float().cpu().numpy()
    return found
