"""teach: the average of two teachers a set becomes soft targets for train rows and for texts without labels.

A train row is labelled by teachers that have not seen it and keeps a share of its own label; other texts, and rows
without a label of a task, are labelled by the sets that they look like.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training import metrics, report, rows
from training.baseline import ngrams
from training.errors import DataError, RecipeError
from training.files import replacing_folder, write_json
from training.prepare import Splits, asked
from training.recipe import Recipe
from training.rows import Array, Rows
from training.teachers import (
    WHO,
    Scores,
    ask,
    best_share,
    blank,
    blend,
    by_set,
    mean,
    neural_folds,
    teacher_of,
    teaching_of,
)
from training.unlabelled import draw, read_texts

UNTOLD = "untold"  # the source of texts without labels


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


def teach(recipe: Recipe, splits: Splits, data: Path, run: Path, fold: int | None = None) -> Path:
    """Writes and returns `run/taught` (rows.parquet, figures.json: what the teachers are worth on dev).

    With a `fold`, only that fold's teachers are fitted and asked, and their folder is returned. A stopped run goes on where it was.
    """
    teaching, train, dev = teaching_of(recipe), splits["train"], splits["dev"]
    for source in recipe.source:
        if not metrics.one_label(train.of(source.name).targets[source.task]):
            raise RecipeError(f"source {source.name} has rows with several labels: teachers need one a row")
    every = rows.concat([train, untold(recipe, splits, data)], recipe.heads)
    seen = np.random.default_rng(recipe.seed).permutation(len(train)) % teaching.folds
    place = np.concatenate([seen, np.arange(len(every) - len(train)) % neural_folds(recipe)])
    neural, linear = blank(recipe, len(every)), blank(recipe, len(every))
    on_dev: dict[str, list[Scores]] = {who: [] for who in WHO}
    for number in range(teaching.folds) if fold is None else [fold]:
        mine = np.flatnonzero(place == number)
        part = rows.concat([every.select(mine), dev], recipe.heads)
        found = ask(recipe, splits, run, seen, number, part)
        for who, whole in zip(WHO, (neural, linear), strict=True):
            for name, values in found[who].items():
                whole[name][mine] = values[: len(mine)]
            if who == "ngrams" or number < neural_folds(recipe):
                on_dev[who].append({name: values[len(mine) :] for name, values in found[who].items()})
    if fold is not None:
        return run / "teachers" / str(fold)
    shares = {source.name: best_share(source, train, neural, linear) for source in recipe.source}
    soft = targets(recipe, train, every, blend(shares, neural, linear))
    with replacing_folder(run / "taught") as folder:
        rows.write(Rows(every.texts, every.sources, soft), folder / "rows.parquet")
        figures = worth(recipe, dev, shares, *map(mean, on_dev.values()))
        write_json(folder / "figures.json", {"asked": wanted(recipe), "neural share": shares, "dev": figures})
    return run / "taught"


def worth(recipe: Recipe, dev: Rows, shares: Mapping[str, float], neural: Scores, linear: Scores) -> Any:
    """By set, what the teachers score on dev alone and together."""
    told, heads = by_set(dev, recipe), teacher_of(recipe).heads
    who = {"neural": neural, "ngrams": linear, "both": blend(shares, neural, linear)}
    return {name: metrics.by_source(found, told.targets, told.sources, heads) for name, found in who.items()}


def student(recipe: Recipe, run: Path) -> Recipe:
    """The recipe with the first teacher's encoder to start from: it knows the sets, and held-out rows no better."""
    encoder = recipe.encoder.model_copy(
        update={"name": str(run / "teachers" / "0" / "model"), "config": None, "tokenizer": None}
    )
    return recipe.model_copy(update={"encoder": encoder})


def wanted(recipe: Recipe) -> dict[str, Any]:
    """What decides the taught rows."""
    return {**asked(recipe), "teach": teaching_of(recipe).model_dump(mode="json", exclude_defaults=True)}


def taught(recipe: Recipe, run: Path) -> Rows:
    """The rows that `teach` wrote; raises DataError where there are none, or others than the recipe asks for."""
    note = run / "taught" / "figures.json"
    if not note.is_file():
        raise DataError(note, f"not there: run `python -m training teach {recipe.name}` first")
    if json.loads(note.read_text(encoding="utf-8"))["asked"] != wanted(recipe):
        raise DataError(note, "made with other settings than the recipe's: run teach again")
    return rows.read(run / "taught" / "rows.parquet", recipe.heads)
