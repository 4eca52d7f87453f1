"""One batch's way: decode, score, enrich, reject, settle. The order of effects is the guarantee."""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
from aiokafka import ConsumerRecord

from stream import metrics, tracing
from stream.buckets import settlement
from stream.comments import Comment, Reason, Rejected, decode
from stream.events import Event, dumps, enrich
from stream.model import Model
from stream.models import Models
from stream.patience import Patience
from stream.positions import Batch
from stream.rejects import DeadLetter, Rejects
from stream.scorer import Scorer, Scores
from stream.settings import Settings
from stream.shadow import Shadow
from stream.sink import Sink
from stream.text import Lang

log = logging.getLogger(__name__)

Readable = tuple[ConsumerRecord, Comment]
Scored = tuple[ConsumerRecord, Comment, Scores, Model]


class Pipeline:
    """Takes batches from bytes to settled effects. It knows nothing of Faust."""

    def __init__(
        self,
        settings: Settings,
        *,
        models: Models,
        scorer: Scorer,
        rejects: Rejects,
        sink: Sink,
        shadow: Shadow,
        patience: Patience,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._models = models
        self._scorer = scorer
        self._rejects = rejects
        self._sink = sink
        self._shadow = shadow
        self._patience = patience
        self._clock = clock
        self._pseudonym_key = settings.pseudonym_key.get_secret_value().encode()
        self._group = settings.group
        self._default_lang: Lang = settings.default_lang
        self._record_bytes = settings.record_bytes
        self._include_text = settings.include_text

    async def process(self, batch: Batch) -> None:
        """Give every offset of `batch` its one effect; return when Redis has them all.

        Raises FenceMoved where the batch does not begin at the fence, Interrupted and GaveUp as
        Patience does.
        """
        with tracing.processing(batch, self._group):
            await self._process(batch)

    async def _process(self, batch: Batch) -> None:
        started = self._clock()
        metrics.CONSUMED.labels(batch.tp.partition).inc(len(batch.records))
        with _stage("decode"):
            readable, letters = self._decode(batch.records)
        with _stage("score"):
            scored, refused = await self._patience(lambda: self._score(batch.tp.partition, readable))
        letters += refused
        with _stage("enrich"):
            effects = settlement(batch.position, batch.end, self._enrich(scored), map(_rejection, letters))
        if letters:
            with _stage("reject"):
                await self._patience(lambda: self._rejects.send(letters))
        with _stage("settle"):
            answer = await self._patience(lambda: self._sink.settle(batch.tp, effects))
        ended = self._clock()
        _observe(batch, answer, ended)
        self._shadow.offer((comment.text, scores, model) for _, comment, scores, model in scored)
        log.info(
            "%s partition=%d offsets=%d..%d events=%d rejected=%d ms=%.0f models=%s",
            answer,
            batch.tp.partition,
            batch.position,
            batch.end - 1,
            len(scored),
            len(letters),
            (ended - started) * 1000,
            ",".join(sorted(map(str, {model for *_, model in scored}))),
        )

    def _decode(self, records: Sequence[ConsumerRecord]) -> tuple[list[Readable], list[DeadLetter]]:
        now_ms = int(self._clock() * 1000)
        readable: list[Readable] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                comment = decode(
                    record.value,
                    now_ms=now_ms,
                    default_lang=self._default_lang,
                    max_bytes=self._record_bytes,
                )
            except Rejected as rejected:
                letters.append(DeadLetter(record, rejected.reason, rejected.detail, rejected.community))
            else:
                readable.append((record, comment))
        return readable, letters

    async def _score(
        self, partition: int, readable: Sequence[Readable]
    ) -> tuple[list[Scored], list[DeadLetter]]:
        models = self._models.at(partition)
        scored: list[Scored] = []
        letters: list[DeadLetter] = []
        by_model: dict[Model, list[Readable]] = {}
        for record, comment in readable:
            model = models.get(comment.lang)
            if model is None:
                why = f"no model for language {comment.lang!r}"
                letters.append(DeadLetter(record, Reason.UNSUPPORTED_LANGUAGE, why, comment.community))
            else:
                by_model.setdefault(model, []).append((record, comment))
        answers = await asyncio.gather(
            *(self._scorer.score(model, [c.text for _, c in group]) for model, group in by_model.items())
        )
        for (model, group), answer in zip(by_model.items(), answers, strict=True):
            for (record, comment), scores in zip(group, answer, strict=True):
                if isinstance(scores, Rejected):
                    letters.append(DeadLetter(record, scores.reason, scores.detail, comment.community))
                else:
                    scored.append((record, comment, scores, model))
        scored.sort(key=lambda one: one[0].offset)
        return scored, letters

    def _enrich(self, scored: Sequence[Scored]) -> Iterator[tuple[Event, bytes]]:
        scored_at = datetime.fromtimestamp(self._clock(), UTC)
        labelled: defaultdict[Model, Counter[str]] = defaultdict(Counter)
        for record, comment, scores, model in scored:
            event = enrich(
                comment,
                scores,
                model,
                (record.topic, record.partition, record.offset),
                scored_at=scored_at,
                pseudonym_key=self._pseudonym_key,
                include_text=self._include_text,
            )
            labelled[model].update(event["labels"])
            yield event, dumps(event)
        for model, counts in labelled.items():
            for label, count in counts.items():
                metrics.LABELLED.labels(model.name, model.version, label).inc(count)


def _rejection(letter: DeadLetter) -> tuple[str, int]:
    return letter.community, letter.record.timestamp


@contextmanager
def _stage(name: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        with tracing.stage(name):
            yield
    finally:
        metrics.STAGE_SECONDS.labels(name).observe(time.perf_counter() - started)


def _observe(batch: Batch, answer: str, ended: float) -> None:
    partition = batch.tp.partition
    if answer == "settled":
        metrics.REPLAYED.labels(partition).inc(len(batch.records))
        return
    metrics.SETTLED.labels(partition).inc(batch.end - batch.position)
    metrics.BATCH_RECORDS.observe(len(batch.records))
    ages_s = ended - np.array([record.timestamp for record in batch.records]) / 1000
    metrics.FRESHNESS_SECONDS.observe_all(np.maximum(ages_s, 0.0))
