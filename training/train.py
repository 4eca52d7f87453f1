"""train: recipe and rows -> a fitted model, calibrated on dev, saved with what made it."""

import shutil
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from training import calibration, checkpoint, metrics
from training.errors import DataError
from training.fitting import fit
from training.inference import predict
from training.models import Classifier
from training.prepare import Splits
from training.recipe import Recipe
from training.rows import Array, Rows


def tune(
    model: Classifier, logits: dict[str, Array], dev: Rows
) -> tuple[dict[str, calibration.Calibration], dict[str, list[float]], dict[str, float]]:
    """Calibrations, thresholds of the multilabel tasks, and dev's figures, ECE before and after included."""
    fits = {
        name: calibration.fit(logits[name], dev.targets[name], task) for name, task in model.tasks.items()
    }
    found: dict[str, Array] = {}
    cuts: dict[str, list[float]] = {}
    figures: dict[str, float] = {}
    for name, task in model.tasks.items():
        found[name] = metrics.probabilities(fits[name].apply(logits[name]), task)
        plain = metrics.probabilities(logits[name], task)
        figures[f"{name}.ece_before"] = metrics.calibration_error(plain, dev.targets[name], task)
        figures[f"{name}.ece_after"] = metrics.calibration_error(found[name], dev.targets[name], task)
        if task.kind == "multilabel":
            cuts[name] = calibration.thresholds(found[name], dev.targets[name])
    table = metrics.by_source(found, dev.targets, dev.sources, model.tasks, cuts)
    return fits, cuts, {**metrics.overall(table), **figures}


def train(
    recipe: Recipe, splits: Splits, run: Path, fingerprints: dict[str, str], *, resume: bool = False
) -> Path:
    """Fits with each loss the recipe lists, keeps the best on dev, calibrates, writes and returns
    `run/model`.

    Raises CheckpointError on a resume from another recipe's checkpoints.
    """
    if not len(splits["dev"]):
        raise DataError(run / "data" / "dev.parquet", "no dev rows: give a source a `dev` file or share")
    fitted = [fit(recipe, splits, run, loss, resume=resume) for loss in recipe.train.loss]
    least = recipe.train.best_by == "loss"
    best = (min if least else max)(fitted, key=lambda trainer: trainer.state.best_metric or 0.0)
    logits = predict(best.model, best.eval_dataset, best.data_collator.pad)
    fits, cuts, figures = tune(best.model, logits, splits["dev"])
    meta: dict[str, Any] = {
        "data": fingerprints,
        "seed": recipe.seed,
        "loss": best.model.loss,
        "losses": {trainer.model.loss: trainer.state.best_metric for trainer in fitted},
        "steps": best.state.global_step,
        "dev": figures,
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, peft)},
    }
    made = checkpoint.Checkpoint(best.model.eval().cpu(), best.processing_class, recipe, fits, cuts, meta)
    if best.is_world_process_zero():
        checkpoint.save(made, run / "model")
        for loss in recipe.train.loss:
            shutil.rmtree(run / f"checkpoints-{loss}")
    return run / "model"
