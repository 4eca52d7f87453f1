"""The usual Faust idiom, to compare: noack_take(256), one redis-py pipeline per batch, Faust's commits.

usage: python -m tests.benchmarks.stock BROKER TOPIC GROUP REDIS_URL each|summed

`each` increments the buckets comment by comment, as one writes it; `summed` borrows fanpulse's sums over the batch.
"""

import sys
import tempfile
import time
from datetime import UTC, datetime
from typing import Any

import faust
from redis.asyncio import Redis

from stream.buckets import MILLIONTHS, settlement
from stream.comments import Rejected, decode
from stream.events import Event, dumps, enrich
from tests.benchmarks.instant import MODEL, SCORES

broker, topic_name, group, redis_url, increments = sys.argv[1:6]
sys.argv[1:] = ["worker", "-l", "warn", "--without-web"]

app = faust.App(
    group,
    broker=f"kafka://{broker}",
    store="memory://",
    datadir=tempfile.mkdtemp(),
    topic_allow_declare=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    stream_buffer_maxsize=16_384,
    broker_max_poll_records=4096,
)
topic = app.topic(topic_name, value_serializer="raw", key_serializer="raw")
redis = Redis.from_url(redis_url, protocol=3)


def add_each(pipe: Any, enriched: list[tuple[Event, bytes]]) -> None:
    for event, _ in enriched:
        second = int(event["created_at"].timestamp())
        for bucket in (
            f"m:{second // 60 * 60}:{event['community']}",
            f"h:{second // 3600 * 3600}:{event['community']}",
        ):
            key = f"stock:{bucket}"
            pipe.hincrby(key, "n", 1)
            pipe.hincrby(key, "neg", int(event["negative"]))
            pipe.hincrby(key, "negativity", round(event["negativity"] * MILLIONTHS))
            for label in event["labels"]:
                pipe.hincrby(key, f"l:{label}", 1)
            for label, score in event["scores"].items():
                pipe.hincrby(key, f"s:{label}", round(score * MILLIONTHS))
            pipe.pfadd(f"stock:authors:{bucket}", event["author"])


def add_summed(pipe: Any, enriched: list[tuple[Event, bytes]]) -> None:
    effects = settlement(0, 1, enriched)
    for suffix, fields in effects.increments.items():
        for name, amount in fields.items():
            pipe.hincrby(f"stock:{suffix}", name, amount)
    for suffix, authors in effects.authors.items():
        pipe.pfadd(f"stock:authors:{suffix}", *authors)


@app.agent(topic)
async def score_comments(comments):
    """Comments → scores → one pipeline of the same writes that a settle makes."""
    async for events in comments.noack_take(256, within=0.1):
        pipe = redis.pipeline(transaction=False)
        enriched = []
        for event in events:
            message = event.message
            try:
                comment = decode(event.value, now_ms=int(time.time() * 1000))
            except Rejected:
                continue
            source = (message.topic, message.partition, message.offset)
            one = enrich(comment, SCORES, MODEL, source, scored_at=datetime.now(UTC), pseudonym_key=b"k" * 16)
            enriched.append((one, dumps(one)))
        for event, content in enriched:
            pipe.xadd(f"stock:{event['source']['offset'] % 4}:events", {"event": content}, maxlen=100_000)
        (add_summed if increments == "summed" else add_each)(pipe, enriched)
        pipe.incrby("stock:done", len(events))
        await pipe.execute()
        for one in events:
            one.ack()


if __name__ == "__main__":
    app.main()
