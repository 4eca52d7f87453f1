import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from deploy.local import Redis
from stream.alerts.backtest import replay
from stream.alerts.leader import Lease
from stream.alerts.rules_file import load
from stream.alerts.store import Store
from stream.alerts.watch import Watch
from stream.buckets import MINUTE
from stream.client import Fanpulse
from tests.stream.alerts import replica
from tests.stream.alerts.examples import rules_file
from tests.stream.alerts.receiver import receiving
from tests.stream.alerts.town import NOON, Town
from tests.stream.deployment import until

RULES = """
[[rule]]
name = "turning"
kind = "shift"
clear_for = "1m"
cool_down = "1m"

[[channel]]
name = "ops"
kind = "webhook"
url = "{url}/"
secret_env = "OPS_SECRET"
"""
KILLS = 3
MINUTES = 60


async def test_one_leads_and_another_takes_over_with_a_higher_token(redis_server: Redis):
    async with Fanpulse(redis_server.url) as fp:
        first, second = Lease(fp.redis, fp.keys, lease_s=0.2), Lease(fp.redis, fp.keys, lease_s=5)
        assert await first.hold() == 1
        assert await second.hold() is None
        assert await until(second.hold) == 2
        assert await first.hold() is None
        await second.release()
        assert await first.hold() == 3


async def test_replicas_killed_while_leading_double_nothing_and_miss_nothing(
    redis_server: Redis, tmp_path: Path
):
    """Three processes catch up on many eventful minutes; whoever leads is killed, again and again."""
    communities = [f"社区{number}" for number in range(5)]
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        fp = await stack.enter_async_context(Fanpulse(redis_server.url))
        path = rules_file(tmp_path, RULES.format(url=receiver.url))
        town = Town(fp)
        for number, community in enumerate(communities):
            await town.live(range(-60, number + 4), 1, comments=10, community=community)
            for turn in range(number + 4, MINUTES, 16):
                await town.live(range(turn, turn + 8), 8, comments=10, community=community)
                await town.live(range(turn + 8, turn + 16), 1, comments=10, community=community)
        store = Store(fp.redis, fp.keys)
        await fp.redis.hset(fp.keys.alert_root + "status", "minute", NOON - MINUTE)
        expected = await _expected(fp, path)
        assert len(expected) > 4 * len(communities)

        start = partial(_start, redis_server.url, path, time.time(), stack)
        living = [await start() for _ in range(3)]
        for _ in range(KILLS):
            leader = await _leader(living)
            progress = int((await store.status())["minute"])
            await until(partial(_judged, store, progress + 3 * MINUTE))
            leader.process.kill()
            await leader.process.wait()
            living = [one for one in living if one is not leader] + [await start()]
        await until(partial(_judged, store, NOON + (MINUTES - 1) * MINUTE))
        await until(partial(_delivered, store))
        assert int((await store.status())["minute"]) == NOON + (MINUTES - 1) * MINUTE
        published = Counter((alert.id, alert.state) for alert in await fp.recent_alerts(10_000))
        assert set(published) == expected
        assert set(published.values()) == {1}
        keys = {unquote(headers["Idempotency-Key"]) for _, headers, _ in receiver.got}
        assert keys == {f"{alert_id}/{state}" for alert_id, state in expected}
        assert int(await fp.redis.get(fp.keys.alert_root + "tokens")) > KILLS


async def _expected(fp: Fanpulse, path: Path) -> set[tuple[str, str]]:
    """What one process that nobody disturbs would tell."""
    watch = Watch(fp)
    await watch.newest()
    known = await watch.read(NOON + (MINUTES - 1) * MINUTE)
    minutes = range(NOON, NOON + MINUTES * MINUTE, MINUTE)
    told = set()
    for community, series in known.items():
        fired = 0
        for one in replay(load(path, None).rule, community, series, minutes):
            fired = one.minute if one.change == "firing" else fired
            told.add((f"turning/{community}/{fired}", one.change))
    return told


class _Replica:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.leads = False
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.leads = self.leads or line.startswith(b"leading")


async def _start(url: str, path: Path, started_at: float, stack: AsyncExitStack) -> _Replica:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", replica.__name__,
        url, path, str(NOON), str(NOON + MINUTES * MINUTE + 15), str(started_at),
        stderr=PIPE, env={**os.environ, "OPS_SECRET": "secret"},
    )  # fmt: skip
    started = _Replica(process)
    stack.push_async_callback(_end, started)
    return started


async def _end(started: _Replica) -> None:
    if started.process.returncode is None:
        started.process.kill()
    await started.process.wait()
    await started.listening


async def _leader(living: list[_Replica]) -> _Replica:
    async def leading() -> _Replica | None:
        return next((one for one in living if one.leads), None)

    found = await until(leading)
    assert isinstance(found, _Replica)
    return found


async def _judged(store: Store, minute: int) -> bool:
    return int((await store.status())["minute"]) >= minute


async def _delivered(store: Store) -> bool:
    return not await store.outbox()
