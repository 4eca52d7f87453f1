"""teach: two teachers a set, averaged, give one student soft targets for its train rows and for texts without labels.

The neural teacher is the recipe's own encoder with a head for every set, so that sets which disagree do not share one;
the other is an n-gram model a set. Each is fitted in folds, and a text is labelled by teachers that have not seen it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training import checkpoint, metrics, report, rows
from training.baseline import ngrams
from training.batches import EncodedRows
from training.errors import DataError, RecipeError
from training.files import replacing_folder, write_json
from training.fitting import fit
from training.labels import Task
from training.prepare import Splits, asked
from training.recipe import Recipe, Teaching
from training.rows import Array, Rows
from training.train import predict
from training.unlabelled import draw, read_texts

UNTOLD = "untold"  # the source of texts without labels
Scores = dict[
    str, Array
]  # by set: what it says of a text, float32 [texts, labels of its task]; NaN: it never says


def teaching_of(recipe: Recipe) -> Teaching:
    if recipe.teach is None:
        raise RecipeError(f"recipe {recipe.name} has no [teach] section")
    return recipe.teach


def teacher_of(recipe: Recipe) -> Recipe:
    """The recipe of the neural teacher."""
    return recipe.model_copy(
        update={"heads_by": "set", "train": teaching_of(recipe).train, "teach": None, "export": None}
    )


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


def fit_neural(recipe: Recipe, splits: Splits, run: Path, place: NDArray[np.int64], fold: int) -> Path:
    """The folder of a teacher fitted to all train rows but those of `fold`; one that is there is kept."""
    teacher, folder = teacher_of(recipe), run / "teachers" / str(fold)
    if (folder / "model").is_dir() and checkpoint.load(folder / "model").recipe == teacher:
        return folder / "model"
    apart = {
        "train": by_set(splits["train"].select(np.flatnonzero(place != fold)), recipe),
        "dev": by_set(splits["dev"], recipe),
    }
    trainer = fit(teacher, apart, folder, teacher.train.loss[0], resume=True)
    fitted = checkpoint.Checkpoint(trainer.model, trainer.processing_class, teacher, {}, {}, {})
    checkpoint.save(fitted, folder / "model")
    return folder / "model"


def ask_neural(folder: Path, labels: dict[str, list[int]], texts: list[str]) -> Scores:
    teacher = checkpoint.load(folder)
    encoded = EncodedRows(
        Rows(texts, [""] * len(texts), {}), teacher.tokenizer, teacher.recipe.encoder.max_tokens
    )
    logits = predict(teacher.model, encoded, teacher.tokenizer.pad_token_id or 0)
    return {
        name: spread(metrics.softmax(logits[name][:, known]), known, teacher.recipe.heads[name])
        for name, known in labels.items()
    }


def ask_ngrams(train: Rows, recipe: Recipe, texts: list[str]) -> Scores:
    """By an n-gram model a set, each fitted to that set's rows in `train`."""
    settings, found = teaching_of(recipe).ngrams, {}
    for source in recipe.source:
        mine = train.of(source.name)
        model = ngrams(settings, recipe.seed)
        model.fit(mine.texts, np.nan_to_num(mine.targets[source.task]).argmax(axis=1))
        known = [int(label) for label in model.classes_]
        found[source.name] = spread(model.predict_proba(texts), known, recipe.heads[source.task])
    return found


def spread(probabilities: Array, labels: list[int], task: Task) -> Array:
    whole = rows.unknown(len(probabilities), task)
    whole[:, labels] = probabilities
    return whole


def blend(parts: list[tuple[float, Scores]]) -> Scores:
    return {
        name: np.sum([share * scores[name] for share, scores in parts], axis=0, dtype=np.float32)
        for name in parts[0][1]
    }


def resembling(train: Rows, recipe: Recipe, texts: list[str]) -> dict[str, list[tuple[str, Array]]]:
    """By task, the sets in `like` and how far each text looks like one of theirs, float32 [texts, 1], in all 1."""
    teaching, found = teaching_of(recipe), {}
    for task in recipe.heads:
        names = [
            source.name for source in recipe.source if source.task == task and source.name in teaching.like
        ]
        if len(names) == 1:
            found[task] = [(names[0], np.ones((len(texts), 1), np.float32))]
        elif names:
            told = train.select(i for i, name in enumerate(train.sources) if name in names)
            model = ngrams(teaching.ngrams, recipe.seed).fit(told.texts, told.sources)
            shares = model.predict_proba(texts).astype(np.float32)
            found[task] = [(name, shares[:, [i]]) for i, name in enumerate(model.classes_)]
    return found


def targets(recipe: Recipe, train: Rows, every: Rows, scores: Scores) -> dict[str, Array]:
    """By task, for every row: its own label and its set's teachers, or the teachers of the sets that it looks like."""
    gold = teaching_of(recipe).gold
    like = resembling(train, recipe, every.texts)
    found = {}
    for task in recipe.heads:
        own = every.targets[task]
        parts = [share * scores[name] for name, share in like.get(task, [])]
        soft = np.sum(parts, axis=0) if parts else np.full_like(own, np.nan)
        for source in recipe.source:
            if source.task == task:
                mine = np.asarray(every.sources) == source.name
                soft[mine] = gold * own[mine] + (1 - gold) * scores[source.name][mine]
        found[task] = soft.astype(np.float32)
    return found


def untold(recipe: Recipe, splits: Splits, data: Path) -> Rows:
    """Texts without labels, none of which nearly repeats a dev or test row."""
    teaching = teaching_of(recipe)
    if teaching.texts is None:
        return rows.concat([], recipe.heads)
    distinct = sorted({text.strip() for text in read_texts(data / teaching.texts)} - {""})
    texts = draw(distinct, teaching.most, recipe.seed)
    part = rows.concat([Rows(texts, [UNTOLD] * len(texts), {})], recipe.heads)
    gone = {copy.train for copy in report.copies({**splits, "train": part})}
    return part.select(row for row in range(len(part)) if row not in gone)


def teach(recipe: Recipe, splits: Splits, data: Path, run: Path, fold: int | None = None) -> Path | None:
    """Writes and returns `run/taught` (rows.parquet, figures.json: what the teachers are worth on dev).

    With a `fold`, only fits that fold's neural teacher. A stopped run goes on where it was.
    """
    teaching, train, dev = teaching_of(recipe), splits["train"], splits["dev"]
    for source in recipe.source:
        if not metrics.one_label(train.of(source.name).targets[source.task]):
            raise RecipeError(f"source {source.name} has rows with several labels: teachers need one a row")
    place = np.random.default_rng(recipe.seed).permutation(len(train)) % teaching.folds
    if fold is not None:
        fit_neural(recipe, splits, run, place, fold)
        return None
    every = rows.concat([train, untold(recipe, splits, data)], recipe.heads)
    place = np.concatenate([place, np.arange(len(every) - len(train)) % teaching.folds])
    labels = {source.name: said(train.of(source.name).targets[source.task]) for source in recipe.source}
    scores = {source.name: rows.unknown(len(every), recipe.heads[source.task]) for source in recipe.source}
    on_dev: dict[str, list[tuple[float, Scores]]] = {"neural": [], "ngrams": [], "both": []}
    for number in range(teaching.folds):
        mine = np.flatnonzero(place == number)
        texts = [every.texts[i] for i in mine] + dev.texts
        seen = train.select(np.flatnonzero(place[: len(train)] != number))
        neural = ask_neural(fit_neural(recipe, splits, run, place[: len(train)], number), labels, texts)
        linear = ask_ngrams(seen, recipe, texts)
        both = blend([(teaching.share, neural), (1 - teaching.share, linear)])
        for name, found in both.items():
            scores[name][mine] = found[: len(mine)]
        for who, said_ in (("neural", neural), ("ngrams", linear), ("both", both)):
            on_dev[who].append((1 / teaching.folds, {k: v[len(mine) :] for k, v in said_.items()}))
    taught = Rows(every.texts, every.sources, targets(recipe, train, every, scores))
    heads = teacher_of(recipe).heads
    told = by_set(dev, recipe)
    figures = {
        who: metrics.by_source(blend(parts), told.targets, told.sources, heads)
        for who, parts in on_dev.items()
    }
    with replacing_folder(run / "taught") as folder:
        rows.write(taught, folder / "rows.parquet")
        write_json(folder / "figures.json", {"asked": wanted(recipe), "dev": figures})
    return run / "taught"


def wanted(recipe: Recipe) -> dict[str, Any]:
    """What decides the taught rows."""
    return {**asked(recipe), "teach": teaching_of(recipe).model_dump(mode="json")}


def taught(recipe: Recipe, run: Path) -> Rows:
    """The rows that `teach` wrote; raises DataError where there are none, or others than the recipe asks for."""
    note = run / "taught" / "figures.json"
    if not note.is_file():
        raise DataError(note, f"not there: run `python -m training teach {recipe.name}` first")
    if json.loads(note.read_text(encoding="utf-8"))["asked"] != wanted(recipe):
        raise DataError(note, "made with other settings than the recipe's: run teach again")
    return rows.read(run / "taught" / "rows.parquet", recipe.heads)
