"""train: recipe and rows -> a model fitted by transformers' Trainer, calibrated on dev, saved with what made it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from training import calibration, checkpoint, metrics, ngrams
from training.batches import Collator, EncodedRows
from training.losses import label_weights
from training.models import Classifier
from training.prepare import Splits
from training.recipe import Encoder, LossKind, Recipe, Schedule
from training.rows import Array, Rows


def build(recipe: Recipe, texts: list[str]) -> tuple[Classifier, PreTrainedTokenizerBase]:
    """The model, pretrained or new, and its tokenizer; a new `ngrams` encoder takes its characters from `texts`."""
    torch.manual_seed(recipe.seed)
    choice: Encoder = recipe.encoder
    if choice.config is None:
        encoder = AutoModel.from_pretrained(choice.name)
        tokenizer = AutoTokenizer.from_pretrained(choice.name)
    else:
        tokenizer = ngrams.character_tokenizer(texts, size=choice.config.get("vocab_size", 8192))
        config = {**choice.config, "vocab_size": len(tokenizer)}
        encoder = AutoModel.from_config(AutoConfig.for_model(choice.name, **config))
    model = Classifier(
        encoder, recipe.heads, embedding=choice.embedding, pooling=choice.pooling, dropout=choice.dropout
    )
    return model, tokenizer


def arguments(schedule: Schedule, seed: int, folder: Path) -> TrainingArguments:
    when = "epoch" if schedule.every is None else "steps"
    bf16 = schedule.precision == "bf16" or (
        schedule.precision == "auto" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    )
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=schedule.epochs,
        per_device_train_batch_size=schedule.batch,
        per_device_eval_batch_size=schedule.batch * 2,
        gradient_accumulation_steps=schedule.accumulation,
        learning_rate=schedule.rate,
        warmup_steps=schedule.warmup,
        weight_decay=schedule.decay,
        bf16=bf16,
        fp16=schedule.precision == "fp16",
        eval_strategy=when,
        save_strategy=when,
        eval_steps=schedule.every,
        save_steps=schedule.every or 500,
        save_total_limit=2,
        logging_steps=schedule.every or 100,
        load_best_model_at_end=True,
        metric_for_best_model=schedule.best_by,
        greater_is_better=True,
        seed=seed,
        data_seed=seed,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        report_to=[],
    )


class MetricsFile(TrainerCallback):
    """Every figure Trainer logs, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def dev_metrics(recipe: Recipe, dev: Rows) -> Any:
    def compute(prediction: EvalPrediction) -> dict[str, float]:
        logits = (
            prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
        )
        probabilities = {
            name: metrics.probabilities(logits[name], task) for name, task in recipe.heads.items()
        }
        return metrics.overall(metrics.by_source(probabilities, dev.targets, dev.sources, recipe.heads))

    return compute


def predict(model: Classifier, rows: EncodedRows, pad: int, batch: int = 256) -> dict[str, Array]:
    """Logits per task, float32 [rows, labels]; rows run in order of length, which wastes no padding."""
    collate, device = Collator(pad), next(model.parameters()).device
    order = sorted(range(len(rows)), key=lambda index: len(rows.ids[index]))
    found: dict[str, Array] = {
        name: np.empty((len(rows), len(task.labels)), np.float32) for name, task in model.tasks.items()
    }
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            inputs = collate([{"input_ids": rows.ids[index]} for index in part])
            for name, logits in model(**{key: value.to(device) for key, value in inputs.items()})[
                "logits"
            ].items():
                found[name][part] = logits.float().cpu().numpy()
    return found


def fit(recipe: Recipe, splits: Splits, run: Path, loss: LossKind, *, resume: bool) -> Trainer:
    model, tokenizer = build(recipe, splits["train"].texts)
    model.loss, model.choice = loss, recipe.train.choice
    for name, task in recipe.heads.items():
        getattr(model, f"weights_{name}").copy_(
            torch.from_numpy(label_weights(splits["train"].targets[name], task.kind))
        )
    callbacks: list[TrainerCallback] = [MetricsFile(run / f"metrics-{loss}.jsonl")]
    if recipe.train.patience is not None:
        callbacks.append(EarlyStoppingCallback(recipe.train.patience))
    folder = run / f"checkpoints-{loss}"
    trainer = Trainer(
        model,
        arguments(recipe.train, recipe.seed, folder),
        data_collator=Collator(tokenizer.pad_token_id or 0),
        train_dataset=EncodedRows(splits["train"], tokenizer, recipe.encoder.max_tokens),
        eval_dataset=EncodedRows(splits["dev"], tokenizer, recipe.encoder.max_tokens),
        processing_class=tokenizer,
        compute_metrics=dev_metrics(recipe, splits["dev"]),
        callbacks=callbacks,
    )
    trainer.label_names = list(recipe.heads)
    trainer.train(resume_from_checkpoint=resume and any(folder.glob("checkpoint-*")))
    return trainer


def train(
    recipe: Recipe, splits: Splits, run: Path, fingerprints: dict[str, str], *, resume: bool = False
) -> Path:
    """Fits, calibrates, tunes thresholds and writes `run/model`; returns that folder."""
    run.mkdir(parents=True, exist_ok=True)
    best = max(
        (fit(recipe, splits, run, loss, resume=resume) for loss in recipe.train.loss),
        key=lambda trainer: trainer.state.best_metric or 0.0,
    )
    logits = predict(best.model, best.eval_dataset, best.data_collator.pad)
    dev = splits["dev"].targets
    fits = {name: calibration.fit(logits[name], dev[name], task) for name, task in recipe.heads.items()}
    calibrated = {
        name: metrics.probabilities(fits[name].apply(logits[name]), task)
        for name, task in recipe.heads.items()
    }
    meta = {
        "data": fingerprints,
        "seed": recipe.seed,
        "loss": best.model.loss,
        "dev": metrics.overall(metrics.by_source(calibrated, dev, splits["dev"].sources, recipe.heads)),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    cuts = {
        name: calibration.thresholds(calibrated[name], dev[name])
        for name, task in recipe.heads.items()
        if task.kind == "multilabel"
    }
    model = best.model.eval().cpu()
    checkpoint.save(
        checkpoint.Checkpoint(model, best.processing_class, recipe, fits, cuts, meta), run / "model"
    )
    return run / "model"
