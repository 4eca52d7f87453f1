"""Posts without labels: distinct ones, a few held out, and none that a recipe's held-out rows repeat.

It knows nothing of tokens or models.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training import prepare, report, rows
from training import recipe as recipes
from training.errors import DataError
from training.files import replacing_folder, write_json
from training.masking import without_emoticons
from training.recipe import Pretraining
from training.rows import Rows


def gather(recipe: Pretraining, data: Path, run: Path) -> dict[str, Rows]:
    """Writes and returns train and dev posts: distinct, and none of train nearly repeats a post of dev, nor a dev or
    test row of the recipes in `apart`.

    Raises DataError for a file without texts.
    """
    note = {
        "files": {file: prepare.fingerprint(_there(data / file)) for file in recipe.texts},
        "asked": _asked(recipe),
    }
    distinct: dict[str, tuple[str, str]] = {}
    for file in recipe.texts:
        for text in draw(read_texts(data / file), recipe.most, recipe.seed):
            distinct.setdefault(report.normalized(without_emoticons(text)), (text, file))
    distinct.pop("", None)
    posts = [distinct[key] for key in sorted(distinct)]
    order = np.random.default_rng(recipe.seed).permutation(len(posts))
    chosen = {
        split: Rows([posts[i][0] for i in part], [posts[i][1] for i in part], {})
        for split, part in (("dev", order[: recipe.dev]), ("train", order[recipe.dev :]))
    }
    bare = {split: _bare(part) for split, part in chosen.items()}
    held = rows.concat([part for name in recipe.apart for part in _held_out(name, data)], {})
    gone = {copy.train for copy in report.copies({**bare, "test": _bare(held)})}
    chosen["train"] = chosen["train"].select(row for row in range(len(chosen["train"])) if row not in gone)
    with replacing_folder(run / "data") as folder:
        for split, part in chosen.items():
            rows.write(part, folder / f"{split}.parquet")
        write_json(
            folder / "sources.json", {**note, "distinct": len(posts), "near_copies_dropped": len(gone)}
        )
    return chosen


def gathered(recipe: Pretraining, run: Path) -> dict[str, Rows] | None:
    """The posts in a run folder, where they are what the recipe asks for."""
    note = run / "data" / "sources.json"
    if not note.is_file() or json.loads(note.read_text(encoding="utf-8"))["asked"] != _asked(recipe):
        return None
    return {split: rows.read(run / "data" / f"{split}.parquet", {}) for split in ("train", "dev")}


def _asked(recipe: Pretraining) -> dict[str, Any]:
    return recipe.model_dump(mode="json", include={"seed", "texts", "most", "apart", "dev"})


def _there(path: Path) -> Path:
    if not path.exists():
        raise DataError(path, "no such file; name the folder of the data with --data")
    return path


def read_texts(path: Path) -> list[str]:
    """Raises DataError where no column `text` can be read."""
    try:
        return [text for text in pq.read_table(path, columns=["text"])["text"].to_pylist() if text]
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise DataError(path, f"has no column `text` that can be read: {error}") from error


def draw(texts: list[str], most: int | None, seed: int) -> list[str]:
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[at] for at in order[:most]]


def _bare(part: Rows) -> Rows:
    return part.with_texts([without_emoticons(text) for text in part.texts])


def _held_out(name: str, data: Path) -> list[Rows]:
    """Dev and test of a recipe, with the key words that it hides: posts are compared as they were written."""
    recipe = recipes.load(name)
    plain = tuple(source.model_copy(update={"mask_words": ()}) for source in recipe.source)
    splits = prepare.assemble(recipe.model_copy(update={"source": plain}), data)
    return [splits["dev"], splits["test"]]
