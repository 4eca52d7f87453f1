"""The worker's own web port: /metrics, /live and /ready. It serves nothing that changes state."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stream import metrics


class Progress:
    """Whether work moves: a batch in hand must be settled, or tried again, within `within_s` seconds."""

    def __init__(self, within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._within_s = within_s
        self._clock = clock
        self._in_hand = 0
        self._moved_at = clock()

    def begin(self) -> None:
        """A batch is taken in hand."""
        if not self._in_hand:
            self._moved_at = self._clock()
        self._in_hand += 1

    def end(self) -> None:
        """A batch is settled, or left to others."""
        self._in_hand -= 1
        self.moved()

    def moved(self) -> None:
        """Something happened: an attempt ended, if only in a failure that will be tried again."""
        self._moved_at = self._clock()

    @property
    def is_live(self) -> bool:
        """False when a batch is in hand and nothing has moved for too long."""
        return not self._in_hand or self._clock() - self._moved_at <= self._within_s


class HealthServer:
    """Serves the endpoints on `host:port`.

    `readiness()` names what is missing, nothing when all is there; `observe()` refreshes the gauges.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        progress: Progress,
        readiness: Callable[[], Awaitable[list[str]]],
        observe: Callable[[], None],
    ) -> None:
        self._host, self._port = host, port
        self._progress = progress
        self._readiness = readiness
        self._observe = observe
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/live", self._live),
                web.get("/ready", self._ready),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> int:
        """Listen; return the port, chosen by the system where 0 was asked for. Raises OSError if taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        self._observe()
        return web.Response(
            body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _live(self, _: web.Request) -> web.Response:
        if self._progress.is_live:
            return web.Response(text="live\n")
        return web.Response(status=503, text="no progress\n")

    async def _ready(self, _: web.Request) -> web.Response:
        missing = await self._readiness()
        if missing:
            return web.Response(status=503, text="".join(f"{reason}\n" for reason in missing))
        return web.Response(text="ready\n")
