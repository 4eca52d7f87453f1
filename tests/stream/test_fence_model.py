"""The fence on a real Redis, under any interleaving that hypothesis finds: settles, replays, zombies,
redeliveries, lost answers and lost writes end in the state of one clean pass.

The model counts with its own arithmetic; only the script and the batches it is given are the product's.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from faust.types import TP
from hypothesis import HealthCheck, Phase, settings
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
from stream import sink
from stream.buckets import Settlement, settlement
from stream.errors import FenceMoved, Unavailable
from stream.events import dumps
from stream.keys import Keys
from stream.sink import Sink
from tests.stream import examples

TOPIC = TP("comments", 3)
KEYS = Keys("model").partition(*TOPIC)
LOG_END = 60
WORKERS = st.integers(0, 2)
SIZES = st.integers(1, 12)
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

    @rule(number=WORKERS, back=st.integers(1, 12), size=SIZES, at_once=st.booleans())
    def redeliver(self, number: int, back: int, size: int, at_once: bool) -> None:
        """Kafka gives a worker records from below the fence, as after a commit that was lost."""
        below = [one.offset for one in self.log if one.offset < (self.fence() or 0)]
        self.workers[number] = Worker(([0, *below])[-back:][0])
        self.fetch(number, size)
        if at_once:
            self.settle(number, size, answer_lost=False)

    @rule(number=WORKERS, size=SIZES)
    def fetch(self, number: int, size: int) -> None:
        if self.workers[number].position is None:
            self.assign(number)
        worker = self.workers[number]
        if worker.held is not None:
            return
        assert worker.position is not None
        records = [one for one in self.log if one.offset >= worker.position][:size]
        if records:
            worker.held = batch(worker.position, records[-1].offset + 1, records)

    @rule(number=WORKERS, size=SIZES, answer_lost=st.booleans())
    def settle(self, number: int, size: int, answer_lost: bool) -> None:
        """Send what is held, or is fetched now; a worker that hears no answer holds it still."""
        self.fetch(number, size)
        held = self.workers[number].held
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
        for _ in range(0, self.end, 4):  # 12 records a time, and one time more where another was ahead
            self.settle(0, size=12, answer_lost=False)
        assert self.fence() == self.end
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


def _play(server: Redis, **how: Any) -> None:
    with _machine(server) as machine:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
                **how,
            ),
        )


@pytest.mark.connected
def test_any_interleaving_ends_in_the_state_of_one_clean_pass(each_redis: Redis) -> None:
    _play(each_redis)


SETTLED = "if fence >= batch['end'] then return {'settled', fence} end\n"
MOVED = "if fence ~= batch.position then return {'moved', fence} end\n"
ADVANCED = "redis.call('HSET', KEYS[1], 'next', string.format('%.0f', batch['end']))\n"

MUTANTS = {
    "the fence is not looked at": (SETTLED + MOVED, ""),
    "a replay is not known": (SETTLED, ""),
    "a replay that ends at the fence is not known": ("fence >= batch['end']", "fence > batch['end']"),
    "a batch may begin anywhere": (MOVED, ""),
    "a batch may overlap the fence": ("fence ~= batch.position", "fence < batch.position"),
    "a batch may leave a hole": ("fence ~= batch.position", "fence > batch.position"),
    "no fence is a fence at 0": ("or -1)", "or 0)"),
    "the fence stays": (ADVANCED, ""),
    "the fence stops one short": (ADVANCED, ADVANCED.replace("batch['end']", "batch['end'] - 1")),
    "the fence moves before it is looked at": (SETTLED, ADVANCED + SETTLED),
    "it counts before it looks": (
        SETTLED,
        "redis.call('HINCRBY', string.sub(KEYS[1], 1, -6) .. next(batch.buckets), 'n', 1)\n" + SETTLED,
    ),
    "counts replace each other": ("'HINCRBY', root", "'HSET', root"),
    "an event has no place of its own": ("string.format('%.0f-1', event[1])", "'*'"),
    "the first event is forgotten": ("ipairs(batch.events)", "ipairs({unpack(batch.events, 2)})"),
    "authors are forgotten": ("pairs(batch.authors)", "pairs({})"),
    "nobody hears of a changed bucket": ("redis.call('ZADD', root .. 'changed', batch['end'], suffix)", ""),
    "a late comment turns the clock back": ("'communities', 'GT', minute", "'communities', minute"),
    "buckets stay for ever": ("  expire(suffix)\nend\nfor bucket", "end\nfor bucket"),
}


@pytest.mark.connected
@pytest.mark.parametrize("mutant", MUTANTS)
async def test_the_model_finds_a_script_that_is_wrong(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    right, wrong = MUTANTS[mutant]
    script = sink._SCRIPT
    assert script.count(right) == 1
    broken = script.replace(right, wrong)
    async with redis_server.connect() as client:
        await client.script_load(broken)  # what is not Lua at all is not found by the model
    monkeypatch.setattr(sink, "_SCRIPT", broken)
    monkeypatch.setattr(sink, "_DIGEST", hashlib.sha1(broken.encode()).hexdigest())
    with pytest.raises((AssertionError, pytest.fail.Exception, FenceMoved, Unavailable)):
        await asyncio.to_thread(
            _play,
            redis_server,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
        )
