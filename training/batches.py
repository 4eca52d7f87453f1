"""Rows as batches of token ids and targets, for Trainer; it knows nothing of models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from training.rows import Rows


class EncodedRows(Dataset[dict[str, Any]]):
    """Token ids are computed once, up front.

    With `hidden`, that share of the tokens is masked (word dropout: Iyyer et al., 2015, "Deep Unordered Composition
    Rivals Syntactic Methods for Text Classification"), others in every epoch: an item follows from seed, epoch and
    index alone, so that a resumed run sees the same.
    """

    def __init__(
        self,
        rows: Rows,
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int,
        *,
        hidden: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.hidden, self.seed, self.epoch = hidden, seed, 0
        self.mask = tokenizer.unk_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id
        self.special = list(tokenizer.all_special_ids)
        self.targets = {name: torch.from_numpy(values.copy()) for name, values in rows.targets.items()}
        self.ids: list[list[int]] = tokenizer(
            rows.texts, truncation=True, max_length=max_tokens, return_attention_mask=False
        )["input_ids"] if len(rows) else []  # fmt: skip

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "input_ids": self._seen(index) if self.hidden else self.ids[index],
            **{name: values[index] for name, values in self.targets.items()},
        }

    def _seen(self, index: int) -> NDArray[np.int64]:
        ids = np.asarray(self.ids[index], dtype=np.int64)
        draws = np.random.default_rng((self.seed, self.epoch, index)).random(len(ids))
        return np.where((draws < self.hidden) & ~np.isin(ids, self.special), self.mask, ids)


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
