"""What the benchmarks share: services of their own, a topic full of posts, processes and their progress."""

import asyncio
import os
import random
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis as RedisClient

from deploy.local import Kafka, Redis, Triton
from stream import topics
from stream.keys import Keys
from stream.settings import Settings
from stream.storyline import COMMUNITIES, storyline

POSTS = Path(__file__).parents[3] / "shared/data/weibo_stream.parquet"
PARTITIONS = 4


@dataclass
class Bench:
    """Running services."""

    kafka: Kafka
    redis: Redis
    triton: Triton | None
    client: RedisClient

    @classmethod
    @asynccontextmanager
    async def running(cls, *, triton: bool) -> AsyncIterator["Bench"]:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="fanpulse-bench-")))
            kafka = await stack.enter_async_context(Kafka(folder / "kafka"))
            redis = await stack.enter_async_context(Redis(folder / "redis"))
            server = await stack.enter_async_context(Triton(folder / "triton")) if triton else None
            client = await stack.enter_async_context(redis.connect())
            yield cls(kafka, redis, server, client)

    async def topic(self, values: Sequence[bytes]) -> str:
        """A new topic that holds `values`, spread over its partitions."""
        name = f"bench-{uuid4().hex[:6]}"
        settings = Settings(kafka_url=self.kafka.url, comments_topic=name, rejected_topic=f"{name}.rejected")
        await topics.create(settings, PARTITIONS, 1)
        async with AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap, linger_ms=50) as producer:
            for number, value in enumerate(values):
                await producer.send(name, value, partition=number % PARTITIONS)
        return name

    async def send_at(self, topic: str, values: Sequence[bytes], rate: float, seconds: float) -> None:
        """Send `rate` values a second for `seconds`, then wait until all are settled."""
        count = int(rate * seconds)
        async with AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap) as producer:
            began = time.monotonic()
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                value = values[number % len(values)]
                await producer.send(topic, value, partition=number % PARTITIONS)
        while sum(await self.fences(topic)) < count:  # noqa: ASYNC110 - seen by polling Redis
            await asyncio.sleep(0.05)

    def environment(self, topic: str, **more: object) -> dict[str, str]:
        chosen = {
            "kafka_url": self.kafka.url,
            "redis_url": self.redis.url,
            "triton_url": self.triton.url if self.triton else "grpc://127.0.0.1:1",
            "comments_topic": topic,
            "rejected_topic": f"{topic}.rejected",
            "group": f"group-{topic}-{uuid4().hex[:6]}",
            "web_port": 0,
            "log_level": "WARNING",
            **more,
        }
        return {**os.environ, **{f"FANPULSE_{name.upper()}": str(value) for name, value in chosen.items()}}

    async def fences(self, topic: str) -> list[int]:
        pipe = self.client.pipeline(transaction=False)
        for number in range(PARTITIONS):
            pipe.hget(Keys().partition(topic, number).fence, "next")
        return [int(value or 0) for value in await pipe.execute()]


@asynccontextmanager
async def process(module: str, *arguments: str, env: dict[str, str]) -> AsyncIterator[Process]:
    """`python -m module`, ended on leaving."""
    running = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, env=env)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def rate(done: Callable[[], Awaitable[int]], total: int, *, within_s: float = 600) -> float:
    """Items a second between the first progress seen and all `total` done: start-up does not count."""
    started = first = 0.0
    deadline = time.monotonic() + within_s
    while True:
        count = await done()
        now = time.monotonic()
        if count and not started:
            started, first = now, count
        if count >= total:
            return (count - first) / (now - started)
        if now > deadline:
            raise TimeoutError(f"{count} of {total} done within {within_s:g} s")
        await asyncio.sleep(0.01)


def quantile(text: str, name: str, labels: dict[str, str], q: float) -> float:
    """A quantile of a Prometheus histogram in an exposition, linear within its bucket as PromQL has it."""
    bounds: list[tuple[float, float]] = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{name}_bucket" and labels.items() <= sample.labels.items():
                bounds.append((float(sample.labels["le"]), sample.value))
    bounds.sort()
    rank, lower, below = q * bounds[-1][1], 0.0, 0.0
    for upper, count in bounds:
        if count >= rank and count > below:
            return (
                lower if upper == float("inf") else lower + (upper - lower) * (rank - below) / (count - below)
            )
        lower, below = upper, count
    return lower


def posts(count: int) -> list[str]:
    """Real posts where the shared data stands beside the project, else invented ones."""
    if POSTS.exists():
        import pyarrow.parquet as parquet

        batch = next(parquet.ParquetFile(POSTS).iter_batches(count, columns=["text"]))
        return [text for text in batch.column("text").to_pylist() if text and text.strip()]
    return [comment["text"] for comment, _ in _invented(count)]


def comments(texts: Sequence[str], communities: int = 20) -> list[bytes]:
    """The texts as records of the comment topic, spread over the last hour and over communities."""
    rng = random.Random(7)
    now_ms = int(time.time() * 1000)
    return [
        orjson.dumps(
            {
                "id": str(number),
                "community": f"community-{int(rng.paretovariate(1.2)) % communities}",
                "author": f"author-{rng.randrange(5000)}",
                "text": text,
                "created_at": now_ms - rng.randrange(600_000),
            }
        )
        for number, text in enumerate(texts)
    ]


def _invented(count: int) -> Iterator[tuple[dict[str, object], str]]:
    start = time.time() - 3600
    rate_per_community = count / 3600 / len(COMMUNITIES)
    return storyline(1, COMMUNITIES, start, 3600, rate_per_community * 1.1)
