"""The worker's own web port: /metrics, /live and /ready. It serves nothing that changes state."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stream import metrics
from stream.progress import Progress


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
