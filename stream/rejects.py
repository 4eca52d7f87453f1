"""Dead letters: what cannot be processed goes to the rejected topic, bytes untouched, with the reason why."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from stream import metrics
from stream.comments import Rejected
from stream.errors import Unavailable


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record and why it was rejected."""

    record: ConsumerRecord
    rejected: Rejected


class Rejects:
    """Sends dead letters. The topic is compacted and the key names the offset: a repeat replaces itself."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Return once the brokers have all of `letters`. Raises Unavailable."""
        try:
            waiting = [await self._send_one(letter) for letter in letters]
            for delivery in waiting:
                await delivery
        except (KafkaError, OSError) as error:
            raise Unavailable("Kafka", f"dead letters: {type(error).__name__}: {error}") from error
        for letter in letters:
            metrics.REJECTED.labels(letter.rejected.reason.value).inc()

    async def _send_one(self, letter: DeadLetter) -> Awaitable[object]:
        record, rejected = letter.record, letter.rejected
        source = f"{record.topic}:{record.partition}:{record.offset}"
        delivery: Awaitable[object] = await self._producer.send(
            self._topic,
            # A null value would be a tombstone: compaction would delete the letter.
            value=record.value if record.value is not None else b"",
            key=source.encode(),
            timestamp_ms=record.timestamp,
            headers=[
                ("reason", rejected.reason.value.encode()),
                ("exception", rejected.detail.encode(errors="backslashreplace")),
                ("source.topic", record.topic.encode()),
                ("source.partition", str(record.partition).encode()),
                ("source.offset", str(record.offset).encode()),
                *((f"original.{name}", value) for name, value in record.headers),
            ],
        )
        return delivery
