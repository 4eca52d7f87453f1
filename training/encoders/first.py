"""The last layer of a BERT for the first position alone, where the heads read no other.

The same vector, for a fifth less work where there are four layers: the other positions are keys and values there, and
nothing else of them is computed.
"""

from types import MethodType
from typing import Any

from torch import Tensor, nn
from transformers import BertModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import eager_attention_forward


def end_at_first(encoder: nn.Module) -> None:
    """From now on the `last_hidden_state` of a BERT is [B,1,D]; any other encoder stays as it is."""
    if isinstance(encoder, BertModel):
        last = encoder.encoder.layer[-1]
        last.forward = MethodType(_forward, last)


def _forward(layer: Any, hidden: Tensor, mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    """[B,T,D] -> [B,1,D]; the mask is what the chosen attention takes, with a row for every query or one for all."""
    attention = layer.attention.self
    shape = (hidden.shape[0], -1, attention.num_attention_heads, attention.attention_head_size)
    first = hidden[:, :1]
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(
        attention.config._attn_implementation, eager_attention_forward
    )
    context, _weights = attend(
        attention,
        attention.query(first).view(shape).transpose(1, 2),
        attention.key(hidden).view(shape).transpose(1, 2),
        attention.value(hidden).view(shape).transpose(1, 2),
        mask if mask is None else mask[:, :, :1],
        dropout=attention.dropout.p if layer.training else 0.0,
        scaling=attention.scaling,
    )
    read: Tensor = layer.attention.output(context.reshape(first.shape), first)
    written: Tensor = layer.feed_forward_chunk(read)
    return written
