"""How far the texts scored of late are from those that a version was measured on.

The population stability index of two distributions over the same bins is sum((a - e) * ln(a / e)); below 0.1 is no
shift to speak of, above 0.25 a large one (N. Siddiqi, "Credit Risk Scorecards", Wiley 2006, chapter 6).
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from stream import metrics
from stream.model import UNKNOWN, LabelReference, Model, Reference, Task

BINS = 10
LEAST_SHARE = 1e-4  # of an empty bin, whose logarithm would be infinite
HALF_LIFE_TEXTS = 5_000
LEAST_TEXTS = 300  # with fewer the index is noise: it averages 9 / texts for ten bins without any shift

Array = NDArray[np.float64]


def psi(expected: Array, actual: Array) -> float:
    """The population stability index of shares `actual` against shares `expected`, each adding up to 1."""
    e, a = np.maximum(expected, LEAST_SHARE), np.maximum(actual, LEAST_SHARE)
    return float(((a - e) * np.log(a / e)).sum())


def carried(task: Task, scores: Array) -> NDArray[np.bool_]:
    """Which labels each text carries, as events say it: (texts, labels) both ways."""
    if task.kind == "multilabel":
        return scores >= np.array(task.thresholds)
    chosen: NDArray[np.bool_] = np.arange(len(task.labels)) == scores.argmax(axis=1)[:, None]
    return chosen


def reference(model: Model, scores: Mapping[str, Array]) -> Reference:
    """What is usual for `model`: `scores` maps each output to an array (texts, width), of as many texts as can be had.

    Scores are cut at the deciles; equal scores fall into one bin, so a bin may hold more, or nothing.
    """
    tasks = {}
    for task in model.tasks:
        cuts = np.quantile(scores[task.name], np.arange(1, BINS) / BINS, axis=0, method="lower").T
        shares = _binned(scores[task.name], cuts) / len(scores[task.name])
        often = carried(task, scores[task.name]).mean(axis=0)
        rows = zip(task.labels, cuts, shares, often, strict=True)
        tasks[task.name] = {
            label: LabelReference(tuple(cut.tolist()), tuple(share.round(4).tolist()), round(float(often), 4))
            for label, cut, share, often in rows
        }
    unknown = round(float(scores[UNKNOWN].mean()), 6) if UNKNOWN in scores else None
    return Reference(len(scores[model.primary.name]), tasks, unknown)


class Drift:
    """What each version said of late, in the bins of its reference; what is older counts half every
    HALF_LIFE_TEXTS texts."""

    def __init__(self) -> None:
        self._running: dict[Model, _Running] = {}

    def observe(self, model: Model, scores: Mapping[str, Array]) -> None:
        """Count texts: each output of the model as an array (texts, width)."""
        if model.reference is None:
            return
        if model not in self._running:
            self._running[model] = _Running(model, model.reference)
        self._running[model].observe(scores)

    def report(self, in_service: Iterable[Model]) -> None:
        """Set the gauges of the versions in service, and forget the others."""
        models = set(in_service)
        for gauge in (
            metrics.DRIFT_SCORES,
            metrics.DRIFT_LABELS,
            metrics.UNKNOWN_TOKENS,
            metrics.REFERENCE_TEXTS,
        ):
            gauge.clear()
        for model in models:
            texts = model.reference.texts if model.reference else 0
            metrics.REFERENCE_TEXTS.labels(model.name, model.version).set(texts)
        self._running = {model: running for model, running in self._running.items() if model in models}
        for running in self._running.values():
            running.report()


class _Running:
    def __init__(self, model: Model, usual: Reference) -> None:
        self._model = model
        self._usual = usual
        self._cuts = {
            task.name: np.array([usual.tasks[task.name][label].cuts for label in task.labels])
            for task in model.tasks
        }
        self._binned = {name: np.zeros((len(cuts), BINS)) for name, cuts in self._cuts.items()}
        self._carried = {name: np.zeros(len(cuts)) for name, cuts in self._cuts.items()}
        self._unknown = 0.0
        self._texts = 0.0

    def observe(self, scores: Mapping[str, Array]) -> None:
        count = len(scores[self._model.primary.name])
        kept = 0.5 ** (count / HALF_LIFE_TEXTS)
        self._texts = self._texts * kept + count
        for task in self._model.tasks:
            values = scores[task.name]
            self._binned[task.name] = self._binned[task.name] * kept + _binned(values, self._cuts[task.name])
            self._carried[task.name] = self._carried[task.name] * kept + carried(task, values).sum(axis=0)
        if UNKNOWN in scores:
            self._unknown = self._unknown * kept + float(scores[UNKNOWN].sum())

    def report(self) -> None:
        if self._texts < LEAST_TEXTS:
            return
        names = (self._model.name, self._model.version)
        for task in self._model.tasks:
            usual = self._usual.tasks[task.name]
            for label, counts in zip(task.labels, self._binned[task.name] / self._texts, strict=True):
                shift = psi(np.array(usual[label].shares), counts)
                metrics.DRIFT_SCORES.labels(*names, task.name, label).set(shift)
            expected = np.array([usual[label].carried for label in task.labels])
            shift = psi(_shares(expected), _shares(self._carried[task.name]))
            metrics.DRIFT_LABELS.labels(*names, task.name).set(shift)
        if self._usual.unknown is not None:
            metrics.UNKNOWN_TOKENS.labels(*names, "reference").set(self._usual.unknown)
            metrics.UNKNOWN_TOKENS.labels(*names, "now").set(self._unknown / self._texts)


def _binned(scores: Array, cuts: Array) -> NDArray[np.int64]:
    """Texts by label and bin: (texts, labels) cut at (labels, BINS - 1) → (labels, BINS)."""
    labels = len(cuts)
    bins = (scores[:, :, None] > cuts).sum(axis=2) + np.arange(labels) * BINS
    return np.bincount(bins.ravel(), minlength=labels * BINS).reshape(labels, BINS)


def _shares(counts: Array) -> Array:
    total = counts.sum()
    return counts / total if total else np.full(len(counts), 1 / len(counts))
