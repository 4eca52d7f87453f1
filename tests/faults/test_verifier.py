"""The verifier finds what it is there to find: every kind of damage is called by its name."""

import hmac
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord

from deploy.local import Redis
from tests.faults.observed import Names, Partition
from tests.faults.oracle import Oracle
from tests.faults.recount import recount, recount_authors
from tests.faults.verifier import Verdict, Verifier

NAMES = Names("comments", "comments.rejected", "group", 1)
KEY = b"a key for the verifier"
NOON_MS = 1_795_262_400_000
NOON = "2026-11-21T12:00:00Z"
AUTHOR = hmac.digest(KEY, b"ann", "sha256")[:16].hex()
TASKS = {
    "emotion": {
        "kind": "multilabel",
        "labels": ["anger", "joy"],
        "negative": ["anger"],
        "thresholds": [0.5, 0.5],
    }
}


class OneAnswer(Oracle):
    """Knows one model that says the same of every text."""

    def __init__(self) -> None:
        pass

    async def tasks(self, _: str) -> dict[str, Any]:
        return TASKS

    async def scores(self, _: str, __: str) -> dict[str, list[float]]:
        return {"emotion": [0.9, 0.1]}


def record(offset: int, value: bytes, headers: dict[str, bytes], topic: str = "comments") -> ConsumerRecord:
    return ConsumerRecord(
        topic=topic,
        partition=0,
        offset=offset,
        timestamp=NOON_MS,
        timestamp_type=0,
        key=b"k",
        value=value,
        checksum=None,
        serialized_key_size=1,
        serialized_value_size=len(value),
        headers=tuple(headers.items()),
    )


def comment(offset: int) -> ConsumerRecord:
    body = {"id": f"c{offset}", "community": "moon", "text": "气", "created_at": NOON_MS, "author": "ann"}
    return record(offset, json.dumps(body).encode(), {"text": "气".encode()})


def event(offset: int, **changes: Any) -> tuple[str, bytes]:
    body = {
        "schema": 1,
        "id": f"c{offset}",
        "community": "moon",
        "author": AUTHOR,
        "post_id": None,
        "reply_to": None,
        "lang": "zh",
        "text": "气",
        "created_at": NOON,
        "scored_at": NOON,
        "scores": {"anger": 0.9, "joy": 0.1},
        "labels": ["anger"],
        "negativity": 0.9,
        "negative": True,
        "tasks": {},
        "model": "m/1",
        "source": {"topic": "comments", "partition": 0, "offset": offset},
        **changes,
    }
    return f"{offset}-1", json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def letter(offset: int, value: bytes, reason: str = "not_json") -> ConsumerRecord:
    source = {"source.topic": b"comments", "source.partition": b"0", "source.offset": str(offset).encode()}
    return record(0, value, {"reason": reason.encode(), **source}, "comments.rejected")


def whole() -> Partition:
    """Two comments, one of them scored twice if damaged so, and one piece of poison: all as it should be."""
    poison = record(2, b"garbage", {"reason": b"not_json"})
    bare = Partition(
        number=0,
        records={0: comment(0), 1: comment(1), 2: poison},
        end=3,
        committed=3,
        fence=3,
        events=[event(0), event(1)],
        buckets={},
        sketches={},
        letters={2: letter(2, b"garbage")},
    )
    sketches = {name.replace("m:", "am:").replace("h:", "a:"): 1 for name in recount_authors(bare)}
    return replace(
        bare, buckets={name: dict(fields) for name, fields in recount(bare).items()}, sketches=sketches
    )


def bucket_off_by_one(partition: Partition) -> Partition:
    name = f"m:{NOON_MS // 1000}:moon"
    return replace(partition, buckets={**partition.buckets, name: {**partition.buckets[name], "n": 3}})


DAMAGE: dict[str, Callable[[Partition], Partition]] = {
    "lost": lambda whole: replace(whole, events=whole.events[:1]),
    "duplicated": lambda whole: replace(whole, events=[*whole.events, event(1)]),
    "out of order": lambda whole: replace(whole, events=whole.events[::-1]),
    "both event and dead letter": lambda whole: replace(
        whole, letters={**whole.letters, 1: letter(1, b"garbage")}
    ),
    "out of nothing": lambda whole: replace(whole, events=[*whole.events, event(7)]),
    "fence not at the end": lambda whole: replace(whole, fence=2),
    "commit ahead": lambda whole: replace(whole, committed=4),
    "wrong score": lambda whole: replace(
        whole, events=[event(0, scores={"anger": 0.8, "joy": 0.1}, negativity=0.8), event(1)]
    ),
    "wrong event": lambda whole: replace(whole, events=[event(0, community="sun"), event(1)]),
    "not as the schema says": lambda whole: replace(whole, events=[event(0, schema=2), event(1)]),
    "wrong entry ID": lambda whole: replace(whole, events=[("7-1", event(0)[1]), event(1)]),
    "wrong bucket": bucket_off_by_one,
    "wrong authors": lambda whole: replace(whole, sketches={}),
    "rejected what is valid": lambda whole: replace(
        whole, events=whole.events[:1], letters={**whole.letters, 1: letter(1, comment(1).value)}
    ),
    "scored what is poison": lambda whole: replace(whole, events=[*whole.events, event(2)], letters={}),
    "wrong dead letter": lambda whole: replace(whole, letters={2: letter(2, b"other bytes")}),
    "wrong reason": lambda whole: replace(whole, letters={2: letter(2, b"garbage", "invalid")}),
}


@pytest.fixture
async def verifier(redis_server: Redis) -> Verifier:
    return Verifier(redis_server.connect(), "", OneAnswer(), NAMES, KEY)


async def test_what_is_whole_is_called_whole(verifier: Verifier) -> None:
    verdict = Verdict()
    await verifier.judge(whole(), verdict)
    assert verdict.wrong == Counter()
    assert (verdict.comments, verdict.events, verdict.rejected) == (3, 2, 1)


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_found_and_named(verifier: Verifier, damage: str) -> None:
    verdict = Verdict()
    await verifier.judge(DAMAGE[damage](whole()), verdict)
    assert damage in verdict.wrong


async def test_an_event_is_compared_byte_for_byte(verifier: Verifier) -> None:
    entry, content = event(0)
    verdict = Verdict()
    await verifier.judge(
        replace(whole(), events=[(entry, content.replace(b":", b": ", 1)), event(1)]), verdict
    )
    assert verdict.wrong == Counter({"wrong event": 1})


async def test_a_snapshot_is_judged_up_to_its_fence(verifier: Verifier) -> None:
    earlier = replace(whole(), fence=1, events=[event(0)], sketches={}, buckets={})
    counted = {name: dict(fields) for name, fields in recount(earlier.settled_by_then()).items()}
    sketches = {n.replace("m:", "am:").replace("h:", "a:"): 1 for n in recount_authors(earlier)}
    for buckets, wrong in ((counted, Counter()), ({}, Counter({"wrong bucket": len(counted)}))):
        verdict = Verdict()
        then = replace(earlier, buckets=buckets, sketches=sketches).settled_by_then()
        await verifier.judge(then, verdict)
        assert verdict.wrong == wrong
        assert verdict.comments == 1


async def test_a_window_that_is_not_the_recount_is_found(verifier: Verifier) -> None:
    minute = NOON_MS // 1000
    moment = datetime.fromtimestamp(minute, UTC)
    window = {
        "size": "5m",
        "from": moment.isoformat(),
        "to": datetime.fromtimestamp(minute + 300, UTC).isoformat(),
        "comments": 2,
        "negative": 2,
        "negative_share": 1.0,
        "negativity": 0.9,
        "rejected": 0,
        "before": {"comments": 0},
        "emotions": {"anger": {"comments": 2}},
        "authors": 1,
    }
    buckets, authors = recount(whole()), recount_authors(whole())
    for comments, late_s, wrong in ((2, 0, []), (3, 0, ["wrong window"]), (2, 400, ["stale window"])):
        content = json.dumps({**window, "comments": comments})
        for size in ("5m", "1h", "24h"):
            await cast(Any, verifier.redis.hset("fp:window:moon", size, content))
        verdict = Verdict()
        await verifier.judge_windows(buckets, authors, verdict, stopped=minute + late_s)
        assert list(verdict.wrong) == wrong
    await cast(Any, verifier.redis.hdel("fp:window:moon", "1h"))
    await verifier.judge_windows(buckets, authors, verdict, stopped=minute)
    assert verdict.wrong["missing window"] == 1
