"""Two teachers a set, fitted in folds: texts -> what each set would say of them.

The neural teacher is the recipe's own encoder with a head for every set, so that sets which disagree do not share one;
the other is an n-gram model a set. They know nothing of the student.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from training import checkpoint, metrics, rows
from training.baseline import ngrams
from training.batches import EncodedRows
from training.errors import RecipeError
from training.files import replacing, write_json
from training.fitting import fit
from training.inference import predict
from training.labels import TASKS, Task
from training.prepare import Splits, asked
from training.recipe import Recipe, Source, Teaching
from training.rows import Array, Rows

WHO = ("neural", "ngrams")
SHARES = tuple(step / 10 for step in range(11))
Scores = dict[str, Array]
"""By set, what it says of a text: float32 [texts, labels of its task]; NaN: it never says."""


def teaching_of(recipe: Recipe) -> Teaching:
    if recipe.teach is None:
        raise RecipeError(f"recipe {recipe.name} has no [teach] section")
    return recipe.teach


def neural_folds(recipe: Recipe) -> int:
    teaching = teaching_of(recipe)
    return teaching.folds if teaching.neural is None else min(teaching.neural, teaching.folds)


def teacher_of(recipe: Recipe) -> Recipe:
    """The recipe of the neural teacher."""
    rest = {"about": "", "teach": None, "export": None}  # what decides nothing of it
    return recipe.model_copy(update={"heads_by": "set", "train": teaching_of(recipe).train, **rest})


def by_set(part: Rows, recipe: Recipe) -> Rows:
    """The same rows with targets by set instead of by task."""
    names = np.asarray(part.sources)[:, None]
    return Rows(
        part.texts,
        part.sources,
        {
            source.name: np.where(names == source.name, part.targets[source.task], np.float32("nan"))
            for source in recipe.source
        },
    )


def said(targets: Array) -> list[int]:
    """The labels that a set says."""
    return [int(label) for label in np.flatnonzero(~np.isnan(targets).all(axis=0))]


def fit_neural(recipe: Recipe, splits: Splits, folder: Path, seen: NDArray[np.bool_]) -> Path:
    """The folder of a teacher fitted to the train rows in `seen`; one that is there is kept."""
    teacher = teacher_of(recipe)
    if (folder / "model").is_dir() and checkpoint.load(folder / "model").recipe == teacher:
        return folder / "model"
    apart = {
        "train": by_set(splits["train"].select(np.flatnonzero(seen)), recipe),
        "dev": by_set(splits["dev"], recipe),
    }
    trainer = fit(teacher, apart, folder, teacher.train.loss[0], resume=True)
    fitted = checkpoint.Checkpoint(trainer.model, trainer.processing_class, teacher, {}, {}, {})
    checkpoint.save(fitted, folder / "model")
    return folder / "model"


def ask(
    recipe: Recipe, splits: Splits, run: Path, place: NDArray[np.int64], fold: int, part: Rows
) -> dict[str, Scores]:
    """What the neural and the n-gram teachers say of a part, fitted to all train rows but those of `fold`.

    Kept in `run/teachers/<fold>`, and fitted and asked again only where the recipe wants others.
    """
    folder = run / "teachers" / str(fold)
    note = {
        **asked(recipe),
        "teach": teaching_of(recipe).model_dump(mode="json", exclude={"gold"}, exclude_defaults=True),
    }
    kept = folder / "said.safetensors"
    if kept.is_file() and json.loads((folder / "said.json").read_text(encoding="utf-8")) == note:
        arrays = load_file(kept)
        return {who: {source.name: arrays[f"{who}.{source.name}"] for source in recipe.source} for who in WHO}
    seen = splits["train"].select(np.flatnonzero(place != fold))
    found = {"neural": blank(recipe, len(part)), "ngrams": ask_ngrams(seen, recipe, part)}
    if fold < neural_folds(recipe):
        model = fit_neural(recipe, splits, folder, place != fold)
        found["neural"] = ask_neural(model, seen, part.texts)
    kept.unlink(missing_ok=True)
    write_json(folder / "said.json", note)
    with replacing(kept) as aside:
        save_file({f"{who}.{name}": found[who][name] for who in WHO for name in found[who]}, aside)
    return found


def ask_neural(folder: Path, train: Rows, texts: list[str]) -> Scores:
    """Shared out among the labels that each set says in `train`."""
    teacher = checkpoint.load(folder)
    labels = {
        source.name: said(train.of(source.name).targets[source.task]) for source in teacher.recipe.source
    }
    encoded = EncodedRows(
        Rows(texts, [""] * len(texts), {}), teacher.tokenizer, teacher.recipe.encoder.max_tokens
    )
    # what is blended and learnt from need not be exact to the third digit, and is asked of every row
    with torch.autocast("cpu", torch.bfloat16, enabled=teacher.recipe.train.precision == "bf16"):
        logits = predict(teacher.model, encoded, teacher.tokenizer.pad_token_id or 0)
    return {
        name: spread(metrics.softmax(logits[name][:, known]), known, teacher.recipe.heads[name])
        for name, known in labels.items()
    }


def ask_ngrams(train: Rows, recipe: Recipe, part: Rows) -> Scores:
    """By an n-gram model a set, fitted to that set's rows in `train`: of its own rows, and of all where it is in `like`."""
    teaching, found = teaching_of(recipe), blank(recipe, len(part))
    for source in recipe.source:
        mine = train.of(source.name)
        model = ngrams(teaching.ngrams, recipe.seed)
        model.fit(mine.texts, np.nan_to_num(mine.targets[source.task]).argmax(axis=1))
        asked_of = [i for i, name in enumerate(part.sources) if source.name in (name, *teaching.like)]
        if asked_of:
            known = [int(label) for label in model.classes_]
            probabilities = model.predict_proba([part.texts[i] for i in asked_of])
            found[source.name][asked_of] = spread(probabilities, known, recipe.heads[source.task])
    return found


def spread(probabilities: Array, labels: list[int], task: Task) -> Array:
    whole = rows.unknown(len(probabilities), task)
    whole[:, labels] = probabilities
    return whole


def blank(recipe: Recipe, count: int) -> Scores:
    return {source.name: rows.unknown(count, recipe.heads[source.task]) for source in recipe.source}


def mean(parts: Sequence[Scores]) -> Scores:
    return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}


def blend(shares: Mapping[str, float], neural: Scores, linear: Scores) -> Scores:
    return {name: _blend(share, neural[name], linear[name]) for name, share in shares.items()}


def _blend(share: float, neural: Array, linear: Array) -> Array:
    return np.where(np.isnan(neural), linear, share * neural + (1 - share) * linear)


def best_share(source: Source, train: Rows, neural: Scores, linear: Scores) -> float:
    """Of the neural teacher in the average, by macro-F1 on the set's train rows, which neither has seen."""
    there = ~np.isnan(neural[source.name][: len(train)]).all(axis=1)
    mine = np.flatnonzero((np.asarray(train.sources) == source.name) & there)
    own, task = train.targets[source.task][mine], TASKS[source.task]
    pair = neural[source.name][mine], linear[source.name][mine]
    return max(SHARES, key=lambda share: metrics.score(_blend(share, *pair), own, task)["macro_f1"])
