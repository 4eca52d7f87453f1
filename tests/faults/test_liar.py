"""A Triton that lies is away, not right: its answers reject no comment and settle none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local import Kafka, Redis, Triton
from deploy.local.ports import free_port
from stream.comments import Rejected
from stream.errors import Unavailable
from stream.scorer import Scorer
from tests import tiny_model
from tests.faults.liar import Liar, Lie
from tests.stream.deployment import comment, deployed, until

pytestmark = pytest.mark.connected

ANGRY = "今天怒"


@pytest.fixture
async def liar(triton: Triton) -> AsyncIterator[Liar]:
    async with Liar(triton.port, free_port()) as liar:
        yield liar


@pytest.fixture
async def scorer(liar: Liar) -> AsyncIterator[Scorer]:
    scorer = Scorer(
        f"127.0.0.1:{liar.port}", timeout_s=2, request_texts=8, requests_in_flight=2, cached_texts=0
    )
    yield scorer
    await scorer.close()


@pytest.mark.parametrize("lie", ["nan", "shape", "internal", "unavailable", "refuse", "overloaded", "silent"])
async def test_while_every_answer_is_wrong_no_text_is_rejected(scorer: Scorer, liar: Liar, lie: Lie) -> None:
    model = await scorer.load(tiny_model.NAME)
    liar.lie = lie
    with pytest.raises(Unavailable):
        await scorer.score(model, [ANGRY, "今天乐", "哦"])


@pytest.mark.parametrize("lie", ["nan", "refuse"])
async def test_a_refusal_that_ends_before_the_probe_is_not_believed(
    scorer: Scorer, liar: Liar, lie: Lie
) -> None:
    model = await scorer.load(tiny_model.NAME)
    liar.lie, liar.lies_left = lie, 1
    (scores,) = await scorer.score(model, [ANGRY])
    assert not isinstance(scores, Rejected)


async def test_a_worker_whose_triton_hangs_is_not_live_and_leaves_when_its_patience_is_spent(
    kafka: Kafka, redis_server: Redis, triton: Triton, liar: Liar, tmp_path: Path
) -> None:
    async with deployed(
        kafka,
        redis_server,
        triton,
        tmp_path,
        triton_url=f"grpc://127.0.0.1:{liar.port}",
        triton_timeout_s=4,
        live_within_s=2,
        give_up_after_s=10,
    ) as deployment:
        worker = await deployment.worker()
        await deployment.send([comment(0, ANGRY)])
        await deployment.settled(1)
        assert (await worker.web("/live"))[0] == 200
        liar.lie = "silent"
        await deployment.send([comment(1, "今天乐")])

        async def is_not_live() -> bool:
            return (await worker.web("/live"))[0] == 503

        await until(is_not_live, what="/live to fail")
        assert await worker.process.wait() == 1
        assert "gave up after 10 s" in worker.log.read_text()
        assert await deployment.fence() == 1
