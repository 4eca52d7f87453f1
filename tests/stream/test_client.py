import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from faust.types import TP

from deploy.local import Redis
from deploy.local.redis import cluster, join
from stream.alerts.alert import Alert
from stream.buckets import settlement
from stream.client import Fanpulse
from stream.errors import ConfigurationError, Unavailable
from stream.events import dumps
from stream.jobs import end
from stream.keys import Keys
from stream.sink import Sink
from stream.windows import Publisher
from tests.stream.examples import NOON_MS, event, scores

NOON = datetime.fromtimestamp(NOON_MS / 1000, UTC)
KEEP = {"events_kept": 10_000, "minutes_kept_s": 10_800, "hours_kept_s": 864_000}


async def settle(fp: Fanpulse, partition: int, offsets: range, **changes: object) -> None:
    """Settle events as the worker does: ids `partition/offset`, all angry."""
    sink = Sink(fp.redis, Keys(), **KEEP)
    tp = TP("comments", partition)
    await sink.open(tp, offsets.start)
    made = [event(n, scores(anger=0.9), **{"id": f"{partition}/{n}", **changes}) for n in offsets]
    await sink.settle(tp, settlement(offsets.start, offsets.stop, [(e, dumps(e)) for e in made]))


async def take(fp: Fanpulse, count: int, **options: object) -> list[str]:
    """Handle `count` events of the group and leave as one does after having asked for the next."""
    ids: list[str] = []
    async with aclosing(fp.events("readers", start="earliest", **options)) as events, asyncio.timeout(30):
        async for one in events:
            if len(ids) == count:
                break
            ids.append(one.id)
    return ids


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    while not (await answer if isinstance(answer := holds(), Awaitable) else answer):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def all_handled(fp: Fanpulse, partition: int) -> bool:
    stream = fp.keys.partition("comments", partition).events
    (group,) = await fp.redis.xinfo_groups(stream)
    return group["last-delivered-id"] != b"0-0" and group["pending"] == 0


async def has_group(fp: Fanpulse, partition: int) -> bool:
    return bool(await fp.redis.xinfo_groups(fp.keys.partition("comments", partition).events))


@pytest.fixture
async def fp(redis_server: Redis) -> AsyncIterator[Fanpulse]:
    async with Fanpulse(redis_server.url) as connected:
        yield connected


async def test_a_group_gets_the_events_of_all_partitions_once_and_in_order(fp: Fanpulse):
    await settle(fp, 0, range(5))
    await settle(fp, 3, range(7, 12))
    ids = []
    async with aclosing(fp.events("readers", start="earliest")) as events, asyncio.timeout(30):
        async for one in events:
            ids.append(one.id)
            if len(ids) == 10:
                break
    assert [i for i in ids if i.startswith("0/")] == [f"0/{n}" for n in range(5)]
    assert [i for i in ids if i.startswith("3/")] == [f"3/{n}" for n in range(7, 12)]


async def test_two_consumers_of_a_group_share_the_events(fp: Fanpulse):
    await settle(fp, 0, range(600))
    seen: list[str] = []

    async def consume() -> None:
        async with aclosing(fp.events("readers", start="earliest")) as events:
            async for one in events:
                seen.append(one.id)

    consumers = [asyncio.create_task(consume()) for _ in range(2)]
    async with asyncio.timeout(30):
        await until(lambda: len(seen) >= 600)
    await end(consumers)
    assert sorted(seen) == sorted({f"0/{n}" for n in range(600)})


async def test_an_event_whose_handling_failed_comes_again_to_another_consumer(fp: Fanpulse):
    await settle(fp, 0, range(3))

    async def stumble() -> None:
        async with aclosing(fp.events("readers", start="earliest")) as events:
            async for one in events:
                if one.id == "0/1":
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()
    async with aclosing(fp.events("readers", claim_after_s=0.01)) as events, asyncio.timeout(30):
        again = [(await anext(events)).id, (await anext(events)).id]
    assert again == ["0/1", "0/2"]


async def test_only_the_communities_asked_for_are_handed_out_and_the_others_are_done_with(fp: Fanpulse):
    await settle(fp, 0, range(3), community="other")
    await settle(fp, 1, range(3), community="starlight")
    async with aclosing(fp.events("readers", ["starlight"], start="earliest")) as events, asyncio.timeout(30):
        got = [(await anext(events)).community for _ in range(3)]
        waiting = asyncio.ensure_future(anext(events))
        await until(partial(all_handled, fp, partition=0))
        await end([waiting])
    assert got == ["starlight"] * 3


async def test_a_partition_that_appears_later_is_read_from_its_first_event(fp: Fanpulse, monkeypatch):
    monkeypatch.setattr("stream.subscription._FIND_EVERY_S", 0.05)
    await settle(fp, 0, range(1))
    async with aclosing(fp.events("readers")) as events, asyncio.timeout(30):
        waiting = asyncio.ensure_future(anext(events))
        await until(partial(has_group, fp, partition=0))
        await settle(fp, 1, range(1))
        assert (await waiting).id == "1/0"


async def test_a_subscription_outlives_a_redis_that_lost_everything(fp: Fanpulse):
    await settle(fp, 0, range(1))
    async with aclosing(fp.events("readers", start="earliest")) as events, asyncio.timeout(30):
        assert (await anext(events)).id == "0/0"
        await fp.redis.flushall()
        await settle(fp, 0, range(5, 6))
        assert (await anext(events)).id == "0/5"


async def test_history_adds_up_the_partitions_and_fills_gaps_with_empty_buckets(fp: Fanpulse):
    await settle(fp, 0, range(3))
    await settle(fp, 1, range(2), created_at_ms=NOON_MS + 120_000)
    await settle(fp, 2, range(1))
    minutes = await fp.history("starlight", NOON, NOON + timedelta(minutes=4))
    assert [bucket.comments for bucket in minutes] == [4, 0, 2, 0]
    assert [bucket.start for bucket in minutes] == [NOON + timedelta(minutes=n) for n in range(4)]
    assert minutes[0].negative == 4
    assert minutes[0].negativity == pytest.approx(3.6)
    assert minutes[0].labels == {"anger": 4}
    (hour,) = await fp.history("starlight", NOON, NOON + timedelta(hours=1), "hour")
    assert (hour.comments, hour.start) == (6, NOON)
    assert await fp.communities() == {"starlight": NOON + timedelta(minutes=2)}


async def test_recent_events_are_the_newest_of_all_partitions(fp: Fanpulse):
    await settle(fp, 0, range(3))
    await settle(fp, 1, range(3), created_at_ms=NOON_MS + 1)
    await settle(fp, 2, range(3), community="other", created_at_ms=NOON_MS + 2)
    assert [e.id for e in await fp.recent(4, "starlight")] == ["1/2", "1/1", "1/0", "0/2"]
    assert {e.community for e in await fp.recent(3)} == {"other"}


def alert(number: int) -> Alert:
    return Alert(
        id=f"r/c/{number}", rule="r", kind="threshold", community="c", severity="warning", state="firing",
        at=NOON, since=NOON, value=0.5, limit=0.4, baseline=None, summary={"en": "…", "zh": "…"}, numbers={},
        explanation=None, muted=False, link=None,
    )  # fmt: skip


async def test_alerts_are_followed_from_a_moment_on(fp: Fanpulse):
    await fp.redis.xadd(fp.keys.alerts, {"alert": alert(1).model_dump_json()}, id="1000-0")
    await fp.redis.xadd(fp.keys.alerts, {"alert": alert(2).model_dump_json()}, id="2000-0")
    async with aclosing(fp.alerts(datetime.fromtimestamp(2, UTC))) as alerts, asyncio.timeout(30):
        assert await anext(alerts) == alert(2)
        await fp.redis.xadd(fp.keys.alerts, {"alert": alert(3).model_dump_json()})
        assert await anext(alerts) == alert(3)
    assert await fp.recent_alerts() == [alert(3), alert(2), alert(1)]


async def test_windows_are_followed_as_they_are_published_and_the_last_is_at_hand(fp: Fanpulse):
    publisher = Publisher(fp.redis, fp.keys, topic="comments")
    now_ms = int(time.time() * 1000)
    await settle(fp, 0, range(1), created_at_ms=now_ms)
    await publisher.publish()
    async with aclosing(fp.windows()) as windows, asyncio.timeout(30):
        following = asyncio.ensure_future(anext(windows))
        await asyncio.sleep(0)
        offsets = itertools.count(1)
        while not following.done():  # it follows from a moment on that only it knows
            offset = next(offsets)
            await settle(fp, 0, range(offset, offset + 1), created_at_ms=now_ms)
            await publisher.publish()
            await asyncio.wait({following}, timeout=0.2)
        window = await following
    assert (window.community, window.size) == ("starlight", "5m")
    assert 2 <= window.comments == window.negative
    newest = await fp.window("starlight", "5m")
    assert newest.comments >= window.comments
    assert await fp.window("nowhere", "5m") is None


async def test_what_the_client_cannot_read_is_named(fp: Fanpulse):
    await fp.redis.xadd(fp.keys.alerts, {"alert": '{"schema": 2}'})
    with pytest.raises(ConfigurationError, match="no Alert of schema 1"):
        await fp.recent_alerts()


async def test_questions_raise_unavailable_while_redis_is_away_and_subscriptions_wait(tmp_path):
    server = Redis(tmp_path)
    async with AsyncExitStack() as stack:
        await server.start()
        fp = await stack.enter_async_context(Fanpulse(server.url))
        alerts = await stack.enter_async_context(aclosing(fp.alerts(NOON)))
        waiting = asyncio.ensure_future(anext(alerts))
        await server.stop()
        with pytest.raises(Unavailable):
            await fp.history("starlight", NOON, NOON)
        await server.start()
        stack.push_async_callback(server.stop)
        await fp.redis.xadd(fp.keys.alerts, {"alert": alert(1).model_dump_json()})
        async with asyncio.timeout(60):
            assert await waiting == alert(1)


async def test_a_user_without_rights_is_told_so_rather_than_left_waiting(redis_server: Redis, fp: Fanpulse):
    await settle(fp, 0, range(1))
    await fp.redis.execute_command("ACL", "SETUSER", "reader", "on", ">pass", "~*", "+@read", "+ping")
    url = redis_server.url.replace("redis://", "redis://reader:pass@")
    async with Fanpulse(url) as reader:
        assert len(await reader.recent(5)) == 1
        with pytest.raises(ConfigurationError, match="refuses"):
            await anext(reader.events("readers"))


async def test_all_of_it_works_on_redis_cluster(tmp_path):
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node) for node in cluster(tmp_path)]
        await join(nodes)
        fp = await stack.enter_async_context(Fanpulse(nodes[0].url, cluster=True))
        for partition in range(4):
            await settle(fp, partition, range(2))
        ids = await take(fp, 7)
        assert len(set(ids)) == 7
        assert len(await fp.recent(100)) == 8
        (minute,) = await fp.history("starlight", NOON, NOON + timedelta(minutes=1))
        assert minute.comments == 8
        await fp.redis.xadd(fp.keys.alerts, {"alert": alert(1).model_dump_json()})
        assert await fp.recent_alerts() == [alert(1)]
        assert list(await fp.communities()) == ["starlight"]
