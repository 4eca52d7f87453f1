"""An embedding table that is fitted as it ships, in 4 bits: what rounding takes away, the rest of the model makes up.

Gradients pass the rounding as if it were not there (Bengio et al., 2013, "Estimating or Propagating Gradients
Through Stochastic Neurons"). The same blocks and levels as `int8.nibbles`, which packs such a table without loss.
"""

import torch
from torch import Tensor, nn

from training.errors import RecipeError
from training.int8 import BLOCK


def rounded(values: Tensor) -> Tensor:
    """float [..., D] on the grid of its blocks of `BLOCK` values: the farthest from 0 is level -8 of -8 to 7."""
    blocks = values.unflatten(-1, (-1, BLOCK))
    farthest = blocks.gather(-1, blocks.abs().argmax(dim=-1, keepdim=True))
    scale = torch.where(farthest == 0, 1.0, farthest / -8)
    return ((blocks / scale).round().clamp(-8, 7) * scale).flatten(-2)


def read_rounded(table: nn.Embedding) -> None:
    """From now on the model reads rounded rows; what is fitted are the values behind them.

    Raises RecipeError where rows are not whole blocks.
    """
    if table.embedding_dim % BLOCK:
        raise RecipeError(
            f"encoder.table_bits = 4 needs rows in blocks of {BLOCK}, not {table.embedding_dim} values"
        )
    table.register_forward_hook(lambda _module, _ids, rows: rows + (rounded(rows) - rows).detach())


def settle(table: nn.Embedding) -> None:
    """The rounded values become the weights."""
    with torch.no_grad():
        table.weight.copy_(rounded(table.weight))
