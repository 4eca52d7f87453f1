"""The usual Faust idiom, to compare: noack_take(256), one redis-py pipeline per batch, Faust's commits.

usage: python -m tests.benchmarks.stock BROKER TOPIC GROUP REDIS_URL
"""

import sys
import tempfile
import time

import faust
from redis.asyncio import Redis

from stream.buckets import settlement
from stream.comments import Rejected, decode
from stream.events import dumps, enrich
from tests.benchmarks.instant import MODEL, SCORES

broker, topic_name, group, redis_url = sys.argv[1:5]
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


@app.agent(topic)
async def score_comments(comments):  # type: ignore[no-untyped-def]
    """Comments → scores → one pipeline of the same writes that a settle makes."""
    from datetime import UTC, datetime

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
        for offset, content in (effects := settlement(0, 1, enriched)).events:
            pipe.xadd(f"stock:{offset % 4}:events", {"event": content}, maxlen=100_000)
        for suffix, fields in effects.increments.items():
            for name, amount in fields.items():
                pipe.hincrby(f"stock:{suffix}", name, amount)
        for suffix, authors in effects.authors.items():
            pipe.pfadd(f"stock:authors:{suffix}", *authors)
        pipe.incrby("stock:done", len(events))
        await pipe.execute()
        for event in events:
            event.ack()


if __name__ == "__main__":
    app.main()
