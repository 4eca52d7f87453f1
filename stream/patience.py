"""Trying again while a service is away, for as long as the partition is ours."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from stream import metrics
from stream.errors import GaveUp, Interrupted, Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)


class Patience:
    """Repeats attempts that raise Unavailable, with exponential backoff and full jitter, 5 s apart at most.

    `attempted` is called after each failure: a sign of life. `interrupted()` is the event that ends waiting.
    """

    def __init__(
        self, give_up_after_s: float, interrupted: Callable[[], asyncio.Event], attempted: Callable[[], None]
    ) -> None:
        self._give_up_after_s = give_up_after_s
        self._interrupted = interrupted
        self._attempted = attempted
        # One for all calls: it refers to itself, and one a call would pile up until the garbage collector comes.
        self._retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=self._is_over,
            sleep=self._sleep,
            before_sleep=self._report,
            reraise=True,
        )

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt()` returns in the end.

        Raises Interrupted, GaveUp, or what `attempt` raises else.
        """

        async def once() -> T:  # tenacity awaits what is declared async only
            return await attempt()

        try:
            return await self._retrying(once)
        except Unavailable as error:
            if self._interrupted().is_set():
                raise Interrupted(str(error)) from error
            raise GaveUp(f"{error}; gave up after {self._give_up_after_s:g} s") from error

    def _is_over(self, state: RetryCallState) -> bool:
        return self._interrupted().is_set() or stop_after_delay(self._give_up_after_s)(state)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._interrupted().wait(), seconds)

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Unavailable):
            metrics.RETRIES.labels(error.service).inc()
            log.warning("%s; attempt %d failed, trying again", error, state.attempt_number)
        self._attempted()
