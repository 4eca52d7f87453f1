"""Dead letters: what cannot be processed goes to the rejected topic, bytes untouched, with the reason why."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from stream import metrics
from stream.comments import Reason
from stream.errors import Unavailable

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record and why it was rejected.

    Not the exception itself: its traceback would keep the whole batch until the garbage collector comes.
    """

    record: ConsumerRecord
    reason: Reason
    detail: str
    community: str


class Rejects:
    """Sends dead letters. The topic is compacted and the key names the offset: a repeat replaces itself."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Return once the brokers have all of `letters`; one too large for them goes without its value.

        Raises Unavailable.
        """
        try:
            await asyncio.gather(*map(self._send_one, letters))
        except (KafkaError, OSError) as error:
            raise Unavailable("Kafka", f"dead letters: {type(error).__name__}: {error}") from error
        for letter in letters:
            metrics.REJECTED.labels(letter.reason.value).inc()

    async def _send_one(self, letter: DeadLetter) -> None:
        record, headers = letter.record, _headers(letter)
        original = [(f"original.{name}", value) for name, value in record.headers]
        value = record.value or b""  # a null value would be a tombstone: compaction would delete the letter
        try:
            await self._produce(letter, value, headers + original)
        except MessageSizeTooLargeError:
            # The record filled the largest message that brokers take, and a letter says more than its record.
            await self._produce(letter, b"", [*headers, ("stripped", f"{len(value)} bytes".encode())])

    async def _produce(self, letter: DeadLetter, value: bytes, headers: Headers) -> None:
        # No timestamp but now: the record's own may be out of the bounds that this topic sets.
        await self._producer.send_and_wait(self._topic, value, key=_source(letter.record), headers=headers)


def _headers(letter: DeadLetter) -> Headers:
    record = letter.record
    return [
        ("reason", letter.reason.value.encode()),
        ("exception", letter.detail.encode(errors="backslashreplace")),
        ("source.topic", record.topic.encode()),
        ("source.partition", str(record.partition).encode()),
        ("source.offset", str(record.offset).encode()),
        ("source.timestamp", str(record.timestamp).encode()),
    ]


def _source(record: ConsumerRecord) -> bytes:
    return f"{record.topic}:{record.partition}:{record.offset}".encode()
