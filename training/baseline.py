"""The honest yardstick: character n-gram tf-idf and balanced logistic regression, one per labelled set."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from training import metrics
from training.errors import RecipeError
from training.files import write_json
from training.prepare import Splits
from training.recipe import Recipe
from training.rows import known

NAME = "tfidf"  # stands where a recipe names its encoder


def baseline(recipe: Recipe, splits: Splits, run: Path) -> dict[str, Any]:
    """Trains on each set's train rows, scores its test rows, writes and returns `run/baseline.json`.

    `encoder.config` goes to TfidfVectorizer, and its `C` to LogisticRegression.
    """
    settings = {**(recipe.encoder.config or {})}
    penalty = settings.pop("C", 1.0)
    if "ngram_range" in settings:
        settings["ngram_range"] = tuple(settings["ngram_range"])
    table: dict[str, Any] = {}
    for source in recipe.source:
        if source.task not in recipe.heads:
            raise RecipeError(f"source {source.name} has no task: the baseline needs hard labels")
        train, test = splits["train"].of(source.name), splits["test"].of(source.name)
        task = recipe.heads[source.task]
        targets = train.targets[source.task]
        said = known(targets)
        model = make_pipeline(
            TfidfVectorizer(analyzer="char", **settings),
            LogisticRegression(C=penalty, class_weight="balanced", max_iter=1000, random_state=recipe.seed),
        )
        texts = [text for text, ok in zip(train.texts, said, strict=True) if ok]
        model.fit(texts, np.nan_to_num(targets[said]).argmax(axis=1))
        if not len(test):
            continue
        found = np.zeros((len(test), len(task.labels)), dtype=np.float32)
        found[:, model.classes_] = model.predict_proba(test.texts)
        table[f"{source.task}/{source.name}"] = metrics.score(found, test.targets[source.task], task)
    write_json(run / "baseline.json", {**metrics.overall(table), "sets": table})
    return table
