"""One fit by transformers' Trainer: arguments -> model -> loop -> best weights. It knows nothing of
calibration.

Started through accelerate's or torch's launcher it runs on several GPUs and machines, as Trainer does.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from peft import LoraConfig, get_peft_model
from torch.utils.data import Sampler, SequentialSampler
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from training import fourbits, metrics
from training.batches import Collator, EncodedRows
from training.collapse import collapsed
from training.encoders.loading import load_encoder
from training.errors import CheckpointError
from training.files import write_json
from training.losses import label_weights
from training.models import Classifier
from training.prepare import Splits
from training.recipe import LossKind, Pretraining, Recipe, Schedule
from training.rows import Rows


def build(recipe: Recipe, texts: list[str]) -> tuple[Classifier, PreTrainedTokenizerBase]:
    """The model, pretrained or new, and its tokenizer; a new encoder takes its characters from `texts`."""
    torch.manual_seed(recipe.seed)
    choice = recipe.encoder
    encoder, tokenizer = load_encoder(choice, texts)
    if choice.table_bits == 4:
        fourbits.read_rounded(encoder.get_input_embeddings())
    if choice.lora is not None:
        adapters = LoraConfig(
            r=choice.lora.rank,
            lora_alpha=choice.lora.alpha,
            lora_dropout=choice.lora.dropout,
            target_modules=choice.lora.modules
            if isinstance(choice.lora.modules, str)
            else list(choice.lora.modules),
        )
        encoder = get_peft_model(encoder, adapters)
    model = Classifier(
        encoder, recipe.heads, embedding=choice.embedding, pooling=choice.pooling, dropout=choice.dropout
    )
    return model, tokenizer


def arguments(schedule: Schedule, seed: int, folder: Path) -> TrainingArguments:
    when = "epoch" if schedule.every is None else "steps"
    bf16_here = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=schedule.epochs,
        max_steps=schedule.steps or -1,
        per_device_train_batch_size=schedule.batch,
        per_device_eval_batch_size=schedule.batch * 2,
        gradient_accumulation_steps=schedule.accumulation,
        learning_rate=schedule.rate,
        warmup_steps=schedule.warmup,
        weight_decay=schedule.decay,
        use_cpu=schedule.precision == "bf16" and not torch.cuda.is_available(),
        bf16=schedule.precision == "bf16" or (schedule.precision == "auto" and bf16_here),
        fp16=schedule.precision == "fp16" and torch.cuda.is_available(),
        eval_strategy=when,
        save_strategy=when,
        eval_steps=schedule.every,
        save_steps=schedule.every or 500,
        save_total_limit=2,
        logging_steps=schedule.every or 50,
        load_best_model_at_end=True,
        metric_for_best_model=schedule.best_by,
        greater_is_better=schedule.best_by != "loss",
        restore_callback_states_from_checkpoint=True,
        seed=seed,
        data_seed=seed,
        train_sampling_strategy="group_by_length",
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        ddp_find_unused_parameters=True,
        report_to=[],
    )


class Fitter(Trainer):
    """Trainer with dev read in order: grouped by length it would part the predictions from their sources."""

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler[int]:
        return SequentialSampler(eval_dataset)


class MetricsFile(TrainerCallback):
    """Every figure Trainer logs, one JSON object a line; a resumed run rewrites what came after its
    checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if state.is_world_process_zero and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
            self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any  # noqa: ARG002
    ) -> None:  # fmt: skip
        if state.is_world_process_zero and logs:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def dev_metrics(recipe: Recipe, dev: Rows) -> Callable[[EvalPrediction], dict[str, float]]:
    """Macro-F1 per task, their mean, and one figure `collapsed/<task>/<set>` for each set that gets one
    class.
    """

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        outputs = prediction.predictions
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        found = {name: metrics.probabilities(logits[name], task) for name, task in recipe.heads.items()}
        table = metrics.by_source(found, dev.targets, dev.sources, recipe.heads)
        return {**metrics.overall(table), **collapsed(found, dev, recipe.heads)}

    return compute


def start(folder: Path, recipe: Recipe | Pretraining, *, resume: bool) -> str | None:
    """The checkpoint to go on from, or none; a fresh start removes what an earlier run left.

    Raises CheckpointError where the checkpoints are another recipe's.
    """
    mine = recipe.model_dump(mode="json", exclude={"export", "about"})
    note = folder / "recipe.json"
    if resume and note.exists():
        theirs = json.loads(note.read_text(encoding="utf-8"))
        other = [key for key in mine if mine[key] != theirs.get(key)]
        if other:
            raise CheckpointError(f"{folder} holds checkpoints of another recipe: {', '.join(other)} differ")
        # trainer_state.json is written last: without it the checkpoint is half of one
        whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
        if whole:
            return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2])))
    with PartialState().main_process_first():
        if PartialState().is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(note, mine)
    return None


def fit(
    recipe: Recipe,
    splits: Splits,
    run: Path,
    loss: LossKind,
    *,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trainer:
    """A fitted Trainer that holds the weights best on dev, LoRA merged in; `run` gets checkpoints and
    metrics.
    """
    folder, log = run / f"checkpoints-{loss}", run / f"metrics-{loss}.jsonl"
    last = start(folder, recipe, resume=resume)
    if last is None and PartialState().is_main_process:
        log.unlink(missing_ok=True)
    model, tokenizer = build(recipe, splits["train"].texts)
    model.loss, model.choice, model.even = loss, recipe.train.choice, recipe.train.even
    for name, task in recipe.heads.items():
        weights = torch.from_numpy(label_weights(splits["train"].targets[name], task.kind))
        getattr(model, f"weights_{name}").copy_(weights)
    stopping = [] if recipe.train.patience is None else [EarlyStoppingCallback(recipe.train.patience)]
    trainer = Fitter(
        model,
        arguments(recipe.train, recipe.seed, folder),
        data_collator=Collator(tokenizer.pad_token_id or 0),
        train_dataset=EncodedRows(splits["train"], tokenizer, recipe.encoder.max_tokens),
        eval_dataset=EncodedRows(splits["dev"], tokenizer, recipe.encoder.max_tokens),
        processing_class=tokenizer,
        compute_metrics=dev_metrics(recipe, splits["dev"]),
        callbacks=[MetricsFile(log), *stopping, *callbacks],
    )
    trainer.label_names = list(recipe.heads)
    trainer.train(resume_from_checkpoint=last)
    if recipe.encoder.lora is not None:
        model.encoder = model.encoder.merge_and_unload()
    if recipe.encoder.table_bits == 4:
        fourbits.settle(model.encoder.get_input_embeddings())
    return trainer
