"""A Redis Cluster, a quorum of brokers and workers under load, and what can be taken away from them."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from redis.asyncio.cluster import ClusterNode

from deploy.local import Kafka, Redis, Triton, cluster, join, quorum
from stream import topics
from stream.cluster import Cluster
from stream.settings import Settings
from tests import tiny_model
from tests.faults.fleet import Fleet
from tests.faults.observed import Names
from tests.faults.oracle import Oracle
from tests.faults.stage import PSEUDONYM_KEY, environment
from tests.faults.traffic import Traffic
from tests.faults.verifier import Verifier
from tests.faults.watch import Watch

COPIES = {"min.insync.replicas": 2, "group.min.session.timeout.ms": 1000}
NODES = [
    "cluster-replica-validity-factor 0",  # one that is behind may take its master's place: the worst failover
    "cluster-node-timeout 10000",  # many processes on few cores: one that waits for a core is not dead
]
DAY_S = 86_400
_LOST_AT_LEAST = 100  # offsets, by the failover that loses some


BringBack = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Size:
    """How much of everything; `rate` in comments a second, `comments` in all, of a day.

    `keyed`: a community's comments go to one partition, as is advised, else to all.
    """

    workers: int = 8
    partitions: int = 64
    communities: int = 2000
    comments: int = 300_000
    rate: float = 400.0
    keyed: bool = True


@dataclass(frozen=True, slots=True)
class Grid:
    """What runs: three brokers, three masters and then their replicas, workers under load."""

    brokers: list[Kafka]
    nodes: list[Redis]
    fleet: Fleet
    traffic: Traffic
    watch: Watch
    verifier: Verifier
    settings: Settings


@asynccontextmanager
async def gridded(folder: Path, size: Size, seed: int) -> AsyncIterator[Grid]:
    """Start it all but the traffic."""
    async with AsyncExitStack() as stack:
        brokers = quorum(folder, properties=COPIES)
        nodes = cluster(folder, replicas=1, config=NODES)
        triton = Triton(folder / "triton", repository=folder / "models")
        tiny_model.write(triton.repository)
        services = (*brokers, *nodes, triton)
        await asyncio.gather(*(stack.enter_async_context(service) for service in services))
        await join(nodes, replicas=1)
        names = Names("comments", "comments.rejected", "fanpulse", size.partitions)
        urls = {
            "kafka": "kafka://" + ",".join(broker.bootstrap for broker in brokers),
            "redis": "redis://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes),
            "triton": triton.url,
        }
        # Many workers on few cores: a short session would expire for want of a core, not of a worker.
        chosen = {"redis_cluster": True, "kafka_session_timeout_s": 20, "publish_every_s": 2}
        variables = environment(names, urls, tiny_model.NAME, chosen)
        given = {name.removeprefix("FANPULSE_").lower(): value for name, value in variables.items()}
        settings = Settings.model_validate(given | {"models": json.loads(given["models"])})
        await topics.create(settings, size.partitions, len(brokers))
        inner = ",".join(f"127.0.0.1:{broker.ports['inner']}" for broker in brokers)
        producer = AIOKafkaProducer(bootstrap_servers=inner, acks="all", request_timeout_ms=60_000)
        await producer.start()
        stack.push_async_callback(producer.stop)
        consumer = AIOKafkaConsumer(bootstrap_servers=inner, metadata_max_age_ms=2000)
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        admin = AIOKafkaAdminClient(bootstrap_servers=inner)
        await admin.start()
        stack.push_async_callback(admin.close)
        redis = Cluster(startup_nodes=[ClusterNode("127.0.0.1", node.port) for node in nodes])
        stack.push_async_callback(redis.aclose)
        oracle = Oracle(f"127.0.0.1:{triton.port}")
        stack.push_async_callback(oracle.close)
        communities = [f"社区 {number}" for number in range(size.communities)]
        traffic = Traffic(
            producer, names.topic, size.partitions, size.rate, seed, communities, DAY_S, size.keyed
        )
        fences = [names.root(number) + "fence" for number in range(size.partitions)]
        watch = Watch(redis, consumer, admin, names.topic, names.group, fences)
        verifier = Verifier(redis, inner, oracle, names, PSEUDONYM_KEY.encode())
        fleet = Fleet(["-m", "stream", "worker"], variables, folder / "workers", size.workers)
        await fleet.start()
        stack.push_async_callback(fleet.stop)
        yield Grid(brokers, nodes, fleet, traffic, watch, verifier, settings)


async def _master_dies(grid: Grid) -> BringBack:
    await grid.nodes[0].kill()
    return grid.nodes[0].start


async def _acknowledged_writes_are_lost(grid: Grid) -> BringBack:
    """A replica that missed the latest writes becomes master, as one that lags behind may."""
    master, replica = grid.nodes[1], grid.nodes[4]
    await replica.kill()
    settled = sum(await grid.watch.settled())
    enough = settled + 3 * _LOST_AT_LEAST  # one shard has a third of them
    while sum(await grid.watch.settled()) < enough:  # noqa: ASYNC110 - nothing here could set an event
        await asyncio.sleep(0.1)
    await master.kill()
    await replica.start()
    return master.start


async def _broker_and_worker_die(grid: Grid) -> BringBack:
    await grid.brokers[0].kill()
    await grid.fleet.bounce(grid.fleet.pick(0.0), signal.SIGKILL, 0.5)
    return grid.brokers[0].start


LOSSES: Mapping[str, Callable[[Grid], Awaitable[BringBack]]] = {
    "Redis master killed": _master_dies,
    "Redis failover that loses writes": _acknowledged_writes_are_lost,
    "broker and worker killed": _broker_and_worker_die,
}
"""Each takes something away and returns what brings it back."""
