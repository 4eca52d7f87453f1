"""A circuit breaker: while a service fails, calls are held back and one at a time probes it."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stream import metrics
from stream.errors import Unavailable

T = TypeVar("T")


class Breaker:
    """Opens after `failures` in a row; then lets one call through every `probe_every_s` seconds.

    Only Unavailable counts as a failure: any other answer, a refusal too, shows that the service is there.
    """

    def __init__(
        self,
        service: str,
        *,
        failures: int = 5,
        probe_every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._allowed = failures
        self._probe_every_s = probe_every_s
        self._clock = clock
        self._failures = 0
        self._next_probe = 0.0
        self._gauge = metrics.BREAKER_OPEN.labels(service)
        self._gauge.set(0)

    @property
    def is_open(self) -> bool:
        """True while calls are held back."""
        return self._failures >= self._allowed

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await `attempt()`; raise Unavailable at once, without calling it, while the circuit is open."""
        if self.is_open:
            if self._clock() < self._next_probe:
                raise Unavailable(self._service, "calls are held back after repeated failures")
            self._next_probe = self._clock() + self._probe_every_s
        try:
            result = await attempt()
        except Unavailable:
            self._failures += 1
            self._next_probe = self._clock() + self._probe_every_s
            self._gauge.set(self.is_open)
            raise
        self._failures = 0
        self._gauge.set(0)
        return result
