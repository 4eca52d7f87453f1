"""Writes soft emotion targets for texts that have none: a trained model and an n-gram model, averaged.

    python -m training.teach emotion-zh --labelled smp2020-usual --labelled smp2020-virus \\
        --texts ../shared/data/weibo_stream.parquet --most 40000 --out runs/taught/stream.parquet

The result is a table of rows (`format = "rows"` in a recipe). Labels that `labelled` never says stay unknown.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from training import checkpoint, metrics, rows
from training.batches import EncodedRows
from training.errors import DataError
from training.labels import TASKS
from training.rows import Array, Rows
from training.train import predict

EMOTION = TASKS["emotion"]
SHARE = 0.55  # of the trained model in the average; the n-gram model has the rest
SEED = 0


def read_texts(path: Path, most: int | None) -> list[str]:
    """Distinct texts of a Parquet file's column `text`, a random `most` of them."""
    try:
        column = pq.read_table(path, columns=["text"])["text"].to_pylist()
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise DataError(path, f"has no column `text` that can be read: {error}") from error
    texts = sorted({text.strip() for text in column if text and text.strip()})
    return [texts[place] for place in np.random.default_rng(SEED).permutation(len(texts))[:most]]


def linear(labelled: Rows, texts: list[str]) -> tuple[list[int], Array]:
    """The labels that `labelled` says, and their probabilities for `texts` by tf-idf and a balanced fit."""
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=3, sublinear_tf=True)
    model = LogisticRegression(C=3, max_iter=150, class_weight="balanced")
    labels = np.nan_to_num(labelled.targets["emotion"]).argmax(axis=1)
    model.fit(vectorizer.fit_transform(labelled.texts), labels)
    return [int(label) for label in model.classes_], model.predict_proba(vectorizer.transform(texts))


def neural(teacher: checkpoint.Checkpoint, labels: list[int], texts: list[str]) -> Array:
    encoded = EncodedRows(
        Rows(texts, [""] * len(texts), {}), teacher.tokenizer, teacher.recipe.encoder.max_tokens
    )
    logits = predict(teacher.model, encoded, teacher.tokenizer.pad_token_id or 0)["emotion"]
    return metrics.softmax(logits[:, labels])


def teach(
    teacher: Annotated[str, typer.Argument(help="name of a finished run")],
    labelled: Annotated[
        list[str], typer.Option(help="the teacher's sources that the n-gram model learns from")
    ],
    texts: Annotated[Path, typer.Option(help="Parquet whose column `text` is to be labelled")],
    out: Annotated[Path, typer.Option()],
    most: Annotated[int | None, typer.Option(help="texts labelled, drawn at random [default: all]")] = None,
    runs: Annotated[Path, typer.Option()] = Path("runs"),
) -> None:
    heads = {"emotion": EMOTION}
    train = rows.read(runs / teacher / "data" / "train.parquet", heads)
    strange = set(labelled) - set(train.sources)
    if strange:
        raise DataError(
            runs / teacher / "data" / "train.parquet", f"has no source {', '.join(sorted(strange))}"
        )
    untold = read_texts(texts, most)
    labels, guess = linear(rows.concat([train.of(name) for name in labelled], heads), untold)
    guess = SHARE * neural(checkpoint.load(runs / teacher / "model"), labels, untold) + (1 - SHARE) * guess
    target = rows.unknown(len(untold), EMOTION)
    target[:, labels] = guess
    rows.write(Rows(untold, ["taught"] * len(untold), {"emotion": target}), out)
    typer.echo(f"{out}: {len(untold)} texts taught")


if __name__ == "__main__":
    typer.run(teach)
