"""The shadow beside the main path: never waited for, counted when it is late or fails, compared on a real Triton."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import Metric

from deploy.local import Triton
from stream import metrics
from stream.model import Model
from stream.scorer import Scorer, Scores
from stream.settings import Settings
from stream.shadow import REQUESTS_QUEUED, Shadow
from tests import tiny_model
from tests.stream.deployment import until
from tests.stream.examples import MODEL, scores

OTHER = Model(MODEL.name, "4", MODEL.languages, MODEL.tasks)


class SlowScorer:
    """A Triton that answers when it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()

    async def infer(self, model: Model, texts: list[str]) -> list[Scores]:
        await self.let_go.wait()
        return [dict(scores(joy=0.9))] * len(texts)


def values(counter: Any, *labels: str) -> dict[tuple[str, ...], float]:
    """Samples of a metric whose first labels are `labels`, by the others."""
    families: list[Metric] = list(counter.collect())
    found = {
        tuple(sample.labels.values()): sample.value
        for sample in families[0].samples
        if not sample.name.endswith("_created")
    }
    return {key[len(labels) :]: value for key, value in found.items() if key[: len(labels)] == labels}


@pytest.fixture(autouse=True)
def counted_from_zero() -> None:
    for metric in (
        metrics.SHADOWED,
        metrics.SHADOW_AGREED,
        metrics.SHADOW_DIFFERENCE,
        metrics.SHADOW_LABELLED,
    ):
        metric.clear()


async def test_texts_that_find_the_queue_full_are_dropped_counted_and_never_waited_for() -> None:
    scorer: Any = SlowScorer()
    models: Any = SimpleNamespace(shadows={MODEL.name: OTHER})
    shadow = Shadow(models, scorer, request_texts=10)
    running = asyncio.create_task(shadow.run())
    texts = 10 * (REQUESTS_QUEUED + 3)
    shadow.offer((f"text {number}", scores(joy=0.9), MODEL) for number in range(texts))
    assert values(metrics.SHADOWED, MODEL.name, "3", "4") == {("dropped",): 30}
    scorer.let_go.set()

    async def all_compared() -> bool:
        return values(metrics.SHADOWED, MODEL.name, "3", "4").get(("compared",)) == texts - 30

    await until(all_compared)
    assert values(metrics.SHADOW_AGREED, MODEL.name) == {("3", "4"): texts - 30}
    running.cancel()


async def test_a_text_is_compared_once_a_batch_and_a_version_not_with_itself() -> None:
    scorer: Any = SlowScorer()
    scorer.let_go.set()
    models: Any = SimpleNamespace(shadows={MODEL.name: OTHER})
    shadow = Shadow(models, scorer, request_texts=10)
    running = asyncio.create_task(shadow.run())
    shadow.offer([("a", scores(joy=0.9), MODEL)] * 5 + [("b", scores(joy=0.9), OTHER)])

    async def compared() -> Any:
        return values(metrics.SHADOWED, MODEL.name)

    assert await until(compared) == {("3", "4", "compared"): 1}
    running.cancel()


async def test_without_a_shadow_nothing_is_looked_at() -> None:
    def never() -> Any:
        raise AssertionError("looked at")
        yield

    models: Any = SimpleNamespace(shadows={})
    scorer: Any = SlowScorer()
    Shadow(models, scorer, request_texts=10).offer(never())


async def test_the_labels_are_compared_by_name_and_the_scores_by_their_distance(triton: Triton) -> None:
    """The shadow lists the labels of the served version in another order, and says otherwise of one text."""
    real = Scorer.of(Settings(triton_url=triton.url))
    shadowing = await real.load(tiny_model.NAME)
    backwards = Model(
        "served_zh",
        "0",
        shadowing.languages,
        (
            type(shadowing.primary)(
                "emotion",
                "multilabel",
                shadowing.primary.labels[::-1],
                shadowing.primary.negative,
                shadowing.primary.thresholds,
            ),
        ),
    )
    low, high = tiny_model.LOW, tiny_model.HIGH
    joyful = tuple(high if label == "joy" else low for label in backwards.primary.labels)
    models: Any = SimpleNamespace(shadows={"served_zh": shadowing})
    shadow = Shadow(models, real, request_texts=10)
    running = asyncio.create_task(shadow.run())
    shadow.offer([("今天乐", {"emotion": joyful}, backwards), ("今天怒", {"emotion": joyful}, backwards)])

    async def compared() -> Any:
        return values(metrics.SHADOWED, "served_zh")

    assert await until(compared) == {("0", "1", "compared"): 2}
    assert values(metrics.SHADOW_AGREED, "served_zh", "0", "1") == {(): 1}
    labelled = values(metrics.SHADOW_LABELLED, "served_zh", "0", "1")
    assert {key: count for key, count in labelled.items() if count} == {
        ("joy", "served"): 2,
        ("joy", "shadow"): 1,
        ("anger", "shadow"): 1,
    }
    (total,) = (
        sample.value
        for family in metrics.SHADOW_DIFFERENCE.collect()
        for sample in family.samples
        if sample.name.endswith("_sum")
    )
    assert total == pytest.approx(2 * (high - low) / 9, abs=1e-5)
    running.cancel()
    await real.close()
