"""What faults act on: the whole stack with every wire through a proxy, a fleet of workers, and traffic."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import Kafka, Redis, Triton
from deploy.local.ports import free_port
from tests.faults.fleet import Fleet
from tests.faults.liar import Liar
from tests.faults.models import Models
from tests.faults.nemesis import Nemesis
from tests.faults.observed import Names
from tests.faults.oracle import Oracle
from tests.faults.plan import SESSION_TIMEOUT_S
from tests.faults.proxy import Proxy
from tests.faults.traffic import Traffic
from tests.faults.verifier import Verifier
from tests.faults.watch import Watch

PARTITIONS = 8
WORKERS = 3
PSEUDONYM_KEY = "a key for fault tests only"
PUBLISH_EVERY_S = 1.0

REDIS_CONFIG = (
    "busy-reply-threshold 500",
    "auto-aof-rewrite-percentage 0",  # a copy of the folder is then a copy of one moment
)


@dataclass
class Stage:
    """Everything that runs. Harness and verifier reach the services past the proxies."""

    names: Names
    nemesis: Nemesis
    fleet: Fleet
    traffic: Traffic
    watch: Watch
    verifier: Verifier


@asynccontextmanager
async def staged(
    folder: Path, *, seed: int, rate: float, command: list[str], **settings: object
) -> AsyncIterator[Stage]:
    """Start it all but the traffic; `command` is what Python runs as a worker, with `settings` of its own."""
    async with AsyncExitStack() as stack:
        wires = {name: free_port() for name in ("kafka", "redis", "triton")}
        kafka = Kafka(folder / "kafka")
        kafka.properties = {
            "advertised.listeners": f"CLIENTS://127.0.0.1:{wires['kafka']},INNER://127.0.0.1:{kafka.ports['inner']}",
            "group.min.session.timeout.ms": 1000,
        }
        redis = Redis(folder / "redis", config=REDIS_CONFIG, executable=_survives_full_disk(folder))
        models = Models(folder / "models")
        triton = Triton(folder / "triton", repository=models.repository)
        for service in (kafka, redis, triton):
            await stack.enter_async_context(service)
        liar = await stack.enter_async_context(Liar(triton.port, free_port()))
        upstream = {"kafka": kafka.port, "redis": redis.port, "triton": liar.port}
        proxies = {
            name: await stack.enter_async_context(Proxy(upstream[name], port)) for name, port in wires.items()
        }
        inner = f"127.0.0.1:{kafka.ports['inner']}"
        names = Names("comments", "comments.rejected", "fanpulse", PARTITIONS)
        await _create_topics(inner, names)
        producer = AIOKafkaProducer(bootstrap_servers=inner, acks="all", request_timeout_ms=60_000)
        await producer.start()
        stack.push_async_callback(producer.stop)
        consumer = AIOKafkaConsumer(bootstrap_servers=inner)
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        client = redis.connect()
        stack.push_async_callback(client.aclose)
        oracle = Oracle(f"127.0.0.1:{triton.port}")
        stack.push_async_callback(oracle.close)

        admin = AIOKafkaAdminClient(bootstrap_servers=inner)
        await admin.start()
        stack.push_async_callback(admin.close)
        urls = {
            "kafka": f"kafka://127.0.0.1:{wires['kafka']}",
            "redis": f"redis://127.0.0.1:{wires['redis']}/0",
            "triton": f"grpc://127.0.0.1:{wires['triton']}",
        }
        fleet = Fleet(
            [argument.format(clock=folder / "workers" / "clock") for argument in command],
            environment(names, urls, models.name, settings),
            folder / "workers",
            WORKERS,
        )
        traffic = Traffic(producer, names.topic, PARTITIONS, rate, seed)
        nemesis = Nemesis(
            kafka, redis, triton, fleet, traffic, proxies, liar, models, f"{names.prefix}:models"
        )
        fences = [names.root(number) + "fence" for number in range(PARTITIONS)]
        watch = Watch(client, consumer, admin, names.topic, names.group, fences)
        await fleet.start()
        stack.push_async_callback(fleet.stop)
        verifier = Verifier(client, inner, oracle, names, PSEUDONYM_KEY.encode())
        yield Stage(names, nemesis, fleet, traffic, watch, verifier)


def environment(
    names: Names, urls: Mapping[str, str], model: str, settings: Mapping[str, object]
) -> dict[str, str]:
    """FANPULSE_ variables of a worker that finds each service at its URL."""
    chosen = {
        **{f"{service}_url": url for service, url in urls.items()},
        "comments_topic": names.topic,
        "rejected_topic": names.rejected,
        "group": names.group,
        "redis_prefix": names.prefix,
        "models": json.dumps({"zh": model}),
        "pseudonym_key": PSEUDONYM_KEY,
        "kafka_session_timeout_s": SESSION_TIMEOUT_S,
        "triton_timeout_s": 3,
        "redis_timeout_s": 3,
        "drain_s": 10,
        "events_kept": 10_000_000,  # the verifier wants them all
        "publish_every_s": PUBLISH_EVERY_S,
        "cached_texts": 100,  # of 1200: a cache of all of them would hide Triton's faults
        "web_port": 0,
        **settings,
    }
    return {f"FANPULSE_{name.upper()}": str(value) for name, value in chosen.items()}


def _survives_full_disk(folder: Path) -> Path:
    """A launcher of the Redis server that makes a file that may not grow an error, as a full disk is one."""
    launcher = folder / "redis-server"
    folder.mkdir(parents=True, exist_ok=True)
    launcher.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {Redis(folder).executable} \"$@\"\n")
    launcher.chmod(0o755)
    return launcher


async def _create_topics(bootstrap: str, names: Names) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(names.topic, names.partitions, 1),
                NewTopic(names.rejected, names.partitions, 1, topic_configs={"cleanup.policy": "compact"}),
            ]
        )
    finally:
        await admin.close()
