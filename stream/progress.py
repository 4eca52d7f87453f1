"""Does the worker get on? What /live answers, and a watchdog that ends a worker which stands still for good."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from faust.types import TP

from stream.positions import Standing

BEATS_EVERY_S = 1.0


class _Work:
    """Something in hand, of partition `tp` if it is a batch; `since` it began or an attempt at it last ended."""

    def __init__(self, tp: TP | None, since: float) -> None:
        self.tp = tp
        self.since = since


_current: ContextVar[_Work | None] = ContextVar("current", default=None)


class Progress:
    """Measures how long the worker has stood still, which must not be for `within_s` seconds.

    A failure that is tried again is a sign of life. One piece of work may show none for `at_most_s` while
    others get on: it may wait for its turn. After `at_most_s` retries are spent, for whatever stands still.
    """

    def __init__(
        self, within_s: float, at_most_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._within_s = within_s
        self._at_most_s = at_most_s
        self._clock = clock
        self._in_hand: set[_Work] = set()
        self._waiting: dict[TP, tuple[Standing, float]] = {}
        self._moved_at = clock()
        self._beat_at: float | None = None

    @contextmanager
    def work(self, tp: TP | None = None) -> Iterator[None]:
        """Something is in hand until the context ends."""
        work = _Work(tp, self._clock())
        token = _current.set(work)
        self._in_hand.add(work)
        try:
            yield
        finally:
            self._in_hand.discard(work)
            _current.reset(token)
            self._moved_at = self._clock()
            if tp:
                self._waiting.pop(tp, None)

    def moved(self) -> None:
        """An attempt ended, if only in a failure that will be tried again."""
        self._moved_at = self._clock()
        if work := _current.get():
            work.since = self._moved_at

    def stands(self, places: Mapping[TP, Standing]) -> None:
        """Where partitions stand now; one with records to settle has to stand elsewhere the next time."""
        now, before = self._clock(), self._waiting
        self._waiting = {
            tp: before[tp] if tp in before and before[tp][0].is_where(place) else (place, now)
            for tp, place in places.items()
            if place.has_work
        }

    async def beat(self) -> None:
        """Show until cancelled that the event loop runs."""
        while True:
            self._beat_at = self._clock()
            await asyncio.sleep(BEATS_EVERY_S)

    @property
    def is_live(self) -> bool:
        """False when something that should move has not moved for too long."""
        return self._still_s() <= self._within_s and self._longest_s() <= self._at_most_s

    @property
    def is_spent(self) -> bool:
        """True when it has not moved for so long that it will not."""
        return max(self._still_s(), self._longest_s()) > self._at_most_s

    def _still_s(self) -> float:
        works = tuple(self._in_hand)
        busy = {work.tp for work in works}
        since = [at for tp, (_, at) in tuple(self._waiting.items()) if tp not in busy]
        if works:
            since.append(max(self._moved_at, min(work.since for work in works)))
        if self._beat_at is not None:
            since.append(self._beat_at)
        return self._clock() - min(since) if since else 0.0

    def _longest_s(self) -> float:
        return self._clock() - min((work.since for work in tuple(self._in_hand)), default=self._clock())


def watch(progress: Progress) -> None:
    """Start a thread that ends the process, with its work un-acked, once `progress` is spent.

    A thread, because the event loop may be what stands still.
    """

    def look() -> None:
        late = 0
        while late < 2:  # twice: a process that was paused must have a moment to beat again
            time.sleep(BEATS_EVERY_S)
            late = late + 1 if progress.is_spent else 0
        print("fanpulse: nothing moves, and retries are spent", file=sys.stderr, flush=True)
        os._exit(1)

    threading.Thread(target=look, name="watchdog", daemon=True).start()
