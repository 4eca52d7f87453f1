"""The Chinese student's encoder: embeddings and convolutions of the Universal Sentence Encoder, and n-grams.

It starts from the weights of USE multilingual v3 (Yang et al., 2020, "Multilingual Universal Sentence
Encoder for Semantic Retrieval"), cut down by `training.encoders.cut`; it knows nothing of labels or texts.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from training.encoders.words import Mix, pools, thin

SPECIALS = 3  # ids below are <unk>, <s> and </s>
SPREAD = (1, 40_503, 69_069)  # odd multipliers: spread the ids of an n-gram over the buckets


class UseConfig(PretrainedConfig):
    """`rank`: width of the embedding table, `embedding_size`: of USE's embeddings that it is expanded to.

    `orders`: tokens that each convolution sees, 2, 3 or 5. `ngrams` buckets of `ngram_size` hold pairs and
    triples of tokens. `skip_size`: one number a label of every head, which reach the heads as they are (a
    linear model over the tokens and `skip_ngrams` buckets of their pairs and triples). `mixes`: residual
    convolutions above USE's, each reaching twice as far as the one below; `heads` weighted means of what they
    see, its mean and its maximum reach the pooled vector. `word_dropout`: share of tokens that become <unk>
    in training.
    """

    model_type = "use"

    def __init__(
        self,
        vocab_size: int = 128_000,
        rank: int = 256,
        embedding_size: int = 512,
        width: int = 256,
        orders: tuple[int, ...] = (2, 3),
        pooled_size: int = 512,
        ngrams: int = 65_521,
        ngram_size: int = 32,
        skip_size: int = 0,
        skip_ngrams: int = 131_071,
        mixes: int = 0,
        heads: int = 4,
        word_dropout: float = 0.1,
        **rest: Any,
    ) -> None:
        self.vocab_size, self.rank, self.embedding_size = vocab_size, rank, embedding_size
        self.width, self.orders, self.pooled_size = width, tuple(orders), pooled_size
        self.ngrams, self.ngram_size, self.word_dropout = ngrams, ngram_size, word_dropout
        self.skip_size, self.skip_ngrams = skip_size, skip_ngrams
        self.mixes, self.heads = mixes, heads
        above = width * (heads + 2) if mixes else 0
        self.hidden_size = pooled_size + width * len(orders) + ngram_size + above
        super().__init__(**{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **rest})


class Convolution(nn.Module):
    """Two residual convolutions over `order` neighbouring tokens, as in USE; padding counts as zeros."""

    def __init__(self, order: int, size: int, width: int) -> None:
        super().__init__()
        self.order, self.left = order, (order - 1) // 2
        self.project = nn.Linear(size, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.first = nn.Linear(order * width, width)
        self.second = nn.Linear(order * width, width)

    def narrow(self, tokens: Tensor) -> Tensor:
        narrow: Tensor = self.norm(self.project(tokens))
        return narrow

    def forward(self, narrow: Tensor, present: Tensor) -> Tensor:
        narrow, present = thin(narrow, present)
        narrow = narrow * present
        once = (functional.relu(self.first(self._windows(narrow))) + narrow) * present
        return functional.relu(self.second(self._windows(once))) + once

    def _windows(self, tokens: Tensor) -> Tensor:
        padded = functional.pad(tokens, (0, 0, self.left, self.order - 1 - self.left))
        return torch.cat([padded[:, k : k + tokens.shape[1]] for k in range(self.order)], dim=-1)


class UseEncoder(PreTrainedModel):
    config_class = UseConfig
    base_model_prefix = "encoder"

    def __init__(self, config: UseConfig) -> None:
        super().__init__(config)
        whole = config.embedding_size + config.width * len(config.orders)
        self.table = nn.Embedding(config.vocab_size, config.rank)
        self.expand = nn.Linear(config.rank, config.embedding_size)
        self.convolutions = nn.ModuleList(
            Convolution(order, config.embedding_size, config.width) for order in config.orders
        )
        self.norm = nn.LayerNorm(whole, eps=1e-6)
        self.pool = nn.Linear(whole, config.pooled_size)
        self.pooled_norm = nn.LayerNorm(config.pooled_size)
        self.peak_norm = nn.LayerNorm(whole - config.embedding_size)
        self.ngrams = nn.Embedding(config.ngrams, config.ngram_size)
        if config.skip_size:
            self.linear_tokens = nn.Embedding(config.vocab_size, config.skip_size)
            self.linear_ngrams = nn.Embedding(config.skip_ngrams, config.skip_size)
        if config.mixes:
            self.narrow = nn.Linear(whole, config.width)
            self.narrow_norm = nn.LayerNorm(config.width)
            self.mixes = nn.ModuleList(Mix(config.width, 2**level) for level in range(config.mixes))
            self.attention = nn.Linear(config.width, config.heads)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.05)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """int64 [B,T] and its 0/1 mask -> hidden [B,T, width, or all that is seen without `mixes`], pooled
        [B, hidden_size + skip_size].
        """
        if self.training and self.config.word_dropout:
            drop = torch.rand(input_ids.shape, device=input_ids.device) < self.config.word_dropout
            input_ids = torch.where(drop & (input_ids >= SPECIALS), torch.zeros_like(input_ids), input_ids)
        present = attention_mask.unsqueeze(-1).to(self.table.weight.dtype)
        length = present.sum(dim=1).clamp(min=1)
        # what looks at one token alone runs once a piece in training, where a batch repeats each some four times
        pieces, places = torch.unique(input_ids, return_inverse=True) if self.training else (input_ids, None)
        expanded = self.expand(self.table(pieces))
        tokens = _lay(expanded, places)
        seen = torch.cat(
            [
                convolution(_lay(convolution.narrow(expanded), places), present)
                for convolution in self.convolutions
            ],
            dim=-1,
        )
        hidden = self.norm(torch.cat([tokens, seen], dim=-1))
        # USE sums the projected tokens and divides by the root of their number; the projection is linear, so
        # one product a text is enough.
        mean = self.pool((hidden * present).sum(dim=1) / length) * length.sqrt()
        peak = (seen + (present - 1) * 1e4).amax(dim=1)
        parts = [
            self.pooled_norm(mean),
            self.peak_norm(peak),
            self._sum_ngrams(self.ngrams, input_ids, present) / length.sqrt(),
        ]
        if self.config.mixes:
            hidden = self.narrow_norm(self.narrow(hidden))
            for mix in self.mixes:
                hidden = mix(hidden, present)
            parts += pools(hidden, self.attention, present)
        if self.config.skip_size:
            parts.append(self.linear(input_ids, present))
        pooled = torch.cat(parts, dim=-1)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled)

    def linear(self, input_ids: Tensor, present: Tensor) -> Tensor:
        """int64 [B,T] and its mask [B,T,1] -> what passes the embedding by, [B, skip_size]."""
        total = (self.linear_tokens(input_ids) * present).sum(dim=1)
        total = total + self._sum_ngrams(self.linear_ngrams, input_ids, present)
        return total / present.sum(dim=1).clamp(min=1).sqrt()

    @staticmethod
    def _sum_ngrams(table: nn.Embedding, ids: Tensor, present: Tensor) -> Tensor:
        """The sum [B, table width] over all pairs and triples of tokens that lie inside the text."""
        # two absent tokens at the end give every length its pairs and triples, even one of a single token
        padded, inside = functional.pad(ids, (0, 2)), functional.pad(present, (0, 0, 0, 2))
        length = ids.shape[1]
        total = torch.zeros(ids.shape[0], table.embedding_dim, dtype=present.dtype, device=ids.device)
        for order in (2, 3):
            code = torch.full_like(ids, order)
            for k in range(order):
                code = code + padded[:, k : k + length] * SPREAD[k] ** order
            found = table(code % table.num_embeddings)
            total = total + (found * inside[:, order - 1 : order - 1 + length]).sum(dim=1)
        return total


def _lay(values: Tensor, places: Tensor | None) -> Tensor:
    """The values of distinct pieces [P,D] at the places [B,T] where they stand; float32, which sums well."""
    return values if places is None else functional.embedding(places, values.float())


AutoConfig.register(UseConfig.model_type, UseConfig)
AutoModel.register(UseConfig, UseEncoder)
