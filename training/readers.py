"""Published formats into rows: each reader yields (line, text, raw labels); what a label means is the
mapping's affair.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.errors import DataError
from training.labels import Task
from training.rows import Array, Rows, target


class Record(NamedTuple):
    line: int
    text: str
    labels: tuple[str, ...]


class Columns(NamedTuple):
    """Where a table keeps its text and its labels; further label columns hold a second emotion or nothing."""

    text: str = "text"
    labels: tuple[str, ...] = ("label",)
    encoding: str = "utf-8"


# Ren-CECps names its emotions as elements below each sentence, with an intensity from 0 to 1.
REN_CECPS_EMOTIONS = ("anger", "anxiety", "expect", "hate", "joy", "love", "sorrow", "surprise")


def read_text(path: Path, encoding: str) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(path, "no such file") from error
    if not raw.strip():
        raise DataError(path, "the file is empty")
    try:
        return raw.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        hint = '; it reads as GB18030: set encoding = "gb18030"' if _decodes(raw, "gb18030") else ""
        raise DataError(path, f"is not {encoding}{hint}", line=line) from error


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def delimited(path: Path, columns: Columns) -> Iterator[Record]:
    """weibo_senti_100k (`label,review`), OCEMOTION with a header, and any other CSV or TSV."""
    delimiter = "\t" if path.suffix == ".tsv" else ","
    reader = csv.DictReader(read_text(path, columns.encoding).splitlines(keepends=True), delimiter=delimiter)
    _require(path, columns, reader.fieldnames or ())
    for row in reader:
        if None in row or any(row[name] is None for name in (columns.text, columns.labels[0])):
            raise DataError(
                path, f"does not have {len(reader.fieldnames or ())} fields", line=reader.line_num
            )
        yield Record(reader.line_num, row[columns.text], _labels(row, columns))


def ocemotion(path: Path, columns: Columns) -> Iterator[Record]:
    """The published OCEMOTION file: `id <tab> text <tab> label`, no header, quotes mean nothing."""
    for line, raw in enumerate(read_text(path, columns.encoding).splitlines(), start=1):
        fields = raw.split("\t")
        if len(fields) != 3:
            raise DataError(path, f"has {len(fields)} tab-separated fields, not 3", line=line)
        yield Record(line, fields[1], (fields[2].strip(),))


def json_lines(path: Path, columns: Columns) -> Iterator[Record]:
    for line, raw in enumerate(read_text(path, columns.encoding).splitlines(), start=1):
        if raw.strip():
            try:
                row = json.loads(raw)
            except json.JSONDecodeError as error:
                raise DataError(path, f"is not JSON: {error.msg}", line=line) from error
            yield _from_object(path, row, columns, line)


def smp2020(path: Path, columns: Columns) -> Iterator[Record]:
    """SMP2020-EWECT: one JSON array of objects with `id`, `content`, `label`; `line` counts its elements."""
    try:
        rows = json.loads(read_text(path, columns.encoding))
    except json.JSONDecodeError as error:
        raise DataError(path, f"is not JSON: {error.msg}", line=error.lineno) from error
    if not isinstance(rows, list):
        raise DataError(path, "is not a JSON array")
    fields = columns._replace(text="content")
    for number, row in enumerate(rows, start=1):
        yield _from_object(path, row, fields, number)


def parquet(path: Path, columns: Columns) -> Iterator[Record]:
    if not path.exists():
        raise DataError(path, "no such file")
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(path, f"cannot be read as Parquet: {error}") from error
    _require(path, columns, table.column_names)
    if not table.num_rows:
        raise DataError(path, "the file is empty")
    for line, row in enumerate(table.select([columns.text, *columns.labels]).to_pylist(), start=1):
        yield Record(line, row[columns.text] or "", _labels(row, columns))


def ren_cecps(path: Path, columns: Columns) -> Iterator[Record]:
    """Ren-CECps 1.0: one XML file a blog, or a folder of them. A sentence without any emotion is neutral.

    Format after Quan and Ren, "A blog emotion corpus for emotional expression analysis in Chinese" (2010):
    `sentence` elements with an attribute `S` (the text) and a child per emotion holding its intensity.
    """
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    if not files:
        raise DataError(path, "holds no .xml file")
    for file in files:
        text = re.sub(r"^<\?xml[^>]*\?>", "", read_text(file, columns.encoding))
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise DataError(file, f"is not XML: {error}", line=error.position[0]) from error
        for number, sentence in enumerate(root.iter("sentence"), start=1):
            yield Record(number, sentence.get("S", ""), _emotions(file, sentence, number) or ("neutral",))


def _emotions(path: Path, sentence: ElementTree.Element, number: int) -> tuple[str, ...]:
    present = []
    for child in sentence:
        name = child.tag.lower()
        if name in REN_CECPS_EMOTIONS:
            try:
                intensity = float((child.text or "0").strip() or 0)
            except ValueError as error:
                raise DataError(path, f"intensity of {name} is no number", line=number) from error
            if intensity > 0:
                present.append(name)
    return tuple(present)


def _from_object(path: Path, row: Any, columns: Columns, line: int) -> Record:
    if not isinstance(row, dict):
        raise DataError(path, "is not an object", line=line)
    for column in (columns.text, columns.labels[0]):
        if column not in row:
            raise DataError(path, f"lacks the field {column}", line=line)
    return Record(line, str(row[columns.text]), _labels(row, columns))


def _labels(row: Mapping[str, Any], columns: Columns) -> tuple[str, ...]:
    return tuple(str(row[name]).strip() for name in columns.labels if row.get(name) not in (None, ""))


def _require(path: Path, columns: Columns, present: Iterable[str]) -> None:
    missing = [name for name in (columns.text, *columns.labels) if name not in present]
    if missing:
        raise DataError(path, f"lacks the columns {', '.join(missing)}; it has {', '.join(present)}")


Format = Literal["table", "ocemotion", "smp2020", "ren-cecps"]


def reader(format_: Format, path: Path) -> Callable[[Path, Columns], Iterator[Record]]:
    """`table` goes by the file's ending: .csv .tsv .jsonl .parquet."""
    if format_ != "table":
        return {"ocemotion": ocemotion, "smp2020": smp2020, "ren-cecps": ren_cecps}[format_]
    by_ending = {".csv": delimited, ".tsv": delimited, ".jsonl": json_lines, ".parquet": parquet}
    if path.suffix not in by_ending:
        raise DataError(path, f"ending {path.suffix!r} is none of {', '.join(by_ending)}")
    return by_ending[path.suffix]


def to_rows(
    records: Iterable[Record], path: Path, source: str, key: str, task: Task, mapping: Mapping[str, str]
) -> Rows:
    """Rows of one task, exact repeats and empty texts dropped (the first of a repeated text stays).

    Raises DataError for a label the mapping does not know, for a file of one class, and for one without rows.
    """
    texts: dict[str, Array] = {}
    labels_seen: set[str] = set()
    for record in records:
        strange = [label for label in record.labels if label not in mapping]
        if strange or not record.labels:
            problem = f"unknown label {strange[0]!r}" if strange else "no label"
            raise DataError(path, f"{problem}; known: {', '.join(mapping)}", line=record.line)
        present = [mapping[label] for label in record.labels]
        labels_seen.update(present)
        text = record.text.strip()
        if text and text not in texts:
            texts[text] = target(task, present, mapping.values())
    if not texts:
        raise DataError(path, "holds no row with a text")
    if len(labels_seen) < 2:
        raise DataError(
            path, f"all rows carry one label, {labels_seen.pop()}: nothing to learn or to measure"
        )
    return Rows(list(texts), [source] * len(texts), {key: np.stack(list(texts.values()))})
