"""prepare: read every source of a recipe, hide what leaks, split, report, and write train, dev and test as
rows.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from training import readers, report, rows, weak
from training.errors import DataError
from training.files import replacing_folder, write_json, write_text
from training.labels import TASKS, Task
from training.masking import without_emoticons, without_words
from training.recipe import Recipe, Source
from training.rows import Rows

SPLITS = ("train", "dev", "test")
Splits = Mapping[str, Rows]


def read_source(source: Source, file: str, data: Path, seed: int) -> Rows:
    path = data / file
    if source.weak is not None:
        how = source.weak
        records = weak.lovelorn(path, how.files, how.words, how.sad, how.happy, seed)
    else:
        records = readers.reader(source.format, path)(path, source.columns)
    if source.mask_emoticons:
        records = (record._replace(text=without_emoticons(record.text)) for record in records)
    found = readers.to_rows(records, path, source.name, source.task, TASKS[source.task], source.mapping)
    if source.mask_words:
        found = found.with_texts(
            without_words(found.texts, source.mask_words, share=source.mask_share, seed=seed)
        )
    return found


def split_source(source: Source, data: Path, seed: int) -> dict[str, Rows]:
    """Test is taken first, then dev of what is left, both stratified by label and drawn with the recipe's
    seed.
    """
    train = read_source(source, source.train, data, seed)
    parts: dict[str, Rows] = {}
    for split, origin in (("test", source.test), ("dev", source.dev)):
        if isinstance(origin, str):
            parts[split] = read_source(source, origin, data, seed)
        elif origin:
            train, parts[split] = _split(train, origin, source.task, seed)
    if source.most is not None and len(train) > source.most:
        train = train.select(sorted(np.random.default_rng(seed).permutation(len(train))[: source.most]))
    return {"train": train, **parts}


def _split(part: Rows, share: float, task: str, seed: int) -> tuple[Rows, Rows]:
    strata: Any = np.nan_to_num(part.targets[task]).argmax(axis=1)
    if np.bincount(strata)[np.unique(strata)].min() < 2:
        strata = None
    kept, aside = train_test_split(np.arange(len(part)), test_size=share, random_state=seed, stratify=strata)
    return part.select(sorted(kept)), part.select(sorted(aside))


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files in order of name."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def fingerprints(recipe: Recipe, data: Path) -> dict[str, str]:
    files = [
        file
        for source in recipe.source
        for file in (source.weak.files if source.weak else (source.train, source.dev, source.test))
        if isinstance(file, str)
    ]
    for file in files:
        if not (data / file).exists():
            raise DataError(data / file, "no such file; name the folder of the data with --data")
    return {file: fingerprint(data / file) for file in files}


def assemble(recipe: Recipe, data: Path) -> dict[str, Rows]:
    heads: Mapping[str, Task] = recipe.heads
    parts = [split_source(source, data, recipe.seed) for source in recipe.source]
    return {split: rows.concat([part[split] for part in parts if split in part], heads) for split in SPLITS}


def prepare(recipe: Recipe, data: Path, run: Path) -> Splits:
    """Writes `run/data/` (splits as Parquet, `report.json`, `sources.json` with a SHA-256 a file and what was asked for) and
    `report.md`.

    Raises DataError for a file that cannot be read as its recipe says, LeakError for copies across splits.
    """
    sums = fingerprints(recipe, data)
    splits = assemble(recipe, data)
    found = report.copies(splits)
    table = report.report(splits, found, recipe.heads)
    write_text(run / "report.md", report.markdown(table))  # kept even where a leak stops the run
    splits = report.settle_leaks(splits, recipe.source, found)
    with replacing_folder(run / "data") as folder:
        for split, part in splits.items():
            rows.write(part, folder / f"{split}.parquet")
        write_json(folder / "sources.json", {"files": sums, "asked": asked(recipe)})
        write_json(folder / "report.json", table)
    return splits


def asked(recipe: Recipe) -> dict[str, Any]:
    """The part of a recipe that decides its rows."""
    return recipe.model_dump(mode="json", include={"seed", "tasks", "source"})


def fits(recipe: Recipe, run: Path) -> bool:
    """Whether the rows in a run folder are those this recipe asks for."""
    note = run / "data" / "sources.json"
    return note.is_file() and json.loads(note.read_text(encoding="utf-8"))["asked"] == asked(recipe)


def prepared(recipe: Recipe, run: Path) -> Splits:
    return {split: rows.read(run / "data" / f"{split}.parquet", recipe.heads) for split in SPLITS}
