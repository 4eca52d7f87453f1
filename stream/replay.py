"""Replays rows of a file into the comment topic, as fast, as slow or as now as asked.

It sends nothing that the pipeline would reject: such a row is counted and named, and the others go on.
"""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream import connections, topics, tracing
from stream.comments import Rejected, decode
from stream.errors import Unavailable
from stream.rows import BadRow, Row
from stream.settings import Settings

NAMED = 20
_IN_FLIGHT = 2000
_SHORTEST_SLEEP_S = 0.005
_FIRST_MILLISECONDS = 100_000_000_000  # as seconds the year 5138, as milliseconds 1973


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what. Without an id a row gets one of its number and content, always the same."""

    community: str = "community"
    text: str = "text"
    time: str = "created_at"
    author: str = "author"
    id: str = "id"


@dataclass(frozen=True, slots=True)
class Pace:
    """`rate` comments a second, or the file's own time `speed` times as fast, or, with neither, at once.

    With `restamp` a comment's time is the moment it is sent.
    """

    rate: float | None = None
    speed: float | None = None
    restamp: bool = False

    def due_s(self, sent: int, since_first_s: float) -> float:
        """Seconds after the start at which the next comment is due."""
        if self.rate:
            return sent / self.rate
        return since_first_s / self.speed if self.speed else 0.0


@dataclass(slots=True)
class Summary:
    """What became of the rows; the first bad ones by number (from 1) and reason."""

    sent: int = 0
    bad: int = 0
    named: list[tuple[int, str]] = field(default_factory=list)

    def count_bad(self, number: int, why: BadRow | Rejected) -> None:
        self.bad += 1
        if len(self.named) < NAMED:
            self.named.append((number, str(why)))


async def replay_rows(
    settings: Settings, rows: Iterable[Row | BadRow], columns: Columns, pace: Pace, zone: tzinfo = UTC
) -> Summary:
    """Send the rows as comments, keyed by community; times without a zone are in `zone`.

    Raises ConfigurationError where the topic is missing, Unavailable where Kafka does not take a comment.
    """
    await topics.check(settings)
    summary = Summary()
    unconfirmed: list[asyncio.Future[Any]] = []
    options = connections.kafka_options(settings)
    try:
        async with AIOKafkaProducer(**options, linger_ms=5, enable_idempotence=True) as producer:
            with tracing.sending(settings.comments_topic):
                headers = tracing.record_headers()
            started, first_ms = time.monotonic(), None
            for comment in _valid(rows, columns, pace, zone, settings.record_bytes, summary):
                first_ms = comment["created_at"] if first_ms is None else first_ms
                await _sleep_until(
                    started + pace.due_s(summary.sent, (comment["created_at"] - first_ms) / 1000)
                )
                if pace.restamp:
                    comment["created_at"] = _now_ms()
                value, key = orjson.dumps(comment), comment["community"].encode()
                unconfirmed.append(
                    await producer.send(settings.comments_topic, value=value, key=key, headers=headers)
                )
                summary.sent += 1
                if len(unconfirmed) == _IN_FLIGHT:
                    await asyncio.gather(*unconfirmed)
                    unconfirmed.clear()
            await asyncio.gather(*unconfirmed)
    except (KafkaError, OSError) as error:
        raise Unavailable("Kafka", f"{type(error).__name__}: {error}") from error
    return summary


def _valid(
    rows: Iterable[Row | BadRow],
    columns: Columns,
    pace: Pace,
    zone: tzinfo,
    max_bytes: int,
    summary: Summary,
) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, start=1):
        try:
            comment = to_comment(number, row, columns, zone)
            if pace.restamp and comment["created_at"] is None:
                comment["created_at"] = _now_ms()
            decode(orjson.dumps(comment), now_ms=_now_ms(), max_bytes=max_bytes)
        except (BadRow, Rejected) as error:
            summary.count_bad(number, error)
        else:
            yield comment


def to_comment(number: int, row: Row | BadRow, columns: Columns, zone: tzinfo) -> dict[str, Any]:
    """The comment topic's JSON object for a row; `created_at` is None where there is none. Raises BadRow."""
    if isinstance(row, BadRow):
        raise row
    community = row.get(columns.community)
    if isinstance(community, list):
        community = community[0] if community else None
    text, author, own_id = row.get(columns.text), row.get(columns.author), row.get(columns.id)
    for name, value in ((columns.community, community), (columns.text, text)):
        if value in (None, ""):
            raise BadRow(f"nothing in column {name}")
    created_at = _moment(row.get(columns.time), zone)
    comment = {
        "community": str(community),
        "text": text,
        "author": None if author is None else str(author),
        "created_at": None if created_at is None else round(created_at.timestamp() * 1000),
        **{name: row[name] for name in ("post_id", "reply_to", "lang") if row.get(name)},
    }
    try:
        content = orjson.dumps([number, comment])
    except TypeError as error:
        raise BadRow(f"not to be written as JSON: {error}") from None
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return {"id": str(own_id) if own_id not in (None, "") else digest, **comment}


def _moment(value: Any, zone: tzinfo) -> datetime | None:
    """A time as files have it: a datetime or date, ISO 8601, or epoch seconds or milliseconds."""
    if value in (None, ""):
        return None
    try:
        if isinstance(value, str) and not value.isdigit():
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=zone)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=zone)
        seconds = float(value)
        return datetime.fromtimestamp(seconds / 1000 if seconds >= _FIRST_MILLISECONDS else seconds, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        raise BadRow("its time is none") from None


async def _sleep_until(due: float) -> None:
    delay = due - time.monotonic()
    if delay > _SHORTEST_SLEEP_S:
        await asyncio.sleep(delay)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
