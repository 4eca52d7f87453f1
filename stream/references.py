"""Makes and keeps a version's reference: what is usual of the texts that it was measured on."""

from itertools import islice
from pathlib import Path

import numpy as np
import orjson
from pydantic import TypeAdapter

from stream import drift
from stream.comments import Rejected
from stream.errors import ConfigurationError
from stream.model import REFERENCE, Model, Reference
from stream.rows import BadRow, read
from stream.scorer import Scorer
from stream.text import clean


async def measure(scorer: Scorer, model: Model, file: Path, column: str, most: int) -> Reference:
    """Score the first `most` texts of a CSV, JSONL or Parquet file, repeats included.

    Raises ConfigurationError where there are none, Unavailable where Triton does not answer.
    """
    rows = (row for row in read(file) if not isinstance(row, BadRow) and row.get(column))
    texts = [text for row in islice(rows, most) if (text := clean(str(row[column])))]
    answers = await scorer.score(model, texts)
    scores = [answer for answer in answers if not isinstance(answer, Rejected)]
    if not scores:
        raise ConfigurationError(f"{file}: no text in a column {column} that {model} can score")
    return drift.reference(model, {name: np.array([one[name] for one in scores]) for name in model.widths})


def dumps(reference: Reference) -> str:
    """As reference.json and the model's config have it."""
    return TypeAdapter(Reference).dump_json(reference).decode()


def keep(folder: Path, version: str, reference: Reference) -> None:
    """Write `folder/version/reference.json`, and the same into config.pbtxt, where workers read it through Triton.

    Raises ConfigurationError where the model folder cannot be written.
    """
    key = f'key: "{REFERENCE}@{version}" '
    text = dumps(reference)
    config = folder / "config.pbtxt"
    try:
        others = [line for line in config.read_text().splitlines() if key not in line]
        (folder / version / "reference.json").write_text(text + "\n")
        value = orjson.dumps(text).decode()
        line = f"parameters {{ {key}value {{ string_value: {value} }} }}"
        config.write_text("\n".join([*others, line, ""]))
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
