"""A small encoder without attention: hashed character n-grams, summed per position; `AutoModel` builds and
loads it.

It knows nothing of labels. At each position stand the embeddings of the n-grams (1 to `orders` characters)
that start there, after fastText's hashing trick (Bojanowski et al., 2017, "Enriching Word Vectors with
Subword Information").
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutputWithPooling

MIX = 1_000_003  # a prime: spreads neighbouring n-gram codes over the buckets


class NgramConfig(PretrainedConfig):
    model_type = "ngrams"

    def __init__(
        self,
        vocab_size: int = 8192,
        buckets: int = 65536,
        hidden_size: int = 32,
        orders: int = 3,
        **rest: Any,
    ) -> None:
        self.vocab_size, self.buckets, self.hidden_size, self.orders = (
            vocab_size,
            buckets,
            hidden_size,
            orders,
        )
        super().__init__(**{"pad_token_id": 0, **rest})


class NgramEncoder(PreTrainedModel):
    config_class = NgramConfig
    base_model_prefix = "encoder"

    def __init__(self, config: NgramConfig) -> None:
        super().__init__(config)
        self.characters = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
        self.grams = nn.Embedding(config.buckets, config.hidden_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """int64 [B,T] and its 0/1 mask -> hidden [B,T,H]; an n-gram that reaches into the padding counts
        as none.
        """
        length, reach = input_ids.shape[1], self.config.orders - 1
        ids = nn.functional.pad(input_ids, (0, reach))
        present = nn.functional.pad(attention_mask, (0, reach)).to(self.characters.weight.dtype).unsqueeze(-1)
        code, hidden = input_ids, self.characters(input_ids) * present[:, :length]
        for offset in range(1, reach + 1):
            code = code * self.config.vocab_size + ids[:, offset : offset + length]
            grams = self.grams(code * MIX % self.config.buckets)
            hidden = hidden + grams * present[:, offset : offset + length]
        # the root keeps the spread of a sum of independent n-grams alike for short and long texts
        total = hidden.sum(dim=1) / present.sum(dim=1).clamp(min=1).sqrt()
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=total)


AutoConfig.register(NgramConfig.model_type, NgramConfig)
AutoModel.register(NgramConfig, NgramEncoder)


def character_tokenizer(
    texts: Iterable[str], *, size: int = 8192, max_tokens: int = 128
) -> PreTrainedTokenizerFast:
    """One token a character after NFKC and lower case; the rarest characters beyond `size` are [UNK]."""
    normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])
    counts = Counter(character for text in texts for character in normalizer.normalize_str(text))
    vocabulary = {"[PAD]": 0, "[UNK]": 1}
    for character, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: size - 2]:
        vocabulary[character] = len(vocabulary)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m:.)"), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", model_max_length=max_tokens
    )
