"""`python -m tests.faults.scale`: a Redis Cluster and three brokers lose members under load; does it add up?

Workers take a day of comments from thousands of communities meanwhile. Afterwards the product's own audit and
the verifier, which shares no code with it, both read everything.
"""

import asyncio
import json
import logging
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from redis.asyncio.cluster import ClusterNode, RedisCluster
from rich.console import Console
from rich.table import Table

from deploy.local import Kafka, Redis, Triton, cluster, join, quorum
from stream import topics
from stream.audit import Audit, audit
from stream.settings import Settings
from tests import tiny_model
from tests.faults.fleet import Fleet
from tests.faults.observed import Names
from tests.faults.oracle import Oracle
from tests.faults.stage import PSEUDONYM_KEY, PUBLISH_EVERY_S, environment
from tests.faults.traffic import Traffic
from tests.faults.verifier import Verdict, Verifier
from tests.faults.watch import Watch

DAY_S = 86_400.0
COPIES = {"min.insync.replicas": 2, "group.min.session.timeout.ms": 1000}
# A replica that is behind its master may take its place: the worst that a failover can do.
ANY_REPLICA = ["cluster-replica-validity-factor 0"]
_WARM_UP_S = 180.0
_RECOVERS_WITHIN_S = 120.0
_CATCHES_UP_WITHIN_S = 600.0
_LOST_AT_LEAST = 100  # offsets, by the failover that loses some


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything; `rate` in comments a second, `pause_s` between one loss and the next."""

    workers: int = 8
    partitions: int = 64
    communities: int = 2000
    rate: float = 400.0
    pause_s: float = 30.0


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


@dataclass
class Outcome:
    """What a run showed; recoveries are seconds until every partition moved again."""

    recoveries_s: dict[str, float] = field(default_factory=dict)
    forgotten: int = 0  # offsets that were settled and that Redis then knew no more
    seconds: float = 0.0
    exits: list[str] = field(default_factory=list)
    audit: Audit = field(default_factory=lambda: Audit([]))
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def ok(self) -> bool:
        return self.audit.holds and not self.verdict.wrong


@asynccontextmanager
async def gridded(folder: Path, size: Size, seed: int) -> AsyncIterator[Grid]:
    """Start it all but the traffic."""
    async with AsyncExitStack() as stack:
        brokers = quorum(folder, properties=COPIES)
        nodes = cluster(folder, replicas=1, config=ANY_REPLICA)
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
        variables = environment(names, urls, tiny_model.NAME, {"redis_cluster": True})
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
        redis = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", node.port) for node in nodes])
        stack.push_async_callback(redis.aclose)
        oracle = Oracle(f"127.0.0.1:{triton.port}")
        stack.push_async_callback(oracle.close)
        communities = [f"社区 {number}" for number in range(size.communities)]
        traffic = Traffic(producer, names.topic, size.partitions, size.rate, seed, communities)
        fences = [names.root(number) + "fence" for number in range(size.partitions)]
        watch = Watch(redis, consumer, admin, names.topic, names.group, fences)
        verifier = Verifier(redis, inner, oracle, names, PSEUDONYM_KEY.encode())
        fleet = Fleet(["-m", "stream", "worker"], variables, folder / "workers", size.workers)
        await fleet.start()
        stack.push_async_callback(fleet.stop)
        yield Grid(brokers, nodes, fleet, traffic, watch, verifier, settings)


async def _master_dies(grid: Grid) -> Callable[[], Awaitable[object]]:
    await grid.nodes[0].kill()
    return grid.nodes[0].start


async def _acknowledged_writes_are_lost(grid: Grid) -> Callable[[], Awaitable[object]]:
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


async def _broker_and_worker_die(grid: Grid) -> Callable[[], Awaitable[object]]:
    await grid.brokers[0].kill()
    await grid.fleet.bounce(grid.fleet.pick(0.0), signal.SIGKILL, 0.5)
    return grid.brokers[0].start


LOSSES: dict[str, Callable[[Grid], Awaitable[Callable[[], Awaitable[object]]]]] = {
    "Redis master killed": _master_dies,
    "Redis failover that loses writes": _acknowledged_writes_are_lost,
    "broker and worker killed": _broker_and_worker_die,
}
"""Each takes something away and returns what brings it back."""


async def run(folder: Path, size: Size, seed: int) -> Outcome:
    """Load and losses, then the audits."""
    outcome, begun = Outcome(), time.monotonic()
    async with gridded(folder, size, seed) as grid:
        grid.traffic.clock_off_s = -DAY_S
        traffic = asyncio.create_task(grid.traffic.run())
        observers = [
            asyncio.create_task(grid.watch.follow()),
            asyncio.create_task(_note_forgotten(grid.watch, outcome)),
        ]
        await grid.watch.begun(_WARM_UP_S)
        for number, (name, lose) in enumerate(LOSSES.items(), 1):
            bring_back = await lose(grid)
            outcome.recoveries_s[name] = await grid.watch.recovery_s(_RECOVERS_WITHIN_S)
            await bring_back()
            await asyncio.sleep(size.pause_s)
            grid.traffic.clock_off_s = -DAY_S * (1 - number / len(LOSSES))
        for task in (traffic, *observers):
            task.cancel()
        await asyncio.gather(traffic, *observers, return_exceptions=True)
        await grid.watch.caught_up(_CATCHES_UP_WITHIN_S)
        await asyncio.sleep(4 * PUBLISH_EVERY_S)  # the windows of the last settles
        await grid.fleet.stop()
        outcome.exits = grid.fleet.exits
        outcome.audit = await audit(grid.settings)
        outcome.verdict = await grid.verifier.verify()
        outcome.seconds = time.monotonic() - begun
    return outcome


async def _note_forgotten(watch: Watch, outcome: Outcome) -> None:
    last = await watch.settled()
    while True:
        await asyncio.sleep(0.1)
        now = await watch.settled()
        outcome.forgotten += sum(max(0, a - b) for a, b in zip(last, now, strict=True))
        last = now


def show(outcome: Outcome, console: Console) -> None:
    """The figures as a table."""
    partitions = outcome.audit.partitions
    table = Table("", "", box=None)
    table.add_row("comments", f"{outcome.verdict.comments:,}")
    for name in ("events", "rejected", "buckets", "unchecked_buckets", "differences"):
        table.add_row(f"audit: {name}", f"{sum(getattr(partition, name) for partition in partitions):,}")
    table.add_row("verifier: windows", f"{outcome.verdict.windows:,}")
    table.add_row("verifier", str(outcome.verdict))
    for name, seconds in outcome.recoveries_s.items():
        table.add_row(f"{name}: all partitions move after", f"{seconds:.1f} s")
    table.add_row("settled offsets that Redis forgot, settled anew", f"{outcome.forgotten:,}")
    table.add_row("workers that ended unasked", f"{len(outcome.exits)}")
    table.add_row("the whole run", f"{outcome.seconds:.0f} s")
    console.print(table)


def main(
    workers: Annotated[int, typer.Option(min=1)] = Size.workers,
    partitions: Annotated[int, typer.Option(min=1)] = Size.partitions,
    communities: Annotated[int, typer.Option(min=1)] = Size.communities,
    rate: Annotated[float, typer.Option(help="Comments a second.")] = Size.rate,
    pause_s: Annotated[float, typer.Option(help="Seconds between losses.")] = Size.pause_s,
    seed: Annotated[int, typer.Option()] = 1,
) -> None:
    """Print the figures; exit code 1 if a promise was broken."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers that are gone are the point
    folder, console = Path(tempfile.mkdtemp(prefix="fanpulse-scale-")), Console()
    console.print(f"logs in {folder}")
    outcome = asyncio.run(run(folder, Size(workers, partitions, communities, rate, pause_s), seed))
    show(outcome, console)
    for line in outcome.exits:
        console.print(line, markup=False)
    raise typer.Exit(0 if outcome.ok else 1)


if __name__ == "__main__":
    typer.run(main)
