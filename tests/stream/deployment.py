"""A topic of its own on shared services, the real `fanpulse worker`, and what a test asks of both."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis as RedisClient
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import BusyLoadingError

from deploy.local import Kafka, Redis, Triton
from stream import topics
from stream.keys import Keys
from stream.settings import Settings
from tests import tiny_model

PATIENCE_S = 60.0


async def until(
    condition: Callable[[], Awaitable[Any]], *, within_s: float = PATIENCE_S, what: str = ""
) -> Any:
    """Poll `condition` until it is true and return what it gave; fail after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (answer := await condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what or condition}")
        await asyncio.sleep(0.05)
    return answer


def comment(number: int, text: str = "今天好听", **fields: Any) -> bytes:
    """A valid record, unlike all others by its id."""
    body = {
        "id": f"comment-{number}",
        "community": f"community-{number % 3}",
        "text": text,
        "created_at": int(time.time() * 1000) - number,
        "author": f"author-{number % 7}",
        **fields,
    }
    return orjson.dumps(body)


@dataclass
class Worker:
    """A `fanpulse worker` process and the file its log goes to."""

    process: Process
    log: Path

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM; return the exit code."""
        if self.process.returncode is None:
            self.signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def web(self, path: str) -> tuple[int, str]:
        """GET from the worker's own port, which its log names."""
        address = await until(self.address, what="the worker's port in its log")
        async with aiohttp.ClientSession() as session, session.get(address + path) as answer:
            return answer.status, await answer.text()

    async def address(self) -> str | None:
        for line in self.log.read_text().splitlines():
            if "health and metrics on " in line:
                return line.rpartition(" ")[2]
        return None


@dataclass
class Deployment:
    """What stands around the workers of one test."""

    kafka: Kafka
    redis: Redis
    triton: Triton
    folder: Path
    partitions: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.topic = f"comments-{uuid4().hex[:8]}"
        self.rejected = f"{self.topic}.rejected"
        self.keys = Keys("fp")
        # tests kill the server under this client
        patient = Retry(ConstantBackoff(0.1), 100)
        self.client = RedisClient.from_url(
            self.redis.url, retry=patient, retry_on_error=[BusyLoadingError], **self.redis.client
        )
        self.workers: list[Worker] = []
        self.producer = AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap, max_request_size=4_000_000)

    def environment(self, **more: object) -> dict[str, str]:
        """FANPULSE_ variables of a process of this deployment."""
        chosen = {
            "kafka_url": self.kafka.url,
            "redis_url": self.redis.url,
            "triton_url": self.triton.url,
            "comments_topic": self.topic,
            "rejected_topic": self.rejected,
            "group": f"group-{self.topic}",
            "models": orjson.dumps({"zh": tiny_model.NAME}).decode(),
            "web_port": 0,
            "kafka_session_timeout_s": 6,
            "publish_every_s": 0.2,
            **self.settings,
            **more,
        }
        return {f"FANPULSE_{name.upper()}": str(value) for name, value in chosen.items()}

    async def create_topics(self, **config: str) -> None:
        settings = Settings(kafka_url=self.kafka.url, comments_topic=self.topic, rejected_topic=self.rejected)
        if config:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
            await admin.start()
            await admin.create_topics([NewTopic(self.topic, self.partitions, 1, topic_configs=config)])
            await admin.close()
        await topics.create(settings, self.partitions, 1)

    async def worker(self, *, module: Sequence[str] = ("stream", "worker"), **settings: object) -> Worker:
        """Start one more worker, or what else is run as `python -m module`."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *module,
                env={**os.environ, **self.environment(**settings)},
                stdout=output,
                stderr=output,
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    async def send(self, values: Sequence[bytes | None], partition: int = 0) -> None:
        """Append records to a partition."""
        sent = [
            await self.producer.send(self.topic, value, key=b"k", partition=partition) for value in values
        ]
        await asyncio.gather(*sent)

    async def fence(self, partition: int = 0) -> int:
        value = await self.client.hget(self.keys.partition(self.topic, partition).fence, "next")
        return int(value or 0)

    async def settled(self, offset: int, partition: int = 0, *, within_s: float = PATIENCE_S) -> None:
        """Wait until the fence is at `offset`."""

        async def there() -> bool:
            return await self.fence(partition) >= offset

        await until(there, within_s=within_s, what=f"fence {offset} of partition {partition}")

    async def events(self, partition: int = 0) -> list[dict[str, Any]]:
        entries = await self.client.xrange(self.keys.partition(self.topic, partition).events)
        return [orjson.loads(fields[b"event"]) for _, fields in entries]

    async def dead_letters(self) -> list[Any]:
        """All records of the rejected topic."""
        return await self._read(self.rejected)

    async def records(self) -> list[Any]:
        """All records of the comment topic."""
        return await self._read(self.topic)

    async def bucket(self, letter: str, partition: int = 0) -> dict[str, int]:
        """The fields of all minute (`m`) or hour (`h`) buckets of a partition, added up."""
        total: dict[str, int] = {}
        root = self.keys.partition(self.topic, partition).root
        async for key in self.client.scan_iter(match=f"{root}{letter}:*"):
            for name, value in (await self.client.hgetall(key)).items():
                total[name.decode()] = total.get(name.decode(), 0) + int(value)
        return total

    async def committed(self, partition: int = 0) -> int | None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka.bootstrap, group_id=f"group-{self.topic}", enable_auto_commit=False
        )
        await consumer.start()
        try:
            return await consumer.committed(TopicPartition(self.topic, partition))
        finally:
            await consumer.stop()

    async def _read(self, topic: str) -> list[Any]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            tps = [TopicPartition(topic, number) for number in range(self.partitions)]
            ends = await consumer.end_offsets(tps)
            consumer.assign(tps)
            records: list[Any] = []
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for run in (await consumer.getmany(timeout_ms=500)).values():
                    records += run
            return records
        finally:
            await consumer.stop()


@asynccontextmanager
async def deployed(
    kafka: Kafka, redis: Redis, triton: Triton, folder: Path, *, partitions: int = 1, **settings: object
) -> AsyncIterator[Deployment]:
    """A deployment with its topics made; whatever still runs at the end is killed."""
    deployment = Deployment(kafka, redis, triton, folder, partitions, settings)
    await deployment.create_topics()
    await deployment.producer.start()
    try:
        yield deployment
    finally:
        await deployment.producer.stop()
        await deployment.client.aclose()
        for worker in deployment.workers:
            if worker.process.returncode is None:
                await worker.kill()
