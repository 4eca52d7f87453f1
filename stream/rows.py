"""Rows of CSV, JSONL and Parquet files, one at a time. What the columns mean is not its business."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from stream.errors import ConfigurationError, FanpulseError

Row = dict[str, Any]


class BadRow(FanpulseError):
    """One row that cannot become a comment: it is counted and named, the others go on."""


def read(path: Path) -> Iterator[Row | BadRow]:
    """The rows of a file in order, the bad ones in their places. Format by suffix.

    Raises ConfigurationError where the file cannot be read at all.
    """
    readers = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise ConfigurationError(f"{path}: not one of {', '.join(readers)}")
    try:
        yield from readers[path.suffix.lower()](path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None


def estimate(path: Path) -> int:
    """About how many rows `read` will give (a quoted line break in CSV counts as a row)."""
    if path.suffix.lower() == ".parquet":
        rows: int = _parquet_file(path).metadata.num_rows
        return rows
    with path.open("rb") as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return lines - (path.suffix.lower() == ".csv")


def _csv(path: Path) -> Iterator[Row | BadRow]:
    # An undecodable byte spoils its own row alone: it becomes a lone surrogate, which JSON refuses.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadRow(str(error))
            else:
                yield BadRow("more fields than the header has") if None in row else row


def _jsonl(path: Path) -> Iterator[Row | BadRow]:
    with path.open("rb") as file:
        for line in file:
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield BadRow(f"not JSON: {error}")
            else:
                yield row if isinstance(row, dict) else BadRow("not a JSON object")


def _parquet(path: Path) -> Iterator[Row | BadRow]:
    for batch in _parquet_file(path).iter_batches(batch_size=1024):
        yield from batch.to_pylist()


def _parquet_file(path: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ConfigurationError(f"{path}: reading Parquet needs the extra fanpulse[replay]") from None
    try:
        return ParquetFile(path)
    except ArrowException as error:
        raise ConfigurationError(f"{path}: not a Parquet file: {error}") from None
