"""The worker on real Kafka, Redis and Triton: good days, bad input and bad days."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from deploy.local import Kafka, Redis, Triton
from deploy.local.ports import free_port
from stream.app import Worker
from stream.comments import Reason
from stream.errors import Unavailable
from stream.scorer import Scorer
from stream.settings import Settings
from tests import tiny_model
from tests.faults.proxy import Proxy
from tests.stream.conftest import Deploy
from tests.stream.deployment import PATIENCE_S, Deployment, comment, deployed, until

ANGRY, HAPPY = "今天怒", "今天乐"


@pytest.fixture
async def fragile(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Services of its own, for tests that break them."""
    repository = tmp_path / "models"
    tiny_model.write(repository)
    async with (
        Kafka(tmp_path / "kafka") as kafka,
        Redis(tmp_path / "redis", config=["appendfsync always"]) as redis,
        Triton(tmp_path / "triton", repository=repository) as triton,
        deployed(kafka, redis, triton, tmp_path, triton_timeout_s=3) as deployment,
    ):
        yield deployment


async def assert_each_offset_has_one_event(deployment: Deployment, count: int, partition: int = 0) -> None:
    events = await deployment.events(partition)
    assert [event["source"]["offset"] for event in events] == list(range(count))
    assert (await deployment.bucket("m", partition))["n"] == count
    assert (await deployment.bucket("h", partition))["n"] == count


async def test_comments_become_events_buckets_and_a_fence(deployment: Deployment) -> None:
    await deployment.send([comment(0, ANGRY), comment(1, HAPPY), comment(2, ANGRY)])
    await deployment.worker()
    await deployment.settled(3)

    events = await deployment.events()
    assert [event["labels"] for event in events] == [["anger"], ["joy"], ["anger"]]
    assert [event["negative"] for event in events] == [True, False, True]
    assert events[0]["model"] == f"{tiny_model.NAME}/1"
    assert events[0]["author"] != "author-0"
    bucket = await deployment.bucket("m")
    assert (bucket["n"], bucket["neg"], bucket["l:anger"], bucket["l:joy"]) == (3, 2, 2, 1)


async def test_sigterm_settles_what_is_in_flight_commits_and_exits_0(deployment: Deployment) -> None:
    await deployment.send([comment(number, ANGRY) for number in range(5000)])
    worker = await deployment.worker(batch_records=256)
    await deployment.settled(256)
    assert await worker.stop() == 0

    fence = await deployment.fence()
    assert await deployment.committed() == fence
    assert len(await deployment.events()) == fence


async def test_two_workers_share_the_partitions_and_one_takes_over_from_a_killed_one(
    deploy: Deploy,
) -> None:
    deployment = await deploy(partitions=4, batch_records=64)
    first, second = await deployment.worker(), await deployment.worker()

    async def both_own_some() -> bool:
        owned = [await worker.web("/metrics") for worker in (first, second)]
        return all("fanpulse_assigned_partitions 2.0" in metrics for _, metrics in owned)

    await until(both_own_some, what="each worker to own two partitions")
    for partition in range(4):
        await deployment.send([comment(number, ANGRY) for number in range(600)], partition)
    await deployment.settled(64, partition=0)
    await first.kill()
    for partition in range(4):
        await deployment.settled(600, partition)
        await assert_each_offset_has_one_event(deployment, 600, partition)


async def test_bad_records_are_rejected_with_their_reason_and_their_neighbours_scored(
    deployment: Deployment,
) -> None:
    year_ahead = int(time.time() * 1000) + 366 * 86_400_000
    bad: dict[bytes | None, Reason] = {
        b"garbage": Reason.NOT_JSON,
        None: Reason.NULL_VALUE,
        b'{"id": "x"}': Reason.INVALID,
        comment(1, "\u200b \n"): Reason.EMPTY_TEXT,
        comment(2, "好" * 10_001): Reason.TEXT_TOO_LONG,
        comment(3, id="x" * 257): Reason.INVALID,
        comment(4, community="社" * 100): Reason.INVALID,
        comment(5, id=7): Reason.INVALID,
        comment(6, created_at="1800000000"): Reason.INVALID,
        comment(7, created_at=year_ahead): Reason.TIMESTAMP_OUT_OF_BOUNDS,
        comment(8, created_at=900_000_000_000): Reason.TIMESTAMP_OUT_OF_BOUNDS,
        comment(9, "こんにちは、元気ですか"): Reason.UNSUPPORTED_LANGUAGE,
        comment(10).replace(b"author-3", b"\\ud800"): Reason.NOT_JSON,
        comment(11, "a\0b", id="nul\0"): Reason.INVALID,
        comment(12).replace(b'"text"', b'"likes":NaN,"text"'): Reason.NOT_JSON,
        b"[" * 100_000: Reason.NOT_JSON,
        comment(13, padding="x" * 1_000_000): Reason.TOO_LARGE,
    }
    records = [record for value in bad for record in (comment(100, HAPPY), value)]
    await deployment.send(records)
    await deployment.worker()
    await deployment.settled(len(records))

    assert len(await deployment.events()) == len(bad)
    assert (await deployment.bucket("m"))["rej"] == len(bad)
    letters = await deployment.dead_letters()
    assert {letter.value: dict(letter.headers)["reason"].decode() for letter in letters} == {
        value or b"": reason.value for value, reason in bad.items()
    }
    for letter in letters:
        headers = dict(letter.headers)
        offset = int(headers["source.offset"])
        assert letter.key.decode() == f"{deployment.topic}:0:{offset}"
        assert (records[offset] or b"") == letter.value


async def test_a_text_that_the_model_refuses_is_found_and_rejected_alone(deployment: Deployment) -> None:
    texts = [HAPPY, "@ada", ANGRY]
    await deployment.send([comment(number, text) for number, text in enumerate(texts)])
    await deployment.worker()
    await deployment.settled(3)
    assert len(await deployment.events()) + len(await deployment.dead_letters()) == 3


async def test_while_triton_is_away_nothing_is_rejected_and_work_resumes_by_itself(
    fragile: Deployment,
) -> None:
    worker = await fragile.worker()
    await fragile.send([comment(0, ANGRY)])
    await fragile.settled(1)
    await fragile.triton.kill()
    await fragile.send([comment(number, f"{ANGRY} {number}") for number in range(1, 300)])

    async def breaker_is_open() -> bool:
        _, metrics = await worker.web("/metrics")
        return 'fanpulse_breaker_open{service="Triton"} 1.0' in metrics

    await until(breaker_is_open, what="the breaker to open")
    assert (await worker.web("/ready"))[0] == 503
    assert (await worker.web("/live"))[0] == 200
    await fragile.triton.start()
    await fragile.settled(300)
    await assert_each_offset_has_one_event(fragile, 300)
    assert await fragile.dead_letters() == []
    assert (await worker.web("/ready"))[0] == 200


async def test_a_redis_that_restarts_gets_each_batch_once(fragile: Deployment) -> None:
    await fragile.worker(batch_records=32)
    await fragile.send([comment(number, ANGRY) for number in range(400)])
    await fragile.settled(32)
    await fragile.redis.kill()
    await fragile.send([comment(number, ANGRY) for number in range(400, 800)])
    await fragile.redis.start()
    await fragile.settled(800)
    await assert_each_offset_has_one_event(fragile, 800)


async def test_an_emptied_redis_is_rebuilt_from_kafka(fragile: Deployment) -> None:
    await fragile.worker(batch_records=64)
    await fragile.send([comment(number, ANGRY) for number in range(500)])
    await fragile.settled(500)
    before = await fragile.events()
    await fragile.client.flushall()
    await fragile.send([comment(500, ANGRY)])
    await fragile.settled(501)
    await assert_each_offset_has_one_event(fragile, 501)
    forget = {"scored_at": None}
    assert [{**event, **forget} for event in (await fragile.events())[:500]] == [
        {**event, **forget} for event in before
    ]


async def test_an_emptied_redis_is_rebuilt_though_no_further_comment_comes(fragile: Deployment) -> None:
    await fragile.worker()
    await fragile.send([comment(number, ANGRY) for number in range(100)])
    await fragile.settled(100)
    await fragile.client.flushall()
    await fragile.settled(100)
    await assert_each_offset_has_one_event(fragile, 100)


async def test_a_redis_restored_from_an_old_copy_is_brought_up_to_date(fragile: Deployment) -> None:
    await fragile.worker(batch_records=64)
    await fragile.send([comment(number, ANGRY) for number in range(200)])
    await fragile.settled(200)
    log_folder = fragile.redis.folder / "appendonlydir"
    old = {file.name: file.read_bytes() for file in log_folder.iterdir()}
    await fragile.send([comment(number, ANGRY) for number in range(200, 400)])
    await fragile.settled(400)

    await fragile.redis.kill()
    for file in log_folder.iterdir():
        file.unlink()
    for name, content in old.items():
        (log_folder / name).write_bytes(content)
    await fragile.redis.start()
    assert await fragile.fence() == 200
    await fragile.send([comment(400, ANGRY)])
    await fragile.settled(401)
    await assert_each_offset_has_one_event(fragile, 401)


async def test_a_kafka_that_restarts_leaves_no_double_effect(fragile: Deployment) -> None:
    worker = await fragile.worker(batch_records=64)
    await fragile.send([comment(number, ANGRY) for number in range(500)])
    await fragile.settled(64)
    await fragile.kafka.kill()
    await asyncio.sleep(0)
    await fragile.kafka.start()
    await fragile.send([comment(number, ANGRY) for number in range(500, 700)])
    await fragile.settled(700)
    await assert_each_offset_has_one_event(fragile, 700)
    assert worker.process.returncode is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"models": orjson.dumps({"en": tiny_model.NAME}).decode()}, "tiny_zh/1, which knows zh"),
        ({"models": orjson.dumps({"zh": "no_such_model"}).decode()}, "no_such_model"),
        ({"comments_topic": "no-such-topic"}, "no-such-topic: run `fanpulse topics --create`"),
        ({"profile": "production"}, "FANPULSE_PSEUDONYM_KEY"),
        ({"redis_url": "http://127.0.0.1"}, "FANPULSE_REDIS_URL"),
    ],
    ids=["language", "model", "topic", "key", "url"],
)
async def test_what_cannot_work_is_refused_at_start_and_named(
    deployment: Deployment, settings: dict[str, str], said: str
) -> None:
    worker = await deployment.worker(**settings)
    assert await asyncio.wait_for(worker.process.wait(), PATIENCE_S) == 2
    assert said in worker.log.read_text()


async def test_a_kafka_that_goes_away_once_the_topics_are_checked_is_waited_for(
    deployment: Deployment,
) -> None:
    port = free_port()
    settings = Settings(kafka_url=f"kafka://127.0.0.1:{port}")
    worker = Worker(settings, Scorer.of(settings))
    with pytest.raises(Unavailable, match="Kafka"):
        await worker._start_producer()
    async with Proxy(int(deployment.kafka.bootstrap.rpartition(":")[2]), port):
        await worker._start_producer()
        await worker._producer.stop()


async def test_a_worker_that_waits_for_triton_leaves_at_sigterm(deployment: Deployment) -> None:
    worker = await deployment.worker(triton_url="grpc://127.0.0.1:1")

    async def it_waits() -> bool:
        return "Triton is unavailable" in worker.log.read_text()

    await until(it_waits, what="the worker to wait for Triton")
    worker.signal(signal.SIGTERM)
    assert await asyncio.wait_for(worker.process.wait(), PATIENCE_S) == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_worker_leaves_at_sigterm_though_kafka_is_away(
    fragile: Deployment, how: signal.Signals
) -> None:
    await fragile.send([comment(n, HAPPY) for n in range(10)])
    worker = await fragile.worker(drain_s=1)
    await fragile.settled(10)
    assert fragile.kafka.process is not None
    fragile.kafka.process.send_signal(how)
    assert await worker.stop() == 0
    fragile.kafka.process.send_signal(signal.SIGCONT)


async def test_a_worker_that_still_waits_tells_its_metrics_and_that_it_is_not_ready(
    deployment: Deployment,
) -> None:
    worker = await deployment.worker(triton_url="grpc://127.0.0.1:1")
    assert (await worker.web("/metrics"))[0] == 200
    assert (await worker.web("/live"))[0] == 200
    status, missing = await worker.web("/ready")
    assert status == 503
    assert "Triton does not answer" in missing


async def test_a_worker_gives_up_when_triton_stays_away(deployment: Deployment) -> None:
    worker = await deployment.worker(triton_url="grpc://127.0.0.1:1", give_up_after_s=1)
    assert await asyncio.wait_for(worker.process.wait(), PATIENCE_S) == 1
    assert "gave up after 1 s" in worker.log.read_text()


async def test_comment_texts_and_authors_stay_out_of_the_log(deployment: Deployment) -> None:
    worker = await deployment.worker()
    await deployment.send([comment(1, "独一无二的句子"), comment(2, "独一无二的句子", created_at="never")])
    await deployment.settled(2)
    await worker.stop()
    log = worker.log.read_text()
    assert "events=1 rejected=1" in log
    assert "独一无二" not in log
    assert "author-" not in log
