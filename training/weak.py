"""Weak labels for lovelorn: posts that say a key word and are not labelled happy, against happy ones that
say none.

Half of the texts should have their key words hidden afterwards (`mask_words`), or a model learns the list
alone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from training import readers
from training.errors import DataError
from training.readers import Columns, Record


def lovelorn(
    path: Path,
    files: Sequence[str],
    words: Sequence[str],
    sad: Sequence[str],
    happy: Sequence[str],
    seed: int,
) -> Iterator[Record]:
    """Raw labels 1 (lovelorn) and 0 (ordinary, as many), from `path/file` for each of `files`.

    `sad` and `happy` are the files' own labels that may hold lovelorn and ordinary posts.
    """
    found: dict[str, Record] = {}
    ordinary: dict[str, Record] = {}
    for name in files:
        file = path / name
        for record in readers.reader("table", file)(file, Columns()):
            said = any(word in record.text for word in words)
            if said and record.labels[0] in sad:
                found.setdefault(record.text, Record(record.line, record.text, ("1",)))
            elif not said and record.labels[0] in happy:
                ordinary.setdefault(record.text, Record(record.line, record.text, ("0",)))
    if not found or not ordinary:
        raise DataError(path, f"no {'lovelorn' if not found else 'ordinary'} post in {', '.join(files)}")
    yield from found.values()
    chosen = np.random.default_rng(seed).permutation(len(ordinary))[: len(found)]
    pool = list(ordinary.values())
    yield from (pool[index] for index in sorted(chosen))
