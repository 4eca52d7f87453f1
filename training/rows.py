"""The one schema: texts, where each came from, and per task a target for every label or NaN where its set
says nothing.

A target is a probability, so hard labels (0 and 1) and a teacher's soft ones are the same thing. The mask
is not stored: it is `isnan`. On disk a table of rows is Parquet: `text`, `source`, and one list column per
task.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.errors import DataError
from training.files import replacing
from training.labels import Task

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rows:
    """`targets[task]` is float32 [rows, labels of the task]; all columns have the same length."""

    texts: list[str]
    sources: list[str]
    targets: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, indices: Iterable[int]) -> "Rows":
        chosen = np.fromiter(indices, dtype=np.int64)
        return Rows(
            [self.texts[i] for i in chosen],
            [self.sources[i] for i in chosen],
            {task: values[chosen] for task, values in self.targets.items()},
        )

    def of(self, source: str) -> "Rows":
        return self.select(i for i, name in enumerate(self.sources) if name == source)

    def with_texts(self, texts: list[str]) -> "Rows":
        return Rows(texts, self.sources, self.targets)


def unknown(count: int, task: Task) -> Array:
    return np.full((count, len(task.labels)), np.nan, dtype=np.float32)


def target(task: Task, present: Iterable[str], known: Iterable[str]) -> Array:
    """One row's target, float32 [labels]: 1 for `present`, 0 for the rest of `known`, NaN elsewhere."""
    row = np.full(len(task.labels), np.nan, dtype=np.float32)
    row[[task.index(label) for label in known]] = 0.0
    row[[task.index(label) for label in present]] = 1.0
    return row


def known(targets: Array) -> NDArray[np.bool_]:
    """Rows whose set says something about the task, bool [rows]."""
    return np.asarray(~np.isnan(targets).all(axis=1))


def concat(parts: Sequence[Rows], tasks: Mapping[str, Task]) -> Rows:
    """Joins sets; a task a set does not have is unknown throughout it."""
    return Rows(
        [text for part in parts for text in part.texts],
        [source for part in parts for source in part.sources],
        {
            name: np.concatenate(
                [unknown(0, task), *(part.targets.get(name, unknown(len(part), task)) for part in parts)]
            )
            for name, task in tasks.items()
        },
    )


def write(rows: Rows, path: Path) -> None:
    columns = {"text": pa.array(rows.texts, pa.string()), "source": pa.array(rows.sources, pa.string())}
    for task, values in rows.targets.items():
        columns[task] = pa.array(list(values), pa.list_(pa.float32()))
    with replacing(path) as aside:
        pq.write_table(pa.table(columns), aside, compression="zstd")


def read(path: Path, tasks: Mapping[str, Task]) -> Rows:
    """Raises DataError where the file is no table of rows for these tasks."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(path, f"cannot be read as Parquet: {error}") from error
    missing = {"text", "source"} - set(table.column_names)
    if missing:
        raise DataError(path, f"lacks the columns {', '.join(sorted(missing))}")
    targets: dict[str, Array] = {}
    for name, task in tasks.items():
        if name not in table.column_names:
            targets[name] = unknown(table.num_rows, task)
            continue
        flat = pc.list_flatten(table[name]).to_numpy().astype(np.float32)
        targets[name] = flat.reshape(-1, len(task.labels))
        if len(targets[name]) != table.num_rows:
            raise DataError(path, f"column {name} does not hold {len(task.labels)} numbers a row")
    return Rows(table["text"].to_pylist(), table["source"].to_pylist(), targets)
