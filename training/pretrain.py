"""pretrain: unlabelled posts -> an encoder that guesses hidden tokens, in a folder that `train` starts from.

The encoder may be any that `AutoModel` knows; the objective is BERT's (Devlin et al., 2019, "BERT: Pre-training of
Deep Bidirectional Transformers for Language Understanding"). It knows nothing of labels.
"""

from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.nn import functional
from transformers import EvalPrediction, PreTrainedTokenizerBase

from training.encoders.loading import load_encoder
from training.files import replacing_folder, write_json
from training.fitting import Fitter, MetricsFile, arguments, start
from training.hiding import IGNORED, HiddenCollator, HiddenTokens
from training.recipe import Pretraining
from training.unlabelled import gather, gathered


class MaskedModel(nn.Module):
    """An encoder below a head that names hidden tokens by the encoder's own table; only they reach the softmax."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        table: nn.Embedding = encoder.get_input_embeddings()
        self.dense = nn.Linear(width, table.embedding_dim)
        self.norm = nn.LayerNorm(table.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """-> the mean `loss` of hidden tokens, and `told` [B,3]: a text's summed loss, tokens guessed, tokens hidden."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        row, place = (labels != IGNORED).nonzero(as_tuple=True)
        truth = labels[row, place]
        guess = self.norm(functional.gelu(self.dense(hidden[row, place])))
        logits = functional.linear(guess, self.encoder.get_input_embeddings().weight, self.bias).float()
        losses = functional.cross_entropy(logits, truth, reduction="none")
        right = (logits.argmax(dim=-1) == truth).float()
        each = torch.stack([losses.detach(), right, torch.ones_like(right)], dim=1)
        told = torch.zeros(len(labels), 3, device=labels.device).index_add_(0, row, each)
        return {"loss": losses.sum() / max(1, len(truth)), "told": told}


def dev_figures(prediction: EvalPrediction) -> dict[str, float]:
    loss, right, hidden = np.asarray(prediction.predictions).sum(axis=0)
    return {"masked_loss": loss / hidden, "accuracy": right / hidden}


def build(recipe: Pretraining, texts: list[str]) -> tuple[MaskedModel, PreTrainedTokenizerBase]:
    torch.manual_seed(recipe.seed)
    encoder, tokenizer = load_encoder(recipe.encoder, texts)
    if tokenizer.mask_token is None:  # what a model has never learnt and what it must guess look alike
        tokenizer.mask_token = tokenizer.unk_token
    example = torch.tensor([[0]])
    with torch.no_grad():
        width = encoder.eval()(input_ids=example, attention_mask=example + 1).last_hidden_state.shape[-1]
    return MaskedModel(encoder, width), tokenizer


def pretrain(recipe: Pretraining, data: Path, run: Path, *, resume: bool = False) -> Path:
    """Gathers posts where the run folder has others or none, fits, and writes and returns `run/encoder`: the
    weights that guess best on the dev posts.

    Raises CheckpointError on a resume from another recipe's checkpoints.
    """
    with PartialState().main_process_first():
        posts = gathered(recipe, run) or gather(recipe, data, run)
    folder, log = run / "checkpoints", run / "metrics.jsonl"
    last = start(folder, recipe, resume=resume)
    if last is None and PartialState().is_main_process:
        log.unlink(missing_ok=True)
    model, tokenizer = build(recipe, posts["train"].texts)
    train, dev = (
        HiddenTokens(
            posts[split].texts,
            tokenizer,
            max_tokens=recipe.encoder.max_tokens,
            hidden=recipe.hidden,
            seed=recipe.seed,
        )
        for split in ("train", "dev")
    )
    trainer = Fitter(
        model,
        arguments(recipe.train, recipe.seed, folder),
        data_collator=HiddenCollator(tokenizer.pad_token_id or 0),
        train_dataset=train,
        eval_dataset=dev,
        processing_class=tokenizer,
        compute_metrics=dev_figures,
        callbacks=[MetricsFile(log)],
    )
    trainer.train(resume_from_checkpoint=last)
    figures = trainer.evaluate()
    if trainer.is_world_process_zero():
        with replacing_folder(run / "encoder") as aside:
            model.encoder.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
            write_json(aside / "meta.json", {"recipe": recipe.model_dump(mode="json"), "dev": figures})
    return run / "encoder"
