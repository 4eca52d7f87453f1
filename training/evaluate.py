"""evaluate: a checkpoint, or the exported model, on a split -> figures, tables, pictures, predictions."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import confusion_matrix

from training import markdown, metrics, plots, rows
from training.batches import EncodedRows
from training.checkpoint import Checkpoint, load
from training.everyday import everyday
from training.exported import Exported
from training.files import replacing_folder, write_json, write_text
from training.inference import predict
from training.metrics import chosen, one_label
from training.rows import Array, Rows, known


def score(checkpoint: Checkpoint, texts: list[str]) -> dict[str, Array]:
    """Calibrated probabilities per task of the recipe, float32 [texts, labels], by torch."""
    plain = Rows(texts, [""] * len(texts), {})
    encoded = EncodedRows(plain, checkpoint.tokenizer, checkpoint.recipe.encoder.max_tokens)
    logits = predict(checkpoint.model, encoded, checkpoint.tokenizer.pad_token_id or 0)
    return {
        name: metrics.probabilities(checkpoint.calibration[name].apply(logits[name]), task)
        for name, task in checkpoint.recipe.heads.items()
    }


def results(run: Path, split: str, exported: Path | None = None) -> Path:
    return run / "evaluation" / (f"{split}-onnx" if exported else split)


def evaluate(run: Path, split: str, exported: Path | None = None) -> dict[str, Any]:
    """Writes `run/evaluation/<split>/` and returns its metrics.json; `exported` scores by that folder's
    ONNX.
    """
    checkpoint = load(run / "model")
    part = rows.read(run / "data" / f"{split}.parquet", checkpoint.recipe.heads)
    graph = Exported(exported) if exported else None

    def ask(texts: list[str]) -> dict[str, Array]:
        if graph is None:
            return score(checkpoint, texts)
        found = graph.score(texts)
        return {name: found[task.name] for name, task in checkpoint.recipe.heads.items()}

    started = time.perf_counter()
    found = ask(part.texts)
    seconds = time.perf_counter() - started
    heads = checkpoint.recipe.heads
    table = metrics.by_source(found, part.targets, part.sources, heads, checkpoint.thresholds)
    figures = {
        **metrics.overall(table),
        "ece": {
            name: metrics.calibration_error(found[name], part.targets[name], task)
            for name, task in heads.items()
            if known(part.targets[name]).any()
        },
        "texts_per_second": len(part) / seconds,
        "sets": table,
    }
    if "sentiment" in heads:
        figures["everyday"] = everyday(lambda texts: ask(texts)["sentiment"])
    with replacing_folder(results(run, split, exported)) as folder:
        write_json(folder / "metrics.json", figures)
        write_text(folder / "labels.md", by_label_table(table))
        draw(checkpoint, part, found, table, folder)
        for log in run.glob("metrics-*.jsonl"):
            plots.curves(log, folder / f"curves-{log.stem.removeprefix('metrics-')}.png")
        write_predictions(part, found, folder / "predictions.parquet")
    return figures


def by_label_table(table: dict[str, dict[str, Any]]) -> str:
    rows: list[tuple[Any, ...]] = []
    for key, row in table.items():
        for label, by in row["labels"].items():
            rows.append(
                (key, label, *(f"{by[name]:.4f}" for name in ("precision", "recall", "f1")), by["rows"])
            )
        rows.append((key, "**macro**", "", "", f"{row['macro_f1']:.4f}", row["rows"]))
    return markdown.table(("task/set", "label", "precision", "recall", "F1", "rows"), rows) + "\n"


def draw(
    checkpoint: Checkpoint,
    part: Rows,
    found: dict[str, Array],
    table: dict[str, dict[str, Any]],
    folder: Path,
) -> None:
    sources = np.asarray(part.sources)
    for key, row in table.items():
        name, source = key.split("/", 1)
        plots.by_label(row["labels"], key, folder / f"labels-{name}-{source}.png")
        inside = known(part.targets[name]) & (sources == source)
        targets = part.targets[name][inside]
        if one_label(targets):
            said = [checkpoint.recipe.heads[name].index(label) for label in row["labels"]]
            truth = np.nan_to_num(targets).argmax(axis=1)
            counts = confusion_matrix(truth, chosen(found[name][inside], targets), labels=said)
            plots.confusion(counts, list(row["labels"]), key, folder / f"confusion-{name}-{source}.png")


def write_predictions(part: Rows, found: dict[str, Array], path: Path) -> None:
    """Text, set, and per task the targets and the probabilities: for error analysis, never for the
    repository.
    """
    columns: dict[str, Any] = {"text": part.texts, "source": part.sources}
    for name, probabilities in found.items():
        columns[f"{name}_true"] = pa.array(list(part.targets[name]), pa.list_(pa.float32()))
        columns[f"{name}_found"] = pa.array(list(probabilities), pa.list_(pa.float32()))
    pq.write_table(pa.table(columns), path)
