"""Faust fed by whole fetch batches, against a real broker and its traps."""

import asyncio
import signal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local import Kafka, Redis, Triton
from tests.stream.conftest import Deploy
from tests.stream.deployment import PATIENCE_S, Deployment, comment, until


@pytest.fixture
async def deployment(deploy: Deploy) -> Deployment:
    return await deploy(batch_records=50)


async def test_what_an_aborted_transaction_wrote_has_no_effect_and_markers_leave_no_hole(
    deployment: Deployment,
) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=deployment.kafka.bootstrap, transactional_id=f"tx-{deployment.topic}"
    ) as producer:
        for turn in range(6):
            await producer.begin_transaction()
            for number in range(7):
                await producer.send(deployment.topic, comment(turn * 7 + number), partition=0)
            await (producer.abort_transaction() if turn % 2 else producer.commit_transaction())
    await deployment.send([comment(100)])
    await deployment.worker()
    await deployment.settled(6 * 8 + 1)  # seven records and a marker each, then one more
    events = await deployment.events()
    assert [event["id"] for event in events] == [
        *(f"comment-{turn * 7 + number}" for turn in (0, 2, 4) for number in range(7)),
        "comment-100",
    ]


async def test_offsets_that_compaction_took_are_passed(
    tmp_path: Path, redis_server: Redis, triton: Triton
) -> None:
    quick = {"log.cleaner.backoff.ms": 100, "log.cleaner.min.cleanable.ratio": 0.01}
    async with Kafka(tmp_path / "kafka", properties=quick) as kafka:
        deployment = Deployment(kafka, redis_server, triton, tmp_path)
        await deployment.create_topics(**{"cleanup.policy": "compact", "segment.bytes": str(2**20)})
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for number in range(600):
                key = b"same" if 50 <= number < 550 else str(number).encode()
                value = comment(number, padding="x" * 8000)  # several segments: the newest is never compacted
                await producer.send(deployment.topic, value, key=key, partition=0)

        async def compacted() -> bool:
            return len(await deployment.records()) < 400

        await until(compacted, what="the log to be compacted")
        left = [record.offset for record in await deployment.records()]
        await deployment.worker(batch_records=50)
        await deployment.settled(600)
        assert [event["source"]["offset"] for event in await deployment.events()] == left
        for worker in deployment.workers:
            await worker.stop()
        await deployment.client.aclose()


@pytest.mark.parametrize("how", ["raising", "clinging"])
async def test_an_agent_that_raises_stops_the_worker_with_its_batch_unacknowledged(
    deployment: Deployment, how: str
) -> None:
    await deployment.send([comment(number) for number in range(10)])
    worker = await deployment.worker(module=("tests.stream.staged", how))
    assert await asyncio.wait_for(worker.process.wait(), PATIENCE_S) == 1
    assert "ZeroDivisionError" in worker.log.read_text()
    assert await deployment.fence() == 0
    assert not await deployment.committed()
    assert await deployment.events() == []


async def test_a_stop_while_scoring_settles_the_batch_and_commits_it(
    deployment: Deployment, tmp_path: Path
) -> None:
    await deployment.send([comment(number) for number in range(30)])
    worker = await deployment.worker(module=("tests.stream.staged", "held", str(tmp_path)))

    async def it_scores() -> bool:
        return (tmp_path / "asked").exists()

    await until(it_scores, what="the worker to score")
    worker.signal(signal.SIGTERM)
    assert await deployment.fence() == 0
    (tmp_path / "let-go").touch()
    assert await asyncio.wait_for(worker.process.wait(), PATIENCE_S) == 0
    assert await deployment.fence() == 30
    assert await deployment.committed() == 30
    assert len(await deployment.events()) == 30


async def test_a_partition_taken_away_while_a_batch_is_in_flight_is_settled_once(
    deploy: Deploy,
) -> None:
    deployment = await deploy(partitions=2, batch_records=20)
    for partition in range(2):
        await deployment.send([comment(number) for number in range(1500)], partition)
    await deployment.worker()
    await deployment.settled(20)
    await deployment.worker()  # joins while the first one works: a rebalance
    for partition in range(2):
        await deployment.settled(1500, partition)
        events = await deployment.events(partition)
        assert [event["source"]["offset"] for event in events] == list(range(1500))
        assert (await deployment.bucket("m", partition))["n"] == 1500


async def test_commits_never_run_ahead_of_the_fence(deployment: Deployment) -> None:
    await deployment.send([comment(number) for number in range(2000)])
    await deployment.worker()

    async def all_settled() -> bool:
        committed = await deployment.committed() or 0
        assert committed <= await deployment.fence()
        return committed == 2000

    await until(all_settled, what="everything to be committed")


async def test_a_topic_made_anew_below_its_fence_stops_the_worker_with_the_reason(
    deployment: Deployment,
) -> None:
    await deployment.client.hset(deployment.keys.partition(deployment.topic, 0).fence, "next", 500)
    worker = await deployment.worker()
    assert await asyncio.wait_for(worker.process.wait(), 60) == 2
    assert "the log ends at 0" in worker.log.read_text()
