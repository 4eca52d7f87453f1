"""export: a trained checkpoint -> a version in a Triton model folder, once parity and the quality gate
agree.
"""

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training import card, gate, graph, int8, metrics, parity, rows, triton
from training.checkpoint import Checkpoint, load
from training.errors import CheckpointError, RecipeError
from training.everyday import everyday
from training.exported import Exported
from training.files import replacing_folder, write_json, write_text
from training.recipe import Recipe, Shipping
from training.rows import Array, Rows

CALIBRATION_BATCHES = 16


def write_tokenizer(checkpoint: Checkpoint, path: Path) -> None:
    """The checkpoint's own tokenizer with truncation inside and without padding."""
    tokenizer = type(checkpoint.tokenizer.backend_tokenizer).from_str(
        checkpoint.tokenizer.backend_tokenizer.to_str()
    )
    tokenizer.enable_truncation(checkpoint.recipe.encoder.max_tokens)
    tokenizer.no_padding()
    tokenizer.save(str(path))


def calibration_errors(
    checkpoint: Checkpoint, scores: Mapping[str, Array], test: Rows
) -> dict[str, dict[str, float]]:
    """ECE per task of a graph's scores on rows that calibration has not seen, and of what they were before it."""
    errors = {}
    for name, task in checkpoint.recipe.heads.items():
        if rows.known(test.targets[name]).any():
            logits = checkpoint.calibration[name].undo(scores[task.name], task)
            errors[name] = {
                when: metrics.calibration_error(values, test.targets[name], task)
                for when, values in (
                    ("before", metrics.probabilities(logits, task)),
                    ("after", scores[task.name]),
                )
            }
    return errors


def prove(
    checkpoint: Checkpoint, shipping: Shipping, folder: Path, splits: dict[str, Rows]
) -> dict[str, Any]:
    """Writes model.onnx and tokenizer.json into `folder` and returns what was measured; raises
    ParityError.
    """
    texts = splits["test"].texts[:: max(1, len(splits["test"]) // parity.TEXTS)][: parity.TEXTS]
    write_tokenizer(checkpoint, folder / "tokenizer.json")
    with tempfile.TemporaryDirectory() as aside:
        plain = Path(aside)
        shutil.copy(folder / "tokenizer.json", plain)
        graph.write_onnx(graph.Scorer(checkpoint.model, checkpoint.calibration), plain / "model.onnx")
        exported = Exported(plain)
        parity.tokens(checkpoint, exported, texts)
        difference = parity.fp32(checkpoint, exported, texts)
        calibration = splits["train"].texts[:: max(1, len(splits["train"]) // (64 * CALIBRATION_BATCHES))]
        batches = [
            exported.batch(calibration[start : start + 64]) for start in range(0, len(calibration), 64)
        ]
        int8.quantize(
            plain / "model.onnx",
            folder / "model.onnx",
            shipping.int8,
            batches[:CALIBRATION_BATCHES],
            checkpoint.recipe.encoder.table_bits,
        )
        before = parity.figures(checkpoint, exported.score(splits["test"].texts), splits["test"])
    small = Exported(folder)
    started = time.perf_counter()
    scores = small.score(splits["test"].texts)
    seconds = time.perf_counter() - started
    after = parity.figures(checkpoint, scores, splits["test"])
    return {
        "test": after,
        "ece": calibration_errors(checkpoint, scores, splits["test"]),
        "parity": {
            "texts": len(texts),
            "fp32": difference,
            "neighbours": parity.neighbours(small, texts[:256]),
            "int8_lost_macro_f1": parity.int8(before, after),
        },
        "size": {
            "onnx_bytes": (folder / "model.onnx").stat().st_size,
            "texts_per_second": len(splits["test"]) / seconds,
        },
        **(
            {"everyday": everyday(lambda t: small.score(t)["sentiment"])}
            if "sentiment" in small.outputs
            else {}
        ),
    }


def shipping_of(recipe: Recipe) -> Shipping:
    if recipe.export is None:
        raise RecipeError(f"recipe {recipe.name} has no [export] section")
    return recipe.export


def place(recipe: Recipe, models: Path, version: int | None = None) -> Path:
    """The version folder an export writes: the next number unless one is named."""
    model = models / shipping_of(recipe).model
    return model / str(version or max(triton.versions(model), default=0) + 1)


def export(recipe: Recipe, run: Path, models: Path, *, version: int | None = None) -> Path:
    """Adds a version to `models/<name>` and returns its folder; nothing is written unless all checks pass.

    Raises CheckpointError for another recipe's run, ParityError and GateError where the export must not ship.
    """
    checkpoint, shipping = load(run / "model"), shipping_of(recipe)
    if checkpoint.recipe.name != recipe.name:
        raise CheckpointError(f"{run} was trained by recipe {checkpoint.recipe.name}, not {recipe.name}")
    gate.above_floors(checkpoint.meta["dev"], shipping.floor)
    splits = {
        split: rows.read(run / "data" / f"{split}.parquet", checkpoint.recipe.heads)
        for split in ("train", "test")
    }
    target = place(recipe, models, version)
    model, number = target.parent, int(target.name)
    standing = triton.versions(model)
    with replacing_folder(target) as folder:
        figures = {
            **triton.declaration(checkpoint),
            "recipe": checkpoint.recipe.name,
            "data": checkpoint.meta["data"],
            "seed": checkpoint.recipe.seed,
            "dev": checkpoint.meta["dev"],
            **prove(checkpoint, shipping, folder, splits),
        }
        older = [other for other in standing if other < number]
        if older:
            replaced = parity.figures(
                checkpoint, Exported(model / str(max(older))).score(splits["test"].texts), splits["test"]
            )
            gate.not_worse(figures["test"], replaced, max(older))
            figures["replaced"] = {
                "version": max(older),
                "macro_f1": {key: row["macro_f1"] for key, row in replaced.items()},
            }
        write_json(folder / "metrics.json", figures)
    text = triton.config(
        triton.versions(model),
        serve=number,
        languages=shipping.languages,
        queue_delay_us=shipping.queue_delay_us,
    )
    write_text(model / "config.pbtxt", text)
    write_text(model / "README.md", card.card(recipe, number, figures))
    return target
