"""Counts Kafka again and compares Redis with it: one effect per offset, every bucket equal to a recount.

It reads both from the beginning and writes nothing. What trimming and expiry have taken cannot be checked; it
says how much that is.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from stream import topics
from stream.buckets import Increments, settlement
from stream.comments import Comment, Rejected, decode
from stream.connections import REDIS_ERRORS, connect_redis, kafka_options
from stream.errors import ConfigurationError, Unavailable
from stream.events import Event, dumps, loads
from stream.keys import Keys, PartitionKeys
from stream.settings import Settings
from stream.sink import unavailable

_PAGE = 5_000
_NAMED = 20  # differences spelled out per partition
_ATTEMPTS = 3  # while workers go on settling


@dataclass(slots=True)
class PartitionAudit:
    """What was found of one partition; all numbers count offsets, but for `buckets`."""

    partition: int
    records: int = 0  # in Kafka, below the fence
    events: int = 0
    rejected: int = 0
    trimmed: int = 0  # settled, and no longer kept as events
    waiting: int = 0  # at or above the fence
    buckets: int = 0  # equal to their recount
    unchecked_buckets: int = 0  # trimmed events went into them, or they have expired
    differences: int = 0
    named: list[str] = field(default_factory=list)

    def differ(self, what: str) -> None:
        self.differences += 1
        if len(self.named) < _NAMED:
            self.named.append(what)


@dataclass(frozen=True, slots=True)
class Audit:
    """The verdict over all partitions."""

    partitions: list[PartitionAudit]

    @property
    def holds(self) -> bool:
        return not any(partition.differences for partition in self.partitions)

    def as_dict(self) -> dict[str, Any]:
        return {"holds": self.holds, "partitions": [asdict(partition) for partition in self.partitions]}


async def audit(settings: Settings) -> Audit:
    """Audit every partition of the comment topic.

    Raises Unavailable, or ConfigurationError where there is no such topic.
    """
    redis: Any = connect_redis(settings)
    consumer = AIOKafkaConsumer(
        **kafka_options(settings),
        group_id=settings.group,
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    try:
        counts = await topics.partitions(settings)
        if settings.comments_topic not in counts:
            raise ConfigurationError(f"Kafka has no topic {settings.comments_topic}")
        await consumer.start()
        rejected = await _rejected_offsets(consumer, settings, counts.get(settings.rejected_topic, 0))
        return Audit(
            [
                await _audit_partition(settings, consumer, redis, number, rejected)
                for number in range(counts[settings.comments_topic])
            ]
        )
    except KafkaError as error:
        raise Unavailable("Kafka", f"{type(error).__name__}: {error}") from error
    except REDIS_ERRORS as error:
        raise unavailable(error) from error
    finally:
        await consumer.stop()
        await redis.aclose()


async def _audit_partition(
    settings: Settings,
    consumer: AIOKafkaConsumer,
    redis: Any,
    number: int,
    rejected: dict[int, set[int]],
) -> PartitionAudit:
    keys = Keys(settings.redis_prefix).partition(settings.comments_topic, number)
    tp = TopicPartition(settings.comments_topic, number)
    for attempt in range(_ATTEMPTS):
        fence = await _fence(redis, keys)
        found = PartitionAudit(number)
        committed = await consumer.committed(tp)
        if committed is not None and committed > fence:
            found.differ(f"committed offset {committed} is ahead of the fence {fence}")
        events = {offset: event async for offset, event in _events(redis, keys, found)}
        oldest_kept = min(events, default=fence)
        recount = _Recount(settings, found, oldest_kept)
        async for record in _records(consumer, tp):
            if record.offset >= fence:
                found.waiting += 1
                continue
            recount.add(record, events.pop(record.offset, None), record.offset in rejected.get(number, ()))
        for offset in events:
            found.differ(f"offset {offset}: an event without a record in Kafka")
        await _compare_buckets(redis, keys, recount, found)
        if attempt == _ATTEMPTS - 1 or await _fence(redis, keys) == fence:
            return found
    raise AssertionError("unreachable")


class _Recount:
    """Adds up what the records of one partition should have done."""

    def __init__(self, settings: Settings, found: PartitionAudit, oldest_kept: int) -> None:
        self._settings = settings
        self._found = found
        self._oldest_kept = oldest_kept
        self._now_ms = int(time.time() * 1000)
        self.increments: Increments = {}
        self.last_written_s: dict[str, float] = {}
        self.uncheckable: set[str] = set()

    def add(self, record: ConsumerRecord, event: Event | None, was_rejected: bool) -> None:
        found = self._found
        found.records += 1
        if event is not None and was_rejected:
            found.differ(f"offset {record.offset}: both an event and rejected")
        elif event is not None:
            found.events += 1
            self._count(settlement(0, 1, [(event, dumps(event))]).increments, event["scored_at"].timestamp())
        elif was_rejected:
            found.rejected += 1
            rejection = (self._read(record).community, record.timestamp)
            self._count(settlement(0, 1, [], [rejection]).increments, record.timestamp / 1000)
        elif record.offset < self._oldest_kept:
            found.trimmed += 1
            self.uncheckable |= self._touched(self._read(record))
        else:
            found.differ(f"offset {record.offset}: neither an event nor rejected")

    def _count(self, increments: Increments, written_s: float) -> None:
        for suffix, fields in increments.items():
            total = self.increments.setdefault(suffix, {})
            for name, amount in fields.items():
                total[name] = total.get(name, 0) + amount
            self.last_written_s[suffix] = max(self.last_written_s.get(suffix, 0.0), written_s)

    def _read(self, record: ConsumerRecord) -> Comment | Rejected:
        try:
            return decode(
                record.value,
                now_ms=self._now_ms,
                default_lang=self._settings.default_lang,
                max_bytes=self._settings.record_bytes,
            )
        except Rejected as rejected:
            return rejected

    def _touched(self, comment: Comment | Rejected) -> set[str]:
        if isinstance(comment, Rejected):
            return set()
        second = comment.created_at_ms // 1000
        return {
            f"m:{second // 60 * 60}:{comment.community}",
            f"h:{second // 3600 * 3600}:{comment.community}",
        }


async def _compare_buckets(redis: Any, keys: PartitionKeys, recount: _Recount, found: PartitionAudit) -> None:
    actual = {}
    for suffix in {*recount.increments, *await _bucket_suffixes(redis, keys)}:
        fields = await redis.hgetall(keys.bucket(suffix))
        actual[suffix] = {_text(name): int(amount) for name, amount in fields.items()}
    settings = recount._settings
    for suffix, fields in sorted(actual.items()):
        expected = recount.increments.get(suffix, {})
        life_s = settings.minutes_kept_s if suffix.startswith("m:") else settings.hours_kept_s
        expired = not fields and time.time() - recount.last_written_s.get(suffix, 0.0) >= life_s
        if suffix in recount.uncheckable or expired:
            found.unchecked_buckets += 1
        elif fields == expected:
            found.buckets += 1
        else:
            wrong = sorted(name for name in {*fields, *expected} if fields.get(name) != expected.get(name))
            name = wrong[0]
            found.differ(
                f"bucket {suffix}: {name} is {fields.get(name, 0)}, a recount gives {expected.get(name, 0)}"
            )


async def _bucket_suffixes(redis: Any, keys: PartitionKeys) -> set[str]:
    suffixes = set()
    for letter in "mh":
        async for key in redis.scan_iter(match=f"{_literal(keys.root)}{letter}:*", count=_PAGE):
            suffixes.add(_text(key).removeprefix(keys.root))
    return suffixes


async def _fence(redis: Any, keys: PartitionKeys) -> int:
    return int(await redis.hget(keys.fence, "next") or 0)


async def _events(redis: Any, keys: PartitionKeys, found: PartitionAudit) -> AsyncIterator[tuple[int, Event]]:
    """Yield (offset, event) of every entry kept."""
    after = "-"
    while page := await redis.xrange(keys.events, min=after, count=_PAGE):
        for entry, fields in page:
            offset = int(_text(entry).partition("-")[0])
            event = loads(fields[b"event"])
            if event["source"]["offset"] != offset:
                found.differ(f"entry {_text(entry)}: holds the event of offset {event['source']['offset']}")
            yield offset, event
        after = f"({_text(page[-1][0])}"


async def _rejected_offsets(
    consumer: AIOKafkaConsumer, settings: Settings, partitions: int
) -> dict[int, set[int]]:
    """Partition → offsets that have a dead letter."""
    offsets: dict[int, set[int]] = {}
    for number in range(partitions):
        async for letter in _records(consumer, TopicPartition(settings.rejected_topic, number)):
            topic, partition, offset = letter.key.decode().rsplit(":", 2)
            if topic == settings.comments_topic:
                offsets.setdefault(int(partition), set()).add(int(offset))
    return offsets


async def _records(consumer: AIOKafkaConsumer, tp: TopicPartition) -> AsyncIterator[ConsumerRecord]:
    """Yield every record of a partition, up to where the log ends now."""
    end = (await consumer.end_offsets([tp]))[tp]
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    while await consumer.position(tp) < end:
        for record in (await consumer.getmany(tp, timeout_ms=1000)).get(tp, ()):
            if record.offset < end:
                yield record


def _literal(pattern: str) -> str:
    """Escape what Redis' MATCH would take for a wildcard."""
    return "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in pattern)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
