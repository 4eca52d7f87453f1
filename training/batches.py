"""Rows as batches of token ids and targets, for Trainer; it knows nothing of models."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerBase

from training.rows import Rows


class EncodedRows(Dataset[dict[str, Any]]):
    """Token ids are computed once, up front; `lengths` let the sampler put alike lengths together."""

    def __init__(self, rows: Rows, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self.sources = rows.sources
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


class Visits(Sampler[int]):
    """The order of one epoch, a function of seed and epoch alone: `visits[source]` times each set's rows, in
    batches of alike lengths, the batches shuffled.

    Each set is walked in a fixed shuffled order that goes on where the epoch before ended.
    """

    WITHIN = 50  # batches that are sorted together

    def __init__(self, rows: EncodedRows, visits: Mapping[str, float], batch: int, seed: int) -> None:
        self.lengths = np.array([len(ids) for ids in rows.ids])
        self.batch, self.seed, self.epoch = batch, seed, 0
        random, sources = np.random.default_rng(seed), np.asarray(rows.sources)
        self.walks = [random.permutation(np.flatnonzero(sources == name)) for name in visits]
        self.counts = [round(visits[name] * len(walk)) for name, walk in zip(visits, self.walks, strict=True)]

    def __len__(self) -> int:
        return sum(self.counts)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self.seed, self.epoch))
        drawn = [
            walk[(self.epoch * count + np.arange(count)) % len(walk)]
            for walk, count in zip(self.walks, self.counts, strict=True)
        ]
        order = random.permutation(np.concatenate(drawn))
        step = self.batch * self.WITHIN
        parts = [order[start : start + step] for start in range(0, len(order), step)]
        alike = np.concatenate([part[np.argsort(-self.lengths[part], kind="stable")] for part in parts])
        cut = len(alike) - len(alike) % self.batch  # the short batch stays last
        for part in random.permutation(alike[:cut].reshape(-1, self.batch)):
            yield from part.tolist()
        yield from alike[cut:].tolist()
