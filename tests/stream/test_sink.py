"""The fence table, on every Redis there is."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from faust.types import TP
from redis.crc import key_slot

from deploy.local import Redis, cluster, join
from stream.buckets import Settlement
from stream.connections import connect_redis
from stream.errors import FenceMoved, Unavailable
from stream.keys import Keys
from stream.settings import Settings
from stream.sink import Sink
from tests.stream.deployment import until

TOPIC = TP("comments", 3)
ROOT = "fp:{comments:3}:"


@pytest.fixture
async def sink(each_redis: Redis) -> AsyncIterator[Sink]:
    client = connect_redis(Settings(redis_url=each_redis.url))
    yield Sink(client, Keys(), events_kept=1000, minutes_kept_s=7320, hours_kept_s=691200)
    await client.aclose()


def settlement(position: int, end: int, community: str = "辰星") -> Settlement:
    events = [(offset, f'{{"id":"{offset}"}}'.encode()) for offset in range(position, end)]
    return Settlement(
        position,
        end,
        events,
        {f"m:1800000060:{community}": {"n": end - position, "neg": 1}, f"h:1800000000:{community}": {"n": 2}},
        {f"m:1800000060:{community}": ["ada", "bob"], f"h:1800000000:{community}": ["ada"]},
    )


async def state(server: Redis) -> dict[str, object]:
    """Everything in Redis, by key."""
    read = {b"hash": "hgetall", b"stream": "xrange", b"string": "get"}
    async with server.connect() as client:
        found: dict[str, object] = {}
        async for key in client.scan_iter():
            kind = await client.type(key)
            if kind == b"zset":
                found[key.decode()] = await client.zrange(key, 0, -1, withscores=True)
            else:
                found[key.decode()] = await getattr(client, read[kind])(key)
        return found


async def test_a_batch_at_the_fence_is_applied_whole(sink: Sink, each_redis: Redis) -> None:
    assert await sink.open(TOPIC, 5) == 5
    assert await sink.settle(TOPIC, settlement(5, 8)) == "applied"

    found = await state(each_redis)
    assert found[ROOT + "fence"] == {b"next": b"8"}
    assert [entry[0] for entry in found[ROOT + "events"]] == [b"5-1", b"6-1", b"7-1"]
    assert found[ROOT + "m:1800000060:辰星"] == {b"n": b"3", b"neg": b"1"}
    assert found[ROOT + "h:1800000000:辰星"] == {b"n": b"2"}
    assert found[ROOT + "communities"] == [("辰星".encode(), 1800000060.0)]
    assert {name for name, _ in found[ROOT + "changed"]} == {
        "m:1800000060:辰星".encode(),
        "h:1800000000:辰星".encode(),
    }


async def test_authors_are_sketched_beside_their_bucket_and_live_as_long(
    sink: Sink, each_redis: Redis
) -> None:
    await sink.open(TOPIC, 0)
    await sink.settle(TOPIC, settlement(0, 3))
    async with each_redis.connect() as client:
        assert await client.pfcount(ROOT + "am:1800000060:辰星") == 2
        assert await client.pfcount(ROOT + "a:1800000000:辰星") == 1
        for minute in ("m", "am"):
            assert 7200 < await client.ttl(f"{ROOT}{minute}:1800000060:辰星") <= 7320
        for hour in ("h", "a"):
            assert 691000 < await client.ttl(f"{ROOT}{hour}:1800000000:辰星") <= 691200


async def test_settled_work_that_comes_again_changes_nothing(sink: Sink, each_redis: Redis) -> None:
    await sink.open(TOPIC, 0)
    await sink.settle(TOPIC, settlement(0, 4))
    before = await state(each_redis)
    assert await sink.settle(TOPIC, settlement(0, 4)) == "settled"
    assert await sink.settle(TOPIC, settlement(1, 3)) == "settled"
    assert await state(each_redis) == before


@pytest.mark.parametrize(("position", "end"), [(2, 6), (9, 12)], ids=["overlapping", "beyond"])
async def test_a_batch_that_does_not_begin_at_the_fence_changes_nothing(
    sink: Sink, each_redis: Redis, position: int, end: int
) -> None:
    await sink.open(TOPIC, 0)
    await sink.settle(TOPIC, settlement(0, 4))
    before = await state(each_redis)
    with pytest.raises(FenceMoved) as moved:
        await sink.settle(TOPIC, settlement(position, end))
    assert moved.value.next_offset == 4
    assert await state(each_redis) == before


async def test_without_a_fence_nothing_is_applied(sink: Sink, each_redis: Redis) -> None:
    with pytest.raises(FenceMoved) as moved:
        await sink.settle(TOPIC, settlement(0, 4))
    assert moved.value.next_offset is None
    assert await state(each_redis) == {}


async def test_opening_a_partition_never_moves_its_fence(sink: Sink) -> None:
    assert await sink.fence(TOPIC) is None
    assert await sink.open(TOPIC, 7) == 7
    assert await sink.open(TOPIC, 0) == 7
    assert await sink.fence(TOPIC) == 7


async def test_a_failed_settle_leaves_nothing_behind(sink: Sink, each_redis: Redis) -> None:
    await sink.open(TOPIC, 0)
    async with each_redis.connect() as client:  # an event stream that is ahead of its fence
        await client.xadd(ROOT + "events", {"event": "{}"}, id="2-1")
    before = await state(each_redis)
    with pytest.raises(Unavailable, match="equal or smaller"):
        await sink.settle(TOPIC, settlement(0, 4))
    assert await state(each_redis) == before


async def test_more_authors_than_lua_can_unpack_are_settled(sink: Sink, each_redis: Redis) -> None:
    await sink.open(TOPIC, 0)
    crowd = [f"author-{number}" for number in range(20_000)]
    await sink.settle(TOPIC, Settlement(0, 1, [], {"m:60:c": {"n": 1}}, {"m:60:c": crowd}))
    async with each_redis.connect() as client:
        assert abs(await client.pfcount(ROOT + "am:60:c") - 20_000) < 1_000


async def test_the_event_stream_keeps_about_as_many_as_it_was_told(each_redis: Redis) -> None:
    client = connect_redis(Settings(redis_url=each_redis.url))
    small = Sink(client, Keys(), events_kept=100, minutes_kept_s=7320, hours_kept_s=691200)
    await small.open(TOPIC, 0)
    for position in range(0, 2000, 250):
        await small.settle(TOPIC, settlement(position, position + 250))
    assert 100 <= await client.xlen(ROOT + "events") < 450
    await client.aclose()


async def test_a_script_that_redis_has_forgotten_is_sent_again(sink: Sink, each_redis: Redis) -> None:
    await sink.open(TOPIC, 0)
    await sink.settle(TOPIC, settlement(0, 1))
    async with each_redis.connect() as client:
        await client.script_flush()
    assert await sink.settle(TOPIC, settlement(1, 2)) == "applied"


async def test_a_redis_that_is_away_is_unavailable() -> None:
    client = connect_redis(Settings(redis_url="redis://127.0.0.1:1/0"))
    sink = Sink(client, Keys(), events_kept=1, minutes_kept_s=7320, hours_kept_s=691200)
    with pytest.raises(Unavailable, match="Redis"):
        await sink.settle(TOPIC, settlement(0, 1))
    await client.aclose()


def test_all_keys_of_a_partition_share_a_cluster_slot() -> None:
    keys = Keys("fp").partition("comments", 3)
    names = [
        keys.fence,
        keys.events,
        keys.communities,
        keys.changed,
        keys.bucket("m:60:{odd}"),
        keys.bucket("a:0:x"),
    ]
    assert {key_slot(name.encode()) for name in names} == {key_slot(b"comments:3")}


async def test_a_cluster_that_is_wholly_away_is_unavailable_and_found_again(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node) for node in cluster(tmp_path)]
        await join(nodes)
        client = connect_redis(Settings(redis_url=nodes[0].url, redis_cluster=True))
        stack.push_async_callback(client.aclose)
        sink = Sink(client, Keys(), events_kept=1000, minutes_kept_s=7320, hours_kept_s=691200)
        assert await sink.open(TP("comments", 0), 7) == 7
        for node in nodes:
            await node.kill()
        for _ in range(2):  # by the connection it has, and by one that it cannot make
            with pytest.raises(Unavailable):
                await sink.fence(TP("comments", 0))
        for node in nodes:
            await node.start()

        async def is_found() -> bool:
            with suppress(Unavailable):
                return await sink.fence(TP("comments", 0)) == 7
            return False

        await until(is_found, what="the fence of a cluster that is back")
