"""Rows as batches of token ids and targets, for Trainer; it knows nothing of models."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from training.rows import Rows


class EncodedRows(Dataset[dict[str, Any]]):
    """Token ids are computed once, up front; `lengths` let the sampler put alike lengths together."""

    def __init__(self, rows: Rows, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self.targets = {name: torch.from_numpy(values.copy()) for name, values in rows.targets.items()}
        self.ids: list[list[int]] = tokenizer(
            rows.texts, truncation=True, max_length=max_tokens, return_attention_mask=False
        )["input_ids"] if len(rows) else []  # fmt: skip

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "input_ids": self.ids[index],
            **{name: values[index] for name, values in self.targets.items()},
        }


class Collator:
    """Pads to the longest of the batch; an empty text still has one masked position."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        width = max(1, *(len(example["input_ids"]) for example in examples))
        ids = torch.full((len(examples), width), self.pad, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, example in enumerate(examples):
            length = len(example["input_ids"])
            ids[row, :length] = torch.tensor(example["input_ids"], dtype=torch.int64)
            mask[row, :length] = 1
        targets = {
            name: torch.stack([example[name] for example in examples])
            for name in examples[0]
            if name != "input_ids"
        }
        return {"input_ids": ids, "attention_mask": mask, **targets}
