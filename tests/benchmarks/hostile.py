"""Records made to be slow to read, and how long the slowest takes: milliseconds of CPU a kilobyte."""

import contextlib
import time
from collections.abc import Iterator
from random import Random

import orjson

from stream.comments import MAX_TEXT_CHARACTERS, Rejected, decode

NOW_MS = 1_795_262_400_000
PIECES = {
    "a plain comment": "今天的舞台太好看了,",
    "URLs": "http://a.b/c ",
    "URLs without an end": "www.!",
    "schemes alone": "http://",
    "mentions": "a@b",
    "mention signs": "@",
    "joiners": "😀\u200d",
    "invisible characters": "\u200b",
    "marks in the wrong order": "\u0301\u0327\u0334",
    "marks that come apart": "\u0f73",
    "syllables to compose": "\u1100\u1161\u11a8",
    "spaces": " \u3000",
}


def records(fuzzed: int = 2000) -> Iterator[tuple[str, bytes]]:
    """(what it is, the record): every piece at full length, and valid records with bytes changed."""
    for name, piece in PIECES.items():
        yield name, _record((piece * MAX_TEXT_CHARACTERS)[:MAX_TEXT_CHARACTERS])
    yield "brackets", b"[" * 260_000
    yield "long numbers", b"9" * 260_000
    yield "escapes", b'{"text": "' + rb"\u0041" * 40_000 + b'"}'
    rng = Random(1)
    for _ in range(fuzzed):
        content = bytearray(_record("".join(rng.choices("怒乐@ http://www.\u0301a", k=2000))))
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        yield "bytes changed", bytes(content)


def slowest() -> dict[str, float]:
    """What it is → the most milliseconds a kilobyte that such a record took, the best of three each."""
    worst: dict[str, float] = {}
    for name, record in records():
        took = min(_seconds(record) for _ in range(3)) * 1000 / (len(record) / 1000)
        worst[name] = max(worst.get(name, 0.0), took)
    return worst


def _record(text: str) -> bytes:
    return orjson.dumps({"id": "a", "community": "b", "text": text, "created_at": NOW_MS})


def _seconds(record: bytes) -> float:
    started = time.thread_time()
    with contextlib.suppress(Rejected):
        decode(record, now_ms=NOW_MS)
    return time.thread_time() - started
