"""Proof that what ships is what was trained: tokens, fp32 scores, int8 scores, and no influence of
neighbours.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from training import metrics
from training.batches import Collator
from training.checkpoint import Checkpoint
from training.errors import ParityError
from training.exported import Exported
from training.graph import Scorer
from training.rows import Array, Rows

TEXTS = 1000
FP32_TOLERANCE = 1e-4
NEIGHBOUR_TOLERANCE = 1e-4
INT8_LOSS = 0.005  # macro-F1


def tokens(checkpoint: Checkpoint, exported: Exported, texts: list[str]) -> None:
    """Raises ParityError at the first text whose ids differ between training's tokenizer and the exported
    one.
    """
    ours = checkpoint.tokenizer(texts, truncation=True, max_length=checkpoint.recipe.encoder.max_tokens)[
        "input_ids"
    ]
    for number, (ids, encoding) in enumerate(zip(ours, exported.tokenizer.encode_batch(texts), strict=True)):
        if list(ids) != encoding.ids:
            raise ParityError(f"text {number} of {len(texts)}: the exported tokenizer gives other tokens")


def fp32(checkpoint: Checkpoint, exported: Exported, texts: list[str]) -> float:
    """Greatest difference between torch and the fp32 graph over all outputs; ParityError beyond the
    tolerance.
    """
    scorer, collate = (
        Scorer(checkpoint.model, checkpoint.calibration),
        Collator(checkpoint.tokenizer.pad_token_id or 0),
    )
    ids = checkpoint.tokenizer(texts, truncation=True, max_length=checkpoint.recipe.encoder.max_tokens)[
        "input_ids"
    ]
    found = exported.score(texts)
    worst = 0.0
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            inputs = collate([{"input_ids": row} for row in ids[start : start + 64]])
            for name, value in zip(scorer.outputs, scorer(**inputs), strict=True):
                worst = max(worst, float(np.abs(value.numpy() - found[name][start : start + 64]).max()))
    if worst > FP32_TOLERANCE:
        raise ParityError(f"fp32 ONNX differs from torch by {worst:.2e}, more than {FP32_TOLERANCE:.0e}")
    return worst


def neighbours(exported: Exported, texts: list[str]) -> float:
    """Greatest difference between scoring texts alone and in batches with others."""
    alone, together = exported.score(texts, slice_=1), exported.score(texts)
    worst = max(float(np.abs(alone[name] - together[name]).max()) for name in alone)
    if worst > NEIGHBOUR_TOLERANCE:
        raise ParityError(
            f"scores shift by {worst:.2e} with batch neighbours, more than {NEIGHBOUR_TOLERANCE:.0e}"
        )
    return worst


def figures(checkpoint: Checkpoint, scores: Mapping[str, Array], rows: Rows) -> dict[str, dict[str, Any]]:
    """Scores of an exported model by task and source; an older version may lack a task."""
    heads = {key: task for key, task in checkpoint.recipe.heads.items() if task.name in scores}
    by_key = {key: scores[task.name] for key, task in heads.items()}
    return metrics.by_source(by_key, rows.targets, rows.sources, heads, checkpoint.thresholds)


def int8(float_table: Mapping[str, Mapping[str, Any]], int8_table: Mapping[str, Mapping[str, Any]]) -> float:
    """Mean macro-F1 that int8 loses; ParityError beyond the tolerance."""
    lost = float(np.mean([float_table[key]["macro_f1"] - int8_table[key]["macro_f1"] for key in float_table]))
    if lost > INT8_LOSS:
        raise ParityError(f"int8 loses {100 * lost:.2f} points of macro-F1, more than {100 * INT8_LOSS}")
    return lost
