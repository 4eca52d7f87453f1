"""Writes soft emotion targets for texts that have none: a trained model and an n-gram model, averaged.

    python -m training.teach emotion-zh-usual --labelled smp2020-usual --source weibo-senti \\
        --texts runs/emotion-zh/data/train.parquet --out runs/taught/weibo-senti.parquet

The result is a table of rows (`format = "rows"` in a recipe). Labels that `labelled` never says stay unknown.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from training import checkpoint, metrics, rows
from training.batches import EncodedRows
from training.labels import TASKS
from training.rows import Array, Rows
from training.train import predict

SHARE = 0.55  # of the trained model in the average; the n-gram model has the rest


def linear(labelled: Rows, texts: list[str]) -> tuple[list[int], Array]:
    """The labels that `labelled` says, and their probabilities for `texts` by tf-idf and a balanced fit."""
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=3, sublinear_tf=True)
    model = LogisticRegression(C=3, max_iter=150, class_weight="balanced")
    labels = np.nan_to_num(labelled.targets["emotion"]).argmax(axis=1)
    model.fit(vectorizer.fit_transform(labelled.texts), labels)
    return [int(label) for label in model.classes_], model.predict_proba(vectorizer.transform(texts))


def neural(teacher: checkpoint.Checkpoint, labels: list[int], texts: Rows) -> Array:
    encoded = EncodedRows(texts, teacher.tokenizer, teacher.recipe.encoder.max_tokens)
    logits = predict(teacher.model, encoded, teacher.tokenizer.pad_token_id or 0)["emotion"]
    return metrics.softmax(logits[:, labels])


def teach(
    teacher: Annotated[str, typer.Argument(help="name of a finished run")],
    labelled: Annotated[str, typer.Option(help="the teacher's source that the n-gram model learns from")],
    texts: Annotated[Path, typer.Option(help="rows whose texts are to be labelled")],
    source: Annotated[str, typer.Option(help="the source in `texts`")],
    out: Annotated[Path, typer.Option()],
    runs: Annotated[Path, typer.Option()] = Path("runs"),
) -> None:
    heads = {name: TASKS[name] for name in ("emotion", "sentiment", "lovelorn")}
    told = rows.read(runs / teacher / "data" / "train.parquet", heads).of(labelled)
    untold = rows.read(texts, heads).of(source)
    labels, guess = linear(told, untold.texts)
    guess = SHARE * neural(checkpoint.load(runs / teacher / "model"), labels, untold) + (1 - SHARE) * guess
    target = rows.unknown(len(untold), heads["emotion"])
    target[:, labels] = guess
    rows.write(Rows(untold.texts, untold.sources, {**untold.targets, "emotion": target}), out)
    typer.echo(f"{out}: {len(untold)} texts taught")


if __name__ == "__main__":
    typer.run(teach)
