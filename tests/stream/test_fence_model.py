"""The fence on a real Redis, under any interleaving that hypothesis finds: settles, replays, zombies,
redeliveries, lost answers and lost writes end in the state of one clean pass.

The model counts with its own arithmetic; only the script and the batches it is given are the product's.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from faust.types import TP
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis as Client

from deploy.local import Redis
from stream.buckets import Settlement, settlement
from stream.errors import FenceMoved
from stream.events import dumps
from stream.keys import Keys
from stream.sink import Sink
from tests.stream import examples

TOPIC = TP("comments", 3)
KEYS = Keys("model").partition(*TOPIC)
LOG_END = 60
WORKERS = st.integers(0, 2)
EMOTIONS = {"joy": 0.9, "anger": 0.8, "sorrow": 0.7, "neutral": 0.6}


@dataclass(frozen=True)
class Spoken:
    """One record of the log; `emotion` None is one that is rejected."""

    offset: int
    community: str
    minute: int
    author: str
    emotion: str | None


LOG = st.lists(
    st.tuples(
        st.integers(1, 3),  # how far the offset is from the one before: logs have holes
        st.sampled_from(["星光", "moon"]),
        st.integers(0, 70),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([*EMOTIONS, None]),
    ),
    min_size=5,
    max_size=LOG_END,
)


def minute_of(spoken: Spoken) -> int:
    return examples.NOON_MS // 1000 + 60 * spoken.minute


def batch(position: int, end: int, records: list[Spoken]) -> Settlement:
    events = [
        examples.event(
            offset=one.offset,
            given=examples.scores(**{one.emotion: EMOTIONS[one.emotion]}),
            community=one.community,
            author=one.author,
            created_at_ms=minute_of(one) * 1000,
        )
        for one in records
        if one.emotion is not None
    ]
    rejected = [(one.community, minute_of(one) * 1000) for one in records if one.emotion is None]
    return settlement(position, end, [(event, dumps(event)) for event in events], rejected)


def recount(records: list[Spoken]) -> dict[str, Counter[str]]:
    """What the buckets of `records` hold, counted the plain way."""
    buckets: dict[str, Counter[str]] = {}
    for one in records:
        minute = minute_of(one)
        for name in (f"m:{minute}:{one.community}", f"h:{minute // 3600 * 3600}:{one.community}"):
            bucket = buckets.setdefault(name, Counter())
            if one.emotion is None:
                bucket["rej"] += 1
                continue
            score = round(EMOTIONS[one.emotion] * 1_000_000)
            negative = one.emotion in examples.NEGATIVE
            bucket.update(
                {"n": 1, f"l:{one.emotion}": 1, f"s:{one.emotion}": score}
                | ({"neg": 1, "negativity": score} if negative else {})
            )
    return {name: +bucket for name, bucket in buckets.items()}


@dataclass
class Worker:
    """A process that believes it owns the partition; `held` is sent until an answer arrives."""

    position: int | None = None  # None: not assigned
    held: Settlement | None = None


class Fence(RuleBasedStateMachine):
    """Three workers, of which any may be a zombie, and one partition."""

    server: Redis
    runner: asyncio.Runner

    @initialize(log=LOG)
    def begin(self, log: list[tuple[int, str, int, str, str | None]]) -> None:
        offset = 0
        self.log: list[Spoken] = []
        for step, community, minute, author, emotion in log:
            self.log.append(Spoken(offset, community, minute, author, emotion))
            offset += step
        self.end = self.log[-1].offset + 1
        self.workers = [Worker() for _ in range(3)]
        self.copy: dict[bytes, bytes] = {}  # Redis as it was at some time; empty: as it began
        self.client: Client = self.server.connect()
        self.sink = Sink(
            self.client, Keys("model"), events_kept=10_000, minutes_kept_s=7500, hours_kept_s=8 * 86400
        )
        self.do(self.client.flushall())

    def do(self, awaitable: Any) -> Any:
        return self.runner.run(_awaited(awaitable))

    def fence(self) -> int | None:
        fence: int | None = self.do(self.sink.fence(TOPIC))
        return fence

    @rule(number=WORKERS)
    def assign(self, number: int) -> None:
        """The partition comes to a worker, which seeks to the fence; the others need not know."""
        fence = self.fence()
        position = self.do(self.sink.open(TOPIC, 0)) if fence is None else fence
        self.workers[number] = Worker(position)

    @rule(number=WORKERS, back=st.integers(1, 30))
    def redeliver(self, number: int, back: int) -> None:
        """Kafka gives a worker records from below the fence, as after a commit that was lost."""
        fence = self.fence()
        if fence is not None:
            below = [one.offset for one in self.log if one.offset < fence]
            self.workers[number] = Worker(([0, *below])[-back:][0])

    @rule(number=WORKERS, size=st.integers(1, 12))
    def fetch(self, number: int, size: int) -> None:
        worker = self.workers[number]
        if worker.position is None or worker.held is not None:
            return
        records = [one for one in self.log if one.offset >= worker.position][:size]
        if records:
            worker.held = batch(worker.position, records[-1].offset + 1, records)

    @rule(number=WORKERS, answer_lost=st.booleans())
    def settle(self, number: int, answer_lost: bool) -> None:
        worker = self.workers[number]
        held = worker.held
        if held is None:
            return
        before = self.fence()
        if before is not None and before >= held.end:
            assert self.do(self.sink.settle(TOPIC, held)) == "settled"
        elif before == held.position:
            assert self.do(self.sink.settle(TOPIC, held)) == "applied"
        else:
            with pytest.raises(FenceMoved) as moved:
                self.do(self.sink.settle(TOPIC, held))
            assert moved.value.next_offset == before
            self.assign(number)
            return
        if not answer_lost:
            self.workers[number] = Worker(held.end)

    @rule()
    def copy_redis(self) -> None:
        """The append-only file as a later restore finds it."""
        self.copy = self.do(_dump(self.client))

    @rule()
    def lose_writes(self) -> None:
        """A failover or a restore: Redis goes back to what it was when it was copied, or to nothing."""
        self.do(_restore(self.client, self.copy))

    @precondition(lambda self: hasattr(self, "log"))
    @invariant()
    def redis_holds_what_one_clean_pass_to_the_fence_gives(self) -> None:
        fence = self.fence() or 0
        done = [one for one in self.log if one.offset < fence]
        self.check(done, fence)

    def check(self, done: list[Spoken], fence: int) -> None:
        entries = self.do(self.client.xrange(KEYS.events))
        clean = batch(0, fence, done)
        assert [(entry.decode(), fields[b"event"]) for entry, fields in entries] == [
            (f"{offset}-1", content) for offset, content in clean.events
        ]
        expected = recount(done)
        changed = dict(self.do(self.client.zrange(KEYS.changed, 0, -1, withscores=True)))
        assert {name.decode() for name in changed} == set(expected)
        for name, fields in expected.items():
            stored = self.do(self.client.hgetall(KEYS.bucket(name)))
            assert {field.decode(): int(value) for field, value in stored.items()} == fields
            assert self.do(self.client.ttl(KEYS.bucket(name))) > 0
            latest = max(one.offset for one in done if name in recount([one]))
            assert latest < changed[name.encode()] <= fence
            authors = {one.author for one in done if one.emotion and name in recount([one])}
            sketch = KEYS.bucket(name.replace("m:", "am:", 1) if name.startswith("m:") else "a" + name[1:])
            assert self.do(self.client.pfcount(sketch)) == len(authors)
        newest = {
            community: max(minute_of(one) for one in done if one.community == community)
            for community in {one.community for one in done}
        }
        stored = self.do(self.client.zrange(KEYS.communities, 0, -1, withscores=True))
        assert {community.decode(): int(minute) for community, minute in stored} == newest

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        self.assign(0)
        while (self.fence() or 0) < self.end:
            self.fetch(0, 12)
            self.settle(0, answer_lost=False)
        self.check(self.log, self.end)
        self.do(self.client.aclose())


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def _dump(client: Client) -> dict[bytes, bytes]:
    return {key: await client.dump(key) for key in await client.keys("*")}


async def _restore(client: Client, copy: dict[bytes, bytes]) -> None:
    await client.flushall()
    for key, content in copy.items():
        lasting = not key.endswith((b"fence", b"events", b"changed", b"communities"))
        await client.restore(key, 7_000_000 if lasting else 0, content)


@contextmanager
def _machine(server: Redis) -> Iterator[type[Fence]]:
    with asyncio.Runner() as runner:
        yield type("FenceOn" + server.executable.stem.title(), (Fence,), {"server": server, "runner": runner})


@pytest.mark.connected
def test_any_interleaving_ends_in_the_state_of_one_clean_pass(each_redis: Redis) -> None:
    with _machine(each_redis) as machine:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
