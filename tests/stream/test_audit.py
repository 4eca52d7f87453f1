"""The audit finds what breaks the guarantee, and only that."""

import asyncio
import os
import sys

import orjson
import pytest

from tests.stream.conftest import Deploy
from tests.stream.deployment import Deployment, comment

ANGRY = "今天怒"


@pytest.fixture
async def settled(deploy: Deploy) -> Deployment:
    """40 records in each of two partitions, every tenth unreadable, all settled, the worker gone."""
    deployment = await deploy(partitions=2)
    for partition in range(2):
        values = [b"garbage" if n % 10 == 9 else comment(n, ANGRY) for n in range(40)]
        await deployment.send(values, partition)
    worker = await deployment.worker()
    for partition in range(2):
        await deployment.settled(40, partition)
    await worker.stop()
    return deployment


async def audited(deployment: Deployment) -> tuple[int, dict[str, object], list[str]]:
    """Exit code, the whole result and the differences that `fanpulse audit --json` names."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "audit", "--json"),
        env={**os.environ, **deployment.environment()},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    result = orjson.loads(output)
    named = [difference for partition in result["partitions"] for difference in partition["named"]]
    return process.returncode, result, named


async def test_what_was_settled_once_passes(settled: Deployment) -> None:
    code, result, named = await audited(settled)
    assert (code, named) == (0, [])
    for partition in result["partitions"]:
        assert (partition["records"], partition["events"], partition["rejected"]) == (40, 36, 4)
        assert partition["waiting"] == partition["trimmed"] == partition["unchecked_buckets"] == 0
        assert partition["buckets"] > 0


async def test_a_lost_event_is_found(settled: Deployment) -> None:
    await settled.client.xdel(settled.keys.partition(settled.topic, 1).events, "7-1")
    code, _, named = await audited(settled)
    assert code == 1
    assert "offset 7: neither an event nor rejected" in named


async def test_an_increment_made_twice_is_found(settled: Deployment) -> None:
    root = settled.keys.partition(settled.topic, 0).root
    key = await anext(settled.client.scan_iter(match=f"{root}h:*"))
    await settled.client.hincrby(key, "neg", 1)
    code, _, named = await audited(settled)
    assert code == 1
    assert len(named) == 1
    assert "neg is" in named[0]


async def test_an_event_from_nowhere_is_found(settled: Deployment) -> None:
    keys = settled.keys.partition(settled.topic, 0)
    event = (await settled.events())[0]
    event["source"]["offset"] = 900
    await settled.client.xadd(keys.events, {"event": orjson.dumps(event)}, id="900-1")
    code, _, named = await audited(settled)
    assert code == 1
    assert "offset 900: an event without a record in Kafka" in named


async def test_a_fence_behind_the_committed_offset_is_found(settled: Deployment) -> None:
    await settled.client.hset(settled.keys.partition(settled.topic, 0).fence, "next", 10)
    code, _, named = await audited(settled)
    assert code == 1
    assert "committed offset 40 is ahead of the fence 10" in named


async def test_trimmed_events_are_said_to_be_uncheckable(settled: Deployment) -> None:
    await settled.client.xtrim(settled.keys.partition(settled.topic, 0).events, maxlen=10, approximate=False)
    code, result, _ = await audited(settled)
    assert code == 0
    first = result["partitions"][0]
    assert first["trimmed"] == 26
    assert first["unchecked_buckets"] > 0


async def test_what_is_not_settled_yet_waits_and_is_no_difference(settled: Deployment) -> None:
    await settled.send([comment(100, ANGRY)], 0)
    code, result, _ = await audited(settled)
    assert code == 0
    assert result["partitions"][0]["waiting"] == 1
