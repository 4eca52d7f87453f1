"""Fits the linear part of a model (`skip_size` of its encoder) to what the rest of it leaves; the rest stays as it is.

Tokens and their pairs and triples are rare: at a rate that suits the convolutions their weights hardly move.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from training.batches import Collator, EncodedRows
from training.inference import predict
from training.models import Classifier
from training.recipe import Recipe
from training.rows import Rows

RATE = 5e-3
BATCH = 512
HIDDEN = 0.25  # share of tokens left out in training


def own_columns(model: Classifier) -> None:
    """Gives each label its own column of the linear part; no score changes."""
    heads = list(model.heads.values())
    turn = torch.cat([head.weight.data[:, -model.skip :] for head in heads])
    for table in (model.encoder.linear_tokens, model.encoder.linear_ngrams):
        table.weight.data = table.weight.data @ turn.T
    for head, own in zip(
        heads, torch.eye(model.skip).split([head.out_features for head in heads]), strict=True
    ):
        head.weight.data[:, -model.skip :] = own


def leave_out(model: Classifier, rows: EncodedRows, pad: int, *, narrow: bool) -> dict[str, Tensor]:
    """Logits per task of the model without its linear part; `narrow`: in bfloat16."""
    tables = model.encoder.linear_tokens, model.encoder.linear_ngrams
    kept = [table.weight.data for table in tables]
    for table in tables:
        table.weight.data = torch.zeros_like(table.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow):
        found = predict(model, rows, pad)
    for table, weight in zip(tables, kept, strict=True):
        table.weight.data = weight
    return {name: torch.from_numpy(logits) for name, logits in found.items()}


def fit(
    recipe: Recipe, model: Classifier, tokenizer: PreTrainedTokenizerBase, train: Rows, dev: Rows
) -> list[float]:
    """Fits in place for `train.linear` epochs, keeps the epoch with the least loss on dev; the losses, from the start on.

    Each head must be as wide as its labels, all of them together `skip_size`.
    """
    own_columns(model)
    pad = tokenizer.pad_token_id or 0
    encoded = [EncodedRows(part, tokenizer, recipe.encoder.max_tokens) for part in (train, dev)]
    rest = [leave_out(model, part, pad, narrow=recipe.train.precision == "bf16") for part in encoded]
    tables = nn.ModuleList([model.encoder.linear_tokens, model.encoder.linear_ngrams])
    optimizer = torch.optim.Adam(tables.parameters(), lr=RATE)
    steps = recipe.train.linear * -(-len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    chooser = torch.Generator().manual_seed(recipe.seed)
    losses = [_loss(model, encoded[1], rest[1], pad)]
    best = {name: value.clone() for name, value in tables.state_dict().items()}
    for _ in range(recipe.train.linear):
        for rows in torch.randperm(len(train), generator=chooser).split(BATCH):
            _of(model, encoded[0], rest[0], rows, pad, HIDDEN).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        losses.append(_loss(model, encoded[1], rest[1], pad))
        if losses[-1] == min(losses):
            best = {name: value.clone() for name, value in tables.state_dict().items()}
    tables.load_state_dict(best)
    return losses


def _of(
    model: Classifier, part: EncodedRows, rest: dict[str, Tensor], rows: Tensor, pad: int, hidden: float
) -> Tensor:
    inputs = Collator(pad)([{"input_ids": part.ids[row]} for row in rows.tolist()])
    ids = inputs["input_ids"]
    there = inputs["attention_mask"] * (torch.rand(ids.shape) >= hidden)
    said = model.encoder.linear(ids, there.unsqueeze(-1).float())
    widths = [logits.shape[1] for logits in rest.values()]
    logits = {name: rest[name][rows] + own for name, own in zip(rest, said.split(widths, dim=1), strict=True)}
    return model.loss_of(logits, {name: values[rows] for name, values in part.targets.items()})


def _loss(model: Classifier, part: EncodedRows, rest: dict[str, Tensor], pad: int) -> float:
    with torch.inference_mode():
        parts = torch.arange(len(part)).split(BATCH)
        return sum(float(_of(model, part, rest, rows, pad, 0.0)) * len(rows) for rows in parts) / len(part)
