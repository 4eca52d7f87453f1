"""The pipeline by itself, on real services."""

import asyncio
import gc
import time
from collections.abc import Iterator

import pytest
from aiokafka import ConsumerRecord
from faust.types import TP

from stream.models import Models
from stream.patience import Patience
from stream.pipeline import Pipeline
from stream.positions import Batch
from stream.rejects import Rejects
from stream.scorer import Scorer
from stream.settings import Settings
from stream.shadow import Shadow
from stream.sink import Sink
from tests import tiny_model
from tests.stream.deployment import Deployment, comment

pytestmark = pytest.mark.connected


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only what nothing refers to any more is freed: what refers to itself stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def batch_of(values: list[bytes], topic: str) -> Batch:
    now_ms = int(time.time() * 1000)
    records = [
        ConsumerRecord(topic, 0, offset, now_ms, 0, None, value, None, 0, len(value), ())
        for offset, value in enumerate(values)
    ]
    return Batch(TP(topic, 0), 0, len(values), records, 0)


@pytest.mark.usefixtures("no_collector")
async def test_a_settled_batch_is_freed_at_once_rejects_and_all(deployment: Deployment) -> None:
    settings = Settings(triton_url=deployment.triton.url, models={"zh": tiny_model.NAME})
    scorer = Scorer.of(settings)
    models = Models(scorer, deployment.client, deployment.keys, settings.models)
    await models.start()
    sink = Sink(deployment.client, deployment.keys, events_kept=10, minutes_kept_s=60, hours_kept_s=60)
    await sink.open(TP(deployment.topic, 0), 0)
    pipeline = Pipeline(
        settings,
        models=models,
        scorer=scorer,
        rejects=Rejects(deployment.producer, deployment.rejected),
        sink=sink,
        shadow=Shadow(models, scorer, request_texts=8),
        patience=Patience(5, asyncio.Event, lambda: None),
    )
    await pipeline.process(
        batch_of([comment(1), b"no json", comment(2, ""), comment(3, lang="ja")], deployment.topic)
    )
    await scorer.close()
    assert len(await deployment.dead_letters()) == 3
    mine = [o for o in gc.get_objects() if isinstance(o, ConsumerRecord) and o.topic == deployment.topic]
    assert mine == []
