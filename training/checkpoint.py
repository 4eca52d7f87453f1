"""A trained model as a folder that explains itself: weights, encoder config, tokenizer and meta.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from training import ngrams  # noqa: F401  AutoModel must know our own encoders
from training.calibration import Calibration
from training.errors import CheckpointError
from training.files import replacing_folder, write_json
from training.models import Classifier
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Checkpoint:
    model: Classifier
    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe
    calibration: dict[str, Calibration]
    thresholds: dict[str, list[float]]
    meta: dict[str, Any]  # data fingerprints, metrics, seed, versions


def save(checkpoint: Checkpoint, folder: Path) -> None:
    with replacing_folder(folder) as aside:
        checkpoint.model.encoder.config.save_pretrained(aside)
        checkpoint.tokenizer.save_pretrained(aside)
        save_file(
            {k: v.contiguous() for k, v in checkpoint.model.state_dict().items()}, aside / "model.safetensors"
        )
        write_json(
            aside / "meta.json",
            {
                "recipe": checkpoint.recipe.model_dump(mode="json"),
                "calibration": {
                    task: {"scale": fit.scale.tolist(), "shift": fit.shift.tolist()}
                    for task, fit in checkpoint.calibration.items()
                },
                "thresholds": checkpoint.thresholds,
                **checkpoint.meta,
            },
        )


def is_one(folder: Path) -> bool:
    """Whether `folder` holds a trained model, not an encoder alone."""
    note = folder / "meta.json"
    return note.is_file() and "calibration" in json.loads(note.read_text(encoding="utf-8"))


def load(folder: Path) -> Checkpoint:
    """Raises CheckpointError where the folder holds no finished model."""
    if not (folder / "meta.json").is_file():
        raise CheckpointError(f"{folder} holds no trained model; run train first")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    recipe = Recipe.model_validate(meta.pop("recipe"))
    model = Classifier(
        # plain attention: its graph is shorter, and an eighth faster, than that of torch's fused one
        AutoModel.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager"),
        recipe.heads,
        embedding=recipe.encoder.embedding,
        pooling=recipe.encoder.pooling,
        dropout=recipe.encoder.dropout,
    )
    model.load_state_dict(load_file(folder / "model.safetensors"))
    calibration = {
        task: Calibration(*(np.array(fit[part], dtype=np.float32) for part in ("scale", "shift")))
        for task, fit in meta.pop("calibration").items()
    }
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Checkpoint(model.eval(), tokenizer, recipe, calibration, meta.pop("thresholds"), meta)
