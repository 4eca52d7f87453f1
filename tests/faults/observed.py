"""What is in Kafka and Redis after a run, read the plain way: no import from the product."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from redis.asyncio import Redis as RedisClient

_READ_AT_ONCE = 2000


@dataclass(frozen=True)
class Names:
    """Where a run's data is."""

    topic: str
    rejected: str
    group: str
    partitions: int
    prefix: str = "fp"

    def root(self, partition: int) -> str:
        """What the keys of a partition begin with."""
        return f"{self.prefix}:{{{self.topic}:{partition}}}:"


@dataclass(frozen=True)
class Partition:
    """One partition of the comment topic and all that Redis holds of it; `letters` are its dead letters, the
    latest of each offset."""

    number: int
    records: Mapping[int, ConsumerRecord]
    end: int
    committed: int | None
    fence: int
    events: Sequence[tuple[str, bytes]]  # entry ID and JSON, as the stream has them
    buckets: Mapping[str, Mapping[str, int]]
    sketches: Mapping[str, int]  # HyperLogLog → what it estimates
    letters: Mapping[int, ConsumerRecord]

    def settled_by_then(self) -> "Partition":
        """As it was when the log ended at the fence: for a Redis of an earlier time than Kafka."""
        return replace(
            self,
            records={offset: record for offset, record in self.records.items() if offset < self.fence},
            letters={offset: letter for offset, letter in self.letters.items() if offset < self.fence},
            end=self.fence,
            committed=None,
        )


async def observe(
    redis: RedisClient, bootstrap: str, names: Names, number: int, letters: Mapping[str, ConsumerRecord]
) -> Partition:
    """Read one partition; `letters` as `dead_letters` gives them."""
    records, end, committed = await _log(bootstrap, names, number)
    root = names.root(number)
    source = f"{names.topic}:{number}:"
    hashes, sketches = {}, {}
    suffixes = [
        key.decode().removeprefix(root)
        async for key in redis.scan_iter(match=f"{_literal(root)}*", count=_READ_AT_ONCE)
    ]
    commands = {"m": "HGETALL", "h": "HGETALL", "am": "PFCOUNT", "a": "PFCOUNT"}
    asked = [suffix for suffix in suffixes if suffix.partition(":")[0] in commands]
    for first in range(0, len(asked), _READ_AT_ONCE):
        some = asked[first : first + _READ_AT_ONCE]
        pipe = redis.pipeline(transaction=False)
        for suffix in some:
            pipe.execute_command(commands[suffix.partition(":")[0]], root + suffix)
        for suffix, answer in zip(some, await pipe.execute(), strict=True):
            if isinstance(answer, int):
                sketches[suffix] = answer
            else:
                hashes[suffix] = {name.decode(): int(amount) for name, amount in answer.items()}
    return Partition(
        number=number,
        records=records,
        end=end,
        committed=committed,
        fence=int(await redis.hget(root + "fence", "next") or 0),
        events=await _entries(redis, root + "events"),
        buckets=hashes,
        sketches=sketches,
        letters={
            int(key.removeprefix(source)): letter for key, letter in letters.items() if key.startswith(source)
        },
    )


async def dead_letters(bootstrap: str, names: Names) -> dict[str, ConsumerRecord]:
    """Key → the latest dead letter with it, which is the one that compaction keeps."""
    letters: dict[str, ConsumerRecord] = {}
    for number in range(names.partitions):
        records, _, _ = await _read(bootstrap, TopicPartition(names.rejected, number), group=None)
        letters |= {record.key.decode(): record for record in records}
    return letters


async def _log(
    bootstrap: str, names: Names, number: int
) -> tuple[dict[int, ConsumerRecord], int, int | None]:
    records, end, committed = await _read(bootstrap, TopicPartition(names.topic, number), names.group)
    return {record.offset: record for record in records}, end, committed


async def _read(
    bootstrap: str, tp: TopicPartition, group: str | None
) -> tuple[list[ConsumerRecord], int, int | None]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        await consumer.seek_to_beginning(tp)
        records: list[ConsumerRecord] = []
        while await consumer.position(tp) < end:
            for run in (await consumer.getmany(tp, timeout_ms=1000)).values():
                records += run
        return records, end, await consumer.committed(tp) if group else None
    finally:
        await consumer.stop()


async def _entries(redis: RedisClient, key: str) -> list[tuple[str, bytes]]:
    entries: list[tuple[str, bytes]] = []
    since = "-"
    while found := await redis.xrange(key, min=since, max="+", count=_READ_AT_ONCE):
        entries += [(entry.decode(), fields[b"event"]) for entry, fields in found]
        since = f"({entries[-1][0]}"
    return entries


def _literal(text: str) -> str:
    """`text` for a glob that is to match it as it stands."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)
