"""Makes probabilities mean what they say, and finds where to cut them; both on dev.

A task gets one temperature (Guo et al., 2017), a multilabel one a shift besides (Platt scaling), alike for all its
labels: a shift of its own would move a label to the base rate of whichever set says it most, at the others' cost.
Thresholds then maximise each label's F1.
"""

from dataclasses import dataclass

import numpy as np
import torch

from training.labels import Task
from training.losses import task_loss
from training.rows import Array, known

LEAST = 1e-6  # a float32 probability says nothing of what is nearer to 0 or 1
GRID = np.linspace(0.05, 0.95, 91)


@dataclass(frozen=True, slots=True)
class Calibration:
    """probability = link(logits * scale + shift); scale is 1 / temperature, both float32 [labels]."""

    scale: Array
    shift: Array

    def apply(self, logits: Array) -> Array:
        return np.asarray(logits * self.scale + self.shift, dtype=np.float32)

    def undo(self, probabilities: Array, task: Task) -> Array:
        """The logits behind calibrated probabilities; those of a multiclass task but for a constant a row."""
        sure = np.clip(probabilities, LEAST, 1 - LEAST)
        logits = np.log(sure) - (np.log1p(-sure) if task.kind == "multilabel" else 0)
        return np.asarray((logits - self.shift) / self.scale, dtype=np.float32)


def fit(logits: Array, targets: Array, task: Task) -> Calibration:
    """Least negative log likelihood over the known targets, by L-BFGS; as it is where dev says nothing."""
    rows = known(targets)
    x, y = torch.from_numpy(logits[rows]), torch.from_numpy(targets[rows])
    log_scale = torch.zeros(1, requires_grad=True)
    shift = torch.zeros(1, requires_grad=task.kind == "multilabel")
    parameters = [log_scale, shift] if shift.requires_grad else [log_scale]
    optimizer = torch.optim.LBFGS(parameters, max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task_loss(x * log_scale.exp() + shift, y, task, "plain", torch.ones(len(task.labels)))
        loss = loss + 1e-4 * sum((p**2).sum() for p in parameters)
        loss.backward()
        return loss

    if len(x):
        optimizer.step(closure)
    ones = np.ones(len(task.labels), dtype=np.float32)
    return Calibration(
        log_scale.detach().exp().numpy() * ones, (shift.detach().numpy() * ones).astype(np.float32)
    )


def thresholds(probabilities: Array, targets: Array) -> list[float]:
    """Per label, the cut that gives the best F1 on dev; 0.5 where dev never says the label."""
    cuts = []
    for column in range(targets.shape[1]):
        said = ~np.isnan(targets[:, column])
        truth, p = targets[said, column] >= 0.5, probabilities[said, column]
        if not truth.any():
            cuts.append(0.5)
            continue
        guess = p[None, :] >= GRID[:, None]
        hits = (guess & truth).sum(axis=1)
        f1 = 2 * hits / np.maximum(guess.sum(axis=1) + truth.sum(), 1)
        cuts.append(round(float(GRID[f1.argmax()]), 4))
    return cuts
