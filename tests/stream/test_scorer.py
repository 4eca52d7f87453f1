"""The scorer on a real Triton: distinct texts, refusals found by bisection, limits, and a Triton that is away."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from deploy.local import Triton
from stream.breaker import Breaker
from stream.comments import Reason, Rejected
from stream.errors import ConfigurationError, InputRefused, Unavailable
from stream.model import Model
from stream.scorer import Scorer, Scores
from stream.settings import Settings
from tests import tiny_model


class CountingScorer(Scorer):
    """Remembers which texts each request held."""

    def watch(self) -> None:
        self.requests: list[list[str]] = []
        self.under_way = self.most_under_way = 0

    async def infer(self, model: Model, texts: list[str]) -> list[Scores]:
        self.requests.append(texts)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await super().infer(model, texts)
        finally:
            self.under_way -= 1


def scorer_of(url: str, **settings: Any) -> CountingScorer:
    made = CountingScorer.of(Settings(triton_url=url, **settings))
    made.watch()
    return made


@pytest.fixture
async def scorer(triton: Triton) -> AsyncIterator[CountingScorer]:
    made = scorer_of(triton.url, request_texts=8, requests_in_flight=2, cached_texts=100)
    yield made
    await made.close()


@pytest.fixture
async def model(scorer: CountingScorer) -> Model:
    loaded = await scorer.load(tiny_model.NAME)
    scorer.watch()
    return loaded


async def test_labels_thresholds_and_tasks_come_from_triton(model: Model) -> None:
    assert str(model) == f"{tiny_model.NAME}/1"
    assert model.languages == ("zh",)
    assert model.primary.labels == tuple(tiny_model.MARKS)
    assert model.primary.negative == {"anger", "anxiety", "hate", "sorrow"}
    assert {task.name for task in model.tasks} == {"emotion", "sentiment", "lovelorn"}


async def test_scores_come_in_the_order_of_the_texts(scorer: CountingScorer, model: Model) -> None:
    texts = ["怒" + "好" * (30 - i) if i % 2 else "乐" + "好" * i for i in range(30)]
    scores = await scorer.score(model, texts)
    anger, joy = (model.primary.labels.index(label) for label in ("anger", "joy"))
    for i, one in enumerate(scores):
        assert isinstance(one, dict)
        assert (one["emotion"][anger] > 0.5, one["emotion"][joy] > 0.5) == (bool(i % 2), not i % 2)


async def test_a_text_is_scored_once_however_often_it_is_said(scorer: CountingScorer, model: Model) -> None:
    first = await scorer.score(model, ["好听", "晚安", "好听"])
    again = await scorer.score(model, ["晚安", "好听"])
    assert sorted(text for request in scorer.requests for text in request) == ["好听", "晚安"]
    assert first[0] == first[2] == again[1]


async def test_the_cache_forgets_what_was_used_longest_ago(scorer: CountingScorer, model: Model) -> None:
    await scorer.score(model, ["好 0", "好 1"])  # before the others, whose requests end in any order
    await scorer.score(model, [f"好 {number}" for number in range(2, 100)])
    await scorer.score(model, ["好 0"])  # used again: stays
    await scorer.score(model, ["好 100"])
    scorer.watch()
    await scorer.score(model, ["好 0", "好 1"])
    assert scorer.requests == [["好 1"]]


async def test_requests_are_bounded_in_size_and_number_and_hold_texts_of_like_length(
    scorer: CountingScorer, model: Model
) -> None:
    await scorer.score(model, ["好" * (1 + number * 7 % 50) for number in range(50)])
    assert max(map(len, scorer.requests)) <= 8
    assert scorer.most_under_way <= 2
    spans = sorted((len(request[0]), len(request[-1])) for request in scorer.requests)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


class Refusing(CountingScorer):
    """A Triton that refuses every request with a bad text in it, as the real one does."""

    bad: Sequence[str] = ()

    async def infer(self, model: Model, texts: list[str]) -> list[Scores]:
        if set(texts) & set(self.bad):
            raise InputRefused("not this one")
        return await super().infer(model, texts)


async def test_bisection_rejects_what_is_refused_and_nothing_else(triton: Triton) -> None:
    scorer = Refusing.of(Settings(triton_url=triton.url, request_texts=64))
    scorer.watch()
    scorer.bad = ("好 3", "好 40")
    model = await scorer.load(tiny_model.NAME)
    answers = await scorer.score(model, [f"好 {number}" for number in range(50)])
    refused = [number for number, answer in enumerate(answers) if isinstance(answer, Rejected)]
    assert refused == [3, 40]
    assert {answer.reason for answer in answers if isinstance(answer, Rejected)} == {Reason.MODEL_REFUSED}
    await scorer.close()


async def test_an_empty_text_is_refused_by_the_real_backend_and_found(
    scorer: CountingScorer, model: Model
) -> None:
    answers = await scorer.score(model, ["好听", " ", "晚安"])
    assert [isinstance(answer, Rejected) for answer in answers] == [False, True, False]


async def test_a_model_that_refuses_everything_is_unavailable_not_right(triton: Triton) -> None:
    scorer = Refusing.of(Settings(triton_url=triton.url))
    scorer.watch()
    model = await scorer.load(tiny_model.NAME)
    scorer.bad = ("好 1", "ok")
    with pytest.raises(Unavailable, match="refuses every text"):
        await scorer.score(model, ["好 1"])
    await scorer.close()


async def test_a_triton_that_is_away_is_unavailable_and_then_held_back() -> None:
    scorer = scorer_of("grpc://127.0.0.1:1", triton_timeout_s=1)
    with pytest.raises(Unavailable, match="Triton"):
        await scorer.load("emotion_zh")
    await scorer.close()


async def test_a_model_that_is_not_there_is_a_mistake_in_the_settings(scorer: CountingScorer) -> None:
    with pytest.raises(ConfigurationError, match="no_such_model"):
        await scorer.load("no_such_model")


async def test_the_breaker_opens_after_failures_in_a_row_and_closes_at_the_first_success() -> None:
    now = 0.0
    calls = 0
    away = True

    async def attempt() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if away:
            raise Unavailable("Triton", "away")
        return "answer"

    breaker = Breaker("Triton", failures=3, probe_every_s=1.0, clock=lambda: now)
    for _ in range(10):
        with pytest.raises(Unavailable):
            await breaker.call(attempt)
    assert (calls, breaker.is_open) == (3, True)
    now = 1.5
    with pytest.raises(Unavailable):
        await asyncio.gather(breaker.call(attempt), breaker.call(attempt))
    assert calls == 4  # one probe
    away, now = False, 3.0
    assert await breaker.call(attempt) == "answer"
    assert not breaker.is_open


async def test_a_refusal_does_not_open_the_breaker() -> None:
    breaker = Breaker("Triton", failures=1)

    async def refuse() -> None:
        raise InputRefused("no")

    for _ in range(3):
        with pytest.raises(InputRefused):
            await breaker.call(refuse)
    assert not breaker.is_open
