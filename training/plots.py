"""PNG pictures of a run: curves, confusion matrices, figures by label."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def curves(log: Path, path: Path) -> None:
    """Training loss, and dev's scores, over steps, from a metrics JSONL."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for key in ("loss", "eval_loss"):
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            left.plot(*zip(*points, strict=True), label=key)
    scores = sorted({key for line in lines for key in line if key.endswith(("macro_f1", "score"))})
    for key in scores:
        points = [(line["step"], line[key]) for line in lines if key in line]
        right.plot(*zip(*points, strict=True), marker="o", label=key.removeprefix("eval_"))
    for axis, title in ((left, "loss"), (right, "dev")):
        axis.set(title=title, xlabel="step")
        if axis.lines:
            axis.legend()
    _save(figure, path)


def confusion(matrix: NDArray[np.int64], labels: Sequence[str], title: str, path: Path) -> None:
    """Counts [truth, prediction]; shaded by the share of each true label."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(1.5 + 0.7 * len(labels), 1.2 + 0.6 * len(labels)))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        shade = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, str(matrix[row, column]), ha="center", va="center", color=shade, fontsize=8)
    axis.set(title=title, xlabel="predicted", ylabel="true")
    axis.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    _save(figure, path)


def by_label(labels: Mapping[str, Mapping[str, Any]], title: str, path: Path) -> None:
    """Precision, recall and F1 of each label as bars."""
    figure, axis = plt.subplots(figsize=(2 + 0.9 * len(labels), 3.6))
    for offset, figure_name in enumerate(("precision", "recall", "f1")):
        places = np.arange(len(labels)) + 0.27 * (offset - 1)
        axis.bar(places, [row[figure_name] for row in labels.values()], 0.25, label=figure_name)
    axis.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axis.set(title=title, ylim=(0, 1))
    axis.legend(loc="lower right")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
