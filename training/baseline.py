"""The honest yardstick: character n-gram tf-idf and balanced logistic regression, one per labelled set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from training import metrics
from training.errors import RecipeError
from training.files import write_json
from training.prepare import Splits
from training.recipe import Recipe
from training.rows import known

NAME = "tfidf"  # stands where a recipe names its encoder


def ngrams(settings: Mapping[str, Any], seed: int) -> Pipeline:
    """`settings` go to TfidfVectorizer, and their `C` to LogisticRegression."""
    rest = {"analyzer": "char", "dtype": np.float32, **settings}
    penalty = rest.pop("C", 1.0)
    rest["ngram_range"] = tuple(rest.get("ngram_range", (1, 1)))
    return make_pipeline(
        TfidfVectorizer(**rest),
        LogisticRegression(C=penalty, class_weight="balanced", max_iter=1000, random_state=seed),
    )


def baseline(recipe: Recipe, splits: Splits, run: Path) -> dict[str, Any]:
    """Trains on each set's train rows, scores its test rows, writes and returns `run/baseline.json`.

    `encoder.config` holds the settings of the n-gram models.
    """
    table: dict[str, Any] = {}
    for source in recipe.source:
        if source.task not in recipe.heads:
            raise RecipeError(f"source {source.name} has no task: the baseline needs hard labels")
        train, test = splits["train"].of(source.name), splits["test"].of(source.name)
        task = recipe.heads[source.task]
        targets = train.targets[source.task]
        said = known(targets)
        model = ngrams(recipe.encoder.config or {}, recipe.seed)
        texts = [text for text, ok in zip(train.texts, said, strict=True) if ok]
        model.fit(texts, np.nan_to_num(targets[said]).argmax(axis=1))
        if not len(test):
            continue
        found = np.zeros((len(test), len(task.labels)), dtype=np.float32)
        found[:, model.classes_] = model.predict_proba(test.texts)
        table[f"{source.task}/{source.name}"] = metrics.score(found, test.targets[source.task], task)
    write_json(run / "baseline.json", {**metrics.overall(table), "sets": table})
    return table
