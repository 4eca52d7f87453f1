"""Texts with some tokens hidden, for a model to guess, as in BERT (Devlin et al., 2019); it knows no model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from training.masking import EMOTICON

IGNORED = -100
MASKED, RANDOM = 0.8, 0.1  # of the hidden tokens become the mask, another token; the rest stay as they are
MOODS = (
    0.5  # an emoticon names the mood of the text around it (Felbo et al., 2017, DeepMoji): hidden more often
)


class HiddenTokens(Dataset[dict[str, Any]]):
    """Texts of which some tokens are hidden, others in every epoch, and the same ones when a run is repeated or
    resumed: an item follows from seed, epoch and index alone.
    """

    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_tokens: int,
        hidden: float,
        seed: int,
    ) -> None:
        encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens, return_attention_mask=False)
        self.ids = [np.array(ids, dtype=np.int64) for ids in encoded["input_ids"]]
        self.seed, self.epoch, self.mask, self.size = seed, 0, tokenizer.mask_token_id, len(tokenizer)
        self.rates = np.full(self.size, hidden)
        pieces = tokenizer.convert_ids_to_tokens(list(range(self.size)))
        self.rates[[at for at, piece in enumerate(pieces) if EMOTICON.fullmatch(piece)]] = MOODS
        self.rates[list(tokenizer.all_special_ids)] = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`input_ids` and `labels`, int64 [T]; labels are -100 where nothing is hidden."""
        ids, random = self.ids[index], np.random.default_rng((self.seed, self.epoch, index))
        hidden = random.random(len(ids)) < self.rates[ids]
        how = random.random(len(ids))
        seen = np.where(how < MASKED, self.mask, ids)
        seen = np.where(
            (how >= MASKED) & (how < MASKED + RANDOM), random.integers(self.size, size=len(ids)), seen
        )
        return {"input_ids": np.where(hidden, seen, ids), "labels": np.where(hidden, ids, IGNORED)}


class HiddenCollator:
    """Pads to the longest of the batch: ids, their 0/1 mask and labels, int64 [B,T]."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        width = max(1, *(len(example["input_ids"]) for example in examples))
        found = {
            key: np.full((len(examples), width), fill)
            for key, fill in (("input_ids", self.pad), ("attention_mask", 0), ("labels", IGNORED))
        }
        for row, example in enumerate(examples):
            length = len(example["input_ids"])
            found["attention_mask"][row, :length] = 1
            for key in ("input_ids", "labels"):
                found[key][row, :length] = example[key]
        return {key: torch.from_numpy(values) for key, values in found.items()}
