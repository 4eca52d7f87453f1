"""One encoder, several heads, one embedding: the module that Trainer trains and `export` traces.

The encoder is any `transformers` model called as `encoder(input_ids, attention_mask)`; the module knows
nothing of tokenizers, files or metrics.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.encoders.first import end_at_first
from training.labels import Task
from training.losses import task_loss
from training.recipe import LossKind

Pooling = Literal["mean", "first", "pooled"]


class Classifier(nn.Module):
    """ids and mask, int64 [B,T] -> {"logits": {task: float [B, labels]}, "embedding": float [B,D] of unit
    length}.
    """

    def __init__(
        self,
        encoder: nn.Module,
        heads: Mapping[str, Task],
        *,
        embedding: int,
        pooling: Pooling,
        dropout: float,
    ) -> None:
        super().__init__()
        self.encoder, self.tasks, self.pooling = encoder, dict(heads), pooling
        if pooling != "mean":
            end_at_first(encoder)
        self.project = nn.Linear(encoder.config.hidden_size, embedding)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(embedding, len(task.labels)) for name, task in heads.items()}
        )
        self.loss: LossKind = "plain"
        self.choice = 0.0
        self.even = 0.0
        for name, task in heads.items():  # not part of a checkpoint: they belong to the data
            self.register_buffer(f"weights_{name}", torch.ones(len(task.labels)), persistent=False)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The vector [B,D] that the heads read, before it is scaled to unit length."""
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return functional.gelu(self.project(self.dropout(self._pool(output, attention_mask))))

    def _pool(self, output: Any, attention_mask: Tensor) -> Tensor:
        if self.pooling == "pooled":
            pooled: Tensor = output.pooler_output
            return pooled
        hidden: Tensor = output.last_hidden_state
        if self.pooling == "first":
            return hidden[:, 0]
        present = attention_mask.to(hidden.dtype).unsqueeze(-1)
        return (hidden * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **targets: Tensor) -> dict[str, Any]:
        """With targets per task (float [B, labels], NaN unknown) there is also a `loss`: the sum of the tasks' means
        over rows, each times the share of the batch's rows that it is over to the power of `even`.
        """
        vector = self.embed(input_ids, attention_mask)
        read = self.dropout(vector)
        logits = {name: head(read) for name, head in self.heads.items()}
        output: dict[str, Any] = {"logits": logits, "embedding": functional.normalize(vector, dim=-1)}
        if targets:
            output = {"loss": self.loss_of(logits, targets), **output}
        return output

    def loss_of(self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Of logits and targets per task, both float [B, labels]; see `forward`."""
        losses = [
            task_loss(
                logits[name].float(),
                targets[name],
                task,
                self.loss,
                getattr(self, f"weights_{name}"),
                self.choice,
            )
            for name, task in self.tasks.items()
        ]
        if self.even:
            shares = [(~targets[name].isnan()).any(dim=1).float().mean() for name in self.tasks]
            losses = [loss * share**self.even for loss, share in zip(losses, shares, strict=True)]
        return torch.stack(losses).sum()
