"""Figures from logits and targets, per task and source; pure numpy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from training.labels import Task
from training.rows import Array, known

BINS = 15  # of the calibration error, as in Guo et al., "On Calibration of Modern Neural Networks" (2017)


def sigmoid(logits: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)), dtype=np.float32)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def probabilities(logits: Array, task: Task) -> Array:
    return sigmoid(logits) if task.kind == "multilabel" else softmax(logits)


def one_label(targets: Array) -> bool:
    """Whether every row of a set carries exactly one hard label: then its prediction is the best known
    label.
    """
    return bool(
        (np.nansum(targets, axis=1) == 1).all() and np.isin(targets[~np.isnan(targets)], (0, 1)).all()
    )


def chosen(probabilities_: Array, targets: Array) -> NDArray[np.int64]:
    """The most probable label of each row among those its set knows."""
    return np.asarray(np.where(np.isnan(targets), -np.inf, probabilities_).argmax(axis=1))


def score(
    probabilities_: Array, targets: Array, task: Task, thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """Accuracy, macro-F1 and figures by label of one set; only the labels the set knows count."""
    labels = [index for index in range(len(task.labels)) if not np.isnan(targets[:, index]).all()]
    if one_label(targets):
        truth: Any = np.nan_to_num(targets).argmax(axis=1)
        guess: Any = chosen(probabilities_, targets)
        wanted: Any = labels
    else:
        cut = np.asarray(thresholds if thresholds is not None else [0.5] * len(task.labels))
        truth = (np.nan_to_num(targets[:, labels]) >= 0.5).astype(int)
        guess = (probabilities_[:, labels] >= cut[labels]).astype(int)
        wanted = list(range(len(labels)))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, guess, labels=wanted, zero_division=0
    )
    return {
        "rows": len(targets),
        "accuracy": float(accuracy_score(truth, guess)),
        "macro_f1": float(f1_score(truth, guess, labels=wanted, average="macro", zero_division=0)),
        "labels": {
            task.labels[label]: {
                "precision": float(precision[i]), "recall": float(recall[i]), "f1": float(f1[i]),
                "rows": int(support[i]),
            }
            for i, label in enumerate(labels)
        },
    }  # fmt: skip


def by_source(
    probabilities_: Mapping[str, Array],
    targets: Mapping[str, Array],
    sources: Sequence[str],
    heads: Mapping[str, Task],
    thresholds: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, dict[str, Any]]:
    """{"task/source": score} for every source that says something about the task."""
    names = np.asarray(sources)
    table: dict[str, dict[str, Any]] = {}
    for name, task in heads.items():
        said = known(targets[name])
        for source in sorted(set(names[said])):
            rows = said & (names == source)
            cuts = (thresholds or {}).get(name)
            table[f"{name}/{source}"] = score(probabilities_[name][rows], targets[name][rows], task, cuts)
    return table


def overall(table: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Macro-F1 per task (mean over its sources) and `score`, the mean over tasks: what the best checkpoint
    is by.
    """
    tasks: dict[str, list[float]] = {}
    for key, figures in table.items():
        tasks.setdefault(key.split("/")[0], []).append(figures["macro_f1"])
    means = {f"{task}.macro_f1": float(np.mean(values)) for task, values in tasks.items()}
    return {"score": float(np.mean(list(means.values()))), **means}


def calibration_error(probabilities_: Array, targets: Array, task: Task) -> float:
    """Expected calibration error: over the known (row, label) decisions, or over the winning class of each
    row.
    """
    if task.kind == "multilabel":
        said = ~np.isnan(targets)
        confidence, right = probabilities_[said], targets[said]
    else:
        rows = known(targets)
        best = probabilities_[rows].argmax(axis=1)
        confidence = probabilities_[rows].max(axis=1)
        right = np.nan_to_num(targets[rows])[np.arange(len(best)), best]
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = 0.0
    for bin_ in np.unique(place):
        inside = place == bin_
        error += inside.mean() * abs(float(confidence[inside].mean()) - float(right[inside].mean()))
    return error
