"""Scores what was served once more with a shadow version and tells Prometheus how far the two agree.

Nothing waits for it: texts that find the queue full are dropped and counted, a shadow that fails is counted. Its
scores are settled nowhere.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from stream import metrics
from stream.drift import carried
from stream.model import PRIMARY_TASK, Model
from stream.models import Models
from stream.scorer import Scorer, Scores

log = logging.getLogger(__name__)

REQUESTS_QUEUED = 64


@dataclass(frozen=True, slots=True)
class _Request:
    served: Model
    shadow: Model
    said: dict[str, Scores]  # text → what was served

    def count(self, outcome: str) -> None:
        labels = (self.served.name, self.served.version, self.shadow.version, outcome)
        metrics.SHADOWED.labels(*labels).inc(len(self.said))


class Shadow:
    """Compares one request of at most `request_texts` texts at a time, in the order they came."""

    def __init__(self, models: Models, scorer: Scorer, *, request_texts: int) -> None:
        self._models = models
        self._scorer = scorer
        self._request_texts = request_texts
        self._queue: asyncio.Queue[_Request] = asyncio.Queue(REQUESTS_QUEUED)

    def offer(self, said: Iterable[tuple[str, Scores, Model]]) -> None:
        """Take texts with the scores that were settled; repeats within one call count once. Never waits."""
        if not self._models.shadows:
            return
        pairs: dict[tuple[Model, Model], dict[str, Scores]] = {}
        for text, scores, served in said:
            shadow = self._models.shadows.get(served.name)
            if shadow is not None and shadow.version != served.version:
                pairs.setdefault((served, shadow), {})[text] = scores
        for (served, shadow), texts in pairs.items():
            left = iter(texts.items())
            while part := dict(islice(left, self._request_texts)):
                request = _Request(served, shadow, part)
                try:
                    self._queue.put_nowait(request)
                except asyncio.QueueFull:
                    request.count("dropped")

    async def run(self) -> None:
        """Compare for ever; whatever goes wrong with a shadow stays with it."""
        while True:
            request = await self._queue.get()
            try:
                answers = await self._scorer.infer(request.shadow, list(request.said))
                _compare(request, answers)
            except Exception as error:
                request.count("failed")
                log.warning("%s as a shadow: %s: %s", request.shadow, type(error).__name__, error)
            else:
                request.count("compared")


def _compare(request: _Request, answers: list[Scores]) -> None:
    served, shadow = request.served.primary, request.shadow.primary
    order = [shadow.labels.index(label) for label in served.labels]
    ours = np.array([scores[PRIMARY_TASK] for scores in request.said.values()])
    theirs = np.array([scores[PRIMARY_TASK] for scores in answers])
    our_labels, their_labels = carried(served, ours), carried(shadow, theirs)[:, order]
    names = (request.served.name, request.served.version, request.shadow.version)
    metrics.SHADOW_AGREED.labels(*names).inc(int((our_labels == their_labels).all(axis=1).sum()))
    metrics.SHADOW_DIFFERENCE.labels(*names).observe_all(np.abs(ours - theirs[:, order]).mean(axis=1))
    for by, labels in (("served", our_labels), ("shadow", their_labels)):
        for label, count in zip(served.labels, labels.sum(axis=0).tolist(), strict=True):
            metrics.SHADOW_LABELLED.labels(*names, label, by).inc(count)
