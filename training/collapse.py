"""Notices, while a model trains, that it gives one class to nearly every row: a published polarity run
did.
"""

import logging
from collections.abc import Mapping

import numpy as np

from training.labels import Task
from training.metrics import chosen, one_label
from training.rows import Array, Rows, known

ALL = 0.98  # share of the predictions in one class ...
MOST = 0.9  # ... where the truth has at most this share in any

log = logging.getLogger(__name__)


def collapsed(probabilities: Mapping[str, Array], rows: Rows, heads: Mapping[str, Task]) -> dict[str, float]:
    """{"collapsed/<task>/<set>": share of the one class} for every set that a task has collapsed on; also
    logged.
    """
    found: dict[str, float] = {}
    sources = np.asarray(rows.sources)
    for name, task in heads.items():
        for source in sorted(set(sources[known(rows.targets[name])])):
            inside = known(rows.targets[name]) & (sources == source)
            targets = rows.targets[name][inside]
            if not one_label(targets):
                continue
            guessed = np.bincount(chosen(probabilities[name][inside], targets), minlength=len(task.labels))
            truth = np.nansum(targets, axis=0)
            share = float(guessed.max() / guessed.sum())
            if share >= ALL and truth.max() / truth.sum() <= MOST:
                label = task.labels[int(guessed.argmax())]
                log.warning("collapsed: %s on %s calls %.1f %% of dev %s", name, source, 100 * share, label)
                found[f"collapsed/{name}/{source}"] = share
    return found
