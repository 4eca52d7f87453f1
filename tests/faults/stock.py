"""The idiom of Faust's documentation under the same faults: take(256), a redis-py pipeline, Faust's acks.

Decoding, scoring and the shape of events and buckets are the product's own, so that what is lost and what is
counted twice comes from this way of reading and writing alone. Run as `python -m tests.faults.stock`.
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import faust
from aiokafka import AIOKafkaProducer

from stream import settings as settings_module
from stream.buckets import settlement
from stream.comments import Comment, Reason, Rejected, decode
from stream.connections import connect_redis, kafka_options
from stream.events import dumps, enrich
from stream.keys import Keys
from stream.rejects import DeadLetter, Rejects
from stream.scorer import Scorer

SETTINGS = settings_module.load()
KEYS = Keys(SETTINGS.redis_prefix)

app = faust.App(
    SETTINGS.group,
    broker=SETTINGS.kafka_url,
    broker_session_timeout=SETTINGS.kafka_session_timeout_s,
    broker_heartbeat_interval=SETTINGS.kafka_session_timeout_s / 5,
    consumer_auto_offset_reset="earliest",
    store="memory://",
    datadir=Path(mkdtemp()),
    topic_disable_leader=True,
    web_enabled=False,
)
comments_topic = app.topic(SETTINGS.comments_topic, value_serializer="raw", key_serializer="raw")
clients: dict[str, Any] = {}
connected = asyncio.Event()


@app.task
async def connect() -> None:
    scorer = Scorer(
        SETTINGS.triton_url.partition("://")[2],
        timeout_s=SETTINGS.triton_timeout_s,
        request_texts=SETTINGS.request_texts,
        requests_in_flight=SETTINGS.requests_in_flight,
        cached_texts=SETTINGS.cached_texts,
    )
    producer = AIOKafkaProducer(**kafka_options(SETTINGS), acks="all")
    await producer.start()
    clients["model"] = await scorer.load(SETTINGS.models["zh"])
    clients["rejects"] = Rejects(producer, SETTINGS.rejected_topic)
    clients["redis"] = connect_redis(SETTINGS)
    clients["scorer"] = scorer
    connected.set()


@app.agent(comments_topic)
async def score_comments(comments: Any) -> None:
    await connected.wait()
    async for events in comments.take_events(256, within=0.5):
        await write([event.message for event in events])


async def write(messages: list[Any]) -> None:
    """Score a batch of Kafka messages of any partitions and write its effects in one pipeline."""
    readable: list[tuple[Any, Comment]] = []
    letters: dict[int, list[DeadLetter]] = {}
    for message in messages:
        try:
            comment = decode(message.value, now_ms=int(time.time() * 1000))
            if comment.lang not in SETTINGS.models:
                raise Rejected(Reason.UNSUPPORTED_LANGUAGE, comment.lang, comment.community)
        except Rejected as rejected:
            record: Any = SimpleNamespace(
                topic=message.topic,
                partition=message.partition,
                offset=message.offset,
                value=message.value,
                timestamp=round(message.timestamp * 1000),
                headers=message.headers or (),
            )
            letters.setdefault(message.partition, []).append(
                DeadLetter(record, rejected.reason, rejected.detail, rejected.community)
            )
        else:
            readable.append((message, comment))
    model, redis = clients["model"], clients["redis"]
    scores = await clients["scorer"].score(model, [comment.text for _, comment in readable])
    pipeline = redis.pipeline()
    for partition in {message.partition for message in messages}:
        keys = KEYS.partition(SETTINGS.comments_topic, partition)
        made = [
            enrich(
                comment,
                one,
                model,
                (SETTINGS.comments_topic, partition, message.offset),
                scored_at=datetime.now(UTC),
                pseudonym_key=SETTINGS.pseudonym_key.get_secret_value().encode(),
            )
            for (message, comment), one in zip(readable, scores, strict=True)
            if message.partition == partition
        ]
        rejected = [(letter.community, letter.record.timestamp) for letter in letters.get(partition, [])]
        effects = settlement(0, 0, [(event, dumps(event)) for event in made], rejected)
        for _, event in effects.events:
            pipeline.xadd(keys.events, {"event": event})
        for suffix, fields in effects.increments.items():
            for name, amount in fields.items():
                pipeline.hincrby(keys.bucket(suffix), name, amount)
        for suffix, names in effects.authors.items():
            sketch = f"am{suffix[1:]}" if suffix.startswith("m") else f"a{suffix[1:]}"
            pipeline.pfadd(keys.bucket(sketch), *names)
        newest = max(message.offset for message in messages if message.partition == partition)
        pipeline.hset(
            keys.fence, "next", newest + 1
        )  # no fence here: a mark for the harness to see progress by
    await clients["rejects"].send([letter for group in letters.values() for letter in group])
    await pipeline.execute()


if __name__ == "__main__":
    app.finalize()
    worker = faust.Worker(app, loglevel="warning")
    worker.execute_from_commandline()
