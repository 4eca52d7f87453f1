"""Counts Kafka again and compares Redis with it: one effect per offset, every bucket equal to a recount.

It reads both from the beginning and writes nothing. What trimming and expiry have taken cannot be checked; it
says how much that is.
"""

from dataclasses import asdict, dataclass
from typing import Any

from aiokafka.errors import KafkaError

from stream import topics
from stream.connections import REDIS_ERRORS
from stream.errors import ConfigurationError, Unavailable
from stream.readback import Readback
from stream.recount import PartitionAudit, Recount
from stream.settings import Settings
from stream.sink import unavailable

_ATTEMPTS = 3  # while workers go on settling


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
    counts = await topics.partitions(settings)
    if settings.comments_topic not in counts:
        raise ConfigurationError(f"Kafka has no topic {settings.comments_topic}")
    try:
        async with Readback(settings) as held:
            rejected = await held.rejected(counts.get(settings.rejected_topic, 0))
            return Audit(
                [
                    await _audit_partition(settings, held, number, rejected.get(number, set()))
                    for number in range(counts[settings.comments_topic])
                ]
            )
    except KafkaError as error:
        raise Unavailable("Kafka", f"{type(error).__name__}: {error}") from error
    except REDIS_ERRORS as error:
        raise unavailable(error) from error


async def _audit_partition(
    settings: Settings, held: Readback, number: int, rejected: set[int]
) -> PartitionAudit:
    for attempt in range(_ATTEMPTS):
        fence = await held.fence(number)
        found = PartitionAudit(number)
        committed = await held.committed(number)
        if committed > fence:
            found.differ(f"committed offset {committed} is ahead of the fence {fence}")
        events = {}
        async for offset, event in held.events(number):
            if event["source"]["offset"] != offset:
                found.differ(f"entry {offset}: holds the event of offset {event['source']['offset']}")
            events[offset] = event
        recount = Recount(settings, found, oldest_kept=min(events, default=fence))
        async for record in held.records(number):
            if record.offset >= fence:
                found.waiting += 1
                continue
            recount.add(record, events.pop(record.offset, None), record.offset in rejected)
        for offset in events:
            found.differ(f"offset {offset}: an event without a record in Kafka")
        recount.compare(await held.buckets(number, recount.buckets))
        if attempt == _ATTEMPTS - 1 or await held.fence(number) == fence:
            return found
    raise AssertionError("unreachable")
