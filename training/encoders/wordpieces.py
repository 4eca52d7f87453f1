"""A BERT tokenizer with fewer pieces: what the pretrained encoders share when they are cut to what texts use."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

SPECIALS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def renumber(state: dict[str, Any], pieces: Sequence[str], new: Sequence[str] = ()) -> list[int]:
    """Leaves `pieces` and `new` ones in a tokenizer's state (its tokenizer.json), the specials first.

    Returns the old ids, in their new order, of those that are not new.
    """
    old: dict[str, int] = state["model"]["vocab"]
    kept = list(dict.fromkeys([*SPECIALS.values(), *pieces]))
    ids = {piece: i for i, piece in enumerate([*kept, *new])}
    state["model"]["vocab"] = ids
    state["added_tokens"] = [{**token, "id": ids[token["content"]]} for token in state["added_tokens"]]
    for name, special in state["post_processor"]["special_tokens"].items():
        special["ids"] = [ids[name]]
    return [old[piece] for piece in kept]


def save_tokenizer(state: dict[str, Any], out: Path, max_tokens: int) -> None:
    tokenizer = Tokenizer.from_str(json.dumps({**state, "padding": None, "truncation": None}))
    tokenizer.enable_truncation(max_tokens)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_tokens, **SPECIALS
    ).save_pretrained(out)
