"""Losses over partly labelled targets: whatever is NaN costs nothing."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.labels import Task
from training.recipe import LossKind
from training.rows import Array

FOCUS = 2.0  # gamma of Lin et al., "Focal Loss for Dense Object Detection" (2017)
MOST_WEIGHT = 10.0  # a label of a handful of rows must not drown the others


def label_weights(targets: Array, kind: Literal["multilabel", "multiclass"]) -> Array:
    """Balanced weights, float32 [labels]: multilabel absent / present, multiclass rows / (labels *
    present).
    """
    present = np.nansum(targets, axis=0)
    said = (~np.isnan(targets)).sum(axis=0)
    if kind == "multilabel":
        weights = np.sqrt((said - present) / np.maximum(present, 1))
    else:
        weights = said / np.maximum(present, 1) / targets.shape[1]
    return np.asarray(np.clip(weights, 1 / MOST_WEIGHT, MOST_WEIGHT), dtype=np.float32)


def task_loss(
    logits: Tensor, targets: Tensor, task: Task, kind: LossKind, weights: Tensor, choice: float = 0.0
) -> Tensor:
    """Mean loss of one task over the rows [B, labels] that say something about it; zero if none does."""
    said = ~torch.isnan(targets)
    rows = said.any(dim=1)
    truth = torch.where(said, targets, torch.zeros_like(targets))
    if task.kind == "multiclass":
        return _mean(_choice(logits, truth, said, kind, weights), rows)
    each = functional.binary_cross_entropy_with_logits(
        logits, truth, reduction="none", pos_weight=weights if kind == "balanced" else None
    )
    if kind == "focal":
        each = each * (truth - torch.sigmoid(logits)).abs() ** FOCUS
    loss = _mean(torch.where(said, each, torch.zeros_like(each)).sum(dim=1), rows)
    if choice:
        loss = loss + choice * _mean(
            _choice(logits, truth, said, "plain", weights), rows & (truth.sum(dim=1) > 0)
        )
    return loss


def _choice(logits: Tensor, truth: Tensor, said: Tensor, kind: LossKind, weights: Tensor) -> Tensor:
    """Cross entropy of each row [B] among the labels its set knows; several present labels share the
    target.
    """
    share = truth / truth.sum(dim=1, keepdim=True).clamp(min=1e-6)
    logs = torch.log_softmax(logits.masked_fill(~said, -1e4), dim=1)
    if kind == "balanced":
        share = share * weights
    if kind == "focal":
        share = share * (1 - logs.exp()) ** FOCUS
    return -(share * logs).sum(dim=1)


def _mean(losses: Tensor, rows: Tensor) -> Tensor:
    return torch.where(rows, losses, torch.zeros_like(losses)).sum() / rows.sum().clamp(min=1)
