"""The way to Redis that the settings describe."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from redis.asyncio import Redis as Client
from redis.asyncio.cluster import RedisCluster

from deploy.local import Redis, cluster, join
from deploy.local.ports import free_port
from stream.buckets import Settlement
from stream.connections import REDIS_ERRORS, connect_redis
from stream.keys import Keys
from stream.settings import Settings
from stream.sink import Sink

_FIRST_MASTERS = range(16_384 // 3)  # slots


async def test_a_client_gets_into_a_cluster_by_any_node_that_is_named(tmp_path: Path) -> None:
    users = ["user default off", "user fan on >secret allkeys allchannels allcommands"]
    (node,) = cluster(tmp_path, 1, config=users, client={"username": "fan", "password": "secret"})
    async with node:
        await join([node])
        for nodes in (f"127.0.0.1:{node.port}", f"127.0.0.1:{free_port()},127.0.0.1:{node.port}"):
            settings = {"redis_url": f"redis://fan:secret@{nodes}/0", "redis_cluster": True}
            redis = connect_redis(Settings.model_validate(settings))
            assert await redis.hsetnx("fp:key", nodes, "1")
            await redis.aclose()


async def test_a_master_that_is_gone_costs_a_call_one_look_around_and_its_heir_is_found_by_the_next(
    tmp_path: Path,
) -> None:
    """Ten looks a call, times the calls of all partitions, would keep workers busy with little else meanwhile."""
    nodes = cluster(tmp_path, replicas=1, config=["repl-diskless-sync-delay 0"])
    gone, *rest = nodes
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(node)
        await join(nodes, replicas=1)
        survivors = [await stack.enter_async_context(node.connect()) for node in rest]
        settling, reading = [await stack.enter_async_context(_client(nodes)) for _ in range(2)]
        tp = next(TP("comments", n) for n in range(64) if settling.keyslot(_fence(n)) in _FIRST_MASTERS)
        sink = Sink(settling, Keys(), events_kept=10, minutes_kept_s=10_800, hours_kept_s=1_296_000)
        await sink.open(tp, 0)
        assert await _read(reading, tp) == [b"0"]

        await gone.kill()
        for call in (settling.hget(_fence(tp.partition), "next"), _read(reading, tp)):
            before = await _looks(survivors)
            with pytest.raises(REDIS_ERRORS):
                await call
            assert await _looks(survivors) - before <= 1

        for survivor in survivors:
            while await _masters(survivor) & {gone.port} or not await _is_whole(survivor):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # seen by asking
        assert await sink.settle(tp, Settlement(0, 1)) == "applied"
        assert await _read(reading, tp) == [b"1"]


async def test_a_call_in_flight_outlives_a_look_around_that_another_call_has_caused(tmp_path: Path) -> None:
    nodes = cluster(tmp_path, 1)
    async with nodes[0], nodes[0].connect() as inspector:
        await join(nodes)
        async with _client(nodes) as redis:
            waiting = asyncio.create_task(redis.blpop(["queue"], timeout=30))
            while not (before := await _blocked(inspector)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # seen by asking
            await redis.aclose()  # what redis-py does when a shard is down
            assert await _blocked(inspector) == before
            await redis.rpush("queue", "a comment")
            assert await waiting == [b"queue", b"a comment"]


async def test_a_call_whose_connection_is_closed_under_it_fails_as_redis_being_away(tmp_path: Path) -> None:
    """Another call's failure closes it, at any of the steps that this one takes."""
    nodes = cluster(tmp_path, 1)
    async with nodes[0]:
        await join(nodes)
        async with _client(nodes) as redis:
            failed: list[BaseException] = []
            for steps in range(12):
                for call in (lambda: redis.hget(_fence(0), "next"), lambda: _read(redis, TP("comments", 0))):
                    await redis.hget(_fence(0), "next")  # there is a connection
                    closing = asyncio.create_task(redis.nodes_manager.aclose())
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    answers = await asyncio.gather(call(), return_exceptions=True)
                    failed += [answer for answer in answers if isinstance(answer, BaseException)]
                    await closing
            assert failed
            assert [error for error in failed if not isinstance(error, REDIS_ERRORS)] == []


@asynccontextmanager
async def _client(nodes: Sequence[Redis]) -> AsyncIterator[RedisCluster]:
    url = "redis://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    redis = connect_redis(Settings.model_validate({"redis_url": url, "redis_cluster": True}))
    assert isinstance(redis, RedisCluster)
    async with redis:
        yield redis


def _fence(partition: int) -> str:
    return Keys().partition("comments", partition).fence


async def _read(redis: RedisCluster, tp: TP) -> list[Any]:
    """The fence, read the way that publisher and board read: by a pipeline."""
    pipe = redis.pipeline(transaction=False)
    pipe.hget(_fence(tp.partition), "next")
    return await pipe.execute()


async def _looks(nodes: Sequence[Client]) -> int:
    """How often the nodes were asked who has which slots."""
    stats = [await node.info("commandstats") for node in nodes]
    return sum(stat.get("cmdstat_cluster|slots", {"calls": 0})["calls"] for stat in stats)


async def _blocked(node: Client) -> list[str]:
    """Connections on which a call waits."""
    return [connection["id"] for connection in await node.client_list() if "b" in connection["flags"]]


async def _masters(node: Client) -> set[int]:
    return {slots[2][1] for slots in await node.cluster("SLOTS")}


async def _is_whole(node: Client) -> bool:
    return bool((await node.cluster("INFO"))["cluster_state"] == "ok")
