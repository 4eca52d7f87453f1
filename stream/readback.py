"""Kafka and Redis as they stand, read from the beginning; writes nothing and joins no consumer group."""

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from stream.connections import connect_redis, kafka_options
from stream.events import Event, loads
from stream.keys import Keys, PartitionKeys, literal
from stream.settings import Settings

_PAGE = 5_000


class Readback:
    """What the comment topic and the keys of its partitions hold. Raises the errors of the clients."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis: Any = connect_redis(settings)
        self._consumer = AIOKafkaConsumer(**kafka_options(settings), isolation_level="read_committed")
        self._admin = AIOKafkaAdminClient(**kafka_options(settings))

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._admin.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()
        await self._admin.close()
        await self._redis.aclose()

    async def committed(self, partition: int) -> int:
        """The consumer group's committed offset; -1 where there is none."""
        tp = TopicPartition(self._settings.comments_topic, partition)
        answer = await self._admin.list_consumer_group_offsets(self._settings.group, partitions=[tp])
        return int(answer[tp].offset)

    def records(self, partition: int) -> AsyncIterator[ConsumerRecord]:
        """Every comment of a partition."""
        return self._records(TopicPartition(self._settings.comments_topic, partition))

    async def rejected(self, partitions: int) -> dict[int, set[int]]:
        """Partition → offsets of comments that have a dead letter; `partitions` counts those of dead letters."""
        offsets: dict[int, set[int]] = {}
        for number in range(partitions):
            async for letter in self._records(TopicPartition(self._settings.rejected_topic, number)):
                topic, partition, offset = letter.key.decode().rsplit(":", 2)
                if topic == self._settings.comments_topic:
                    offsets.setdefault(int(partition), set()).add(int(offset))
        return offsets

    async def fence(self, partition: int) -> int:
        """The first offset not yet settled; 0 where there is no fence."""
        return int(await self._redis.hget(self._keys(partition).fence, "next") or 0)

    async def events(self, partition: int) -> AsyncIterator[tuple[int, Event]]:
        """Yield the offset that an entry stands under, and its event."""
        after = "-"
        while page := await self._redis.xrange(self._keys(partition).events, min=after, count=_PAGE):
            for entry, fields in page:
                yield int(_text(entry).partition("-")[0]), loads(fields[b"event"])
            after = f"({_text(page[-1][0])}"

    async def buckets(self, partition: int, expected: Iterable[str]) -> dict[str, dict[str, int]]:
        """The fields of every bucket there is, and of those `expected`: empty where they are not there."""
        keys = self._keys(partition)
        found = set(expected)
        for letter in "mh":
            async for key in self._redis.scan_iter(match=f"{literal(keys.root)}{letter}:*", count=_PAGE):
                found.add(_text(key).removeprefix(keys.root))
        held, suffixes = {}, sorted(found)
        for first in range(0, len(suffixes), _PAGE):
            some = suffixes[first : first + _PAGE]
            pipe = self._redis.pipeline(transaction=False)
            for suffix in some:
                pipe.hgetall(keys.bucket(suffix))
            for suffix, fields in zip(some, await pipe.execute(), strict=True):
                held[suffix] = {_text(name): int(amount) for name, amount in fields.items()}
        return held

    def _keys(self, partition: int) -> PartitionKeys:
        return Keys(self._settings.redis_prefix).partition(self._settings.comments_topic, partition)

    async def _records(self, tp: TopicPartition) -> AsyncIterator[ConsumerRecord]:
        """Yield every record of a partition, up to where the log ends now."""
        end = (await self._consumer.end_offsets([tp]))[tp]
        self._consumer.assign([tp])
        await self._consumer.seek_to_beginning(tp)
        while await self._consumer.position(tp) < end:
            for record in (await self._consumer.getmany(tp, timeout_ms=1000)).get(tp, ()):
                if record.offset < end:
                    yield record


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
