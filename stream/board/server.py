"""The board's web server: the page, its frames as server-sent events, and answers about the past.

It knows HTTP and who may look; what is shown comes from the watch and the reader."""

import asyncio
import html
import logging
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson
from aiohttp import hdrs, web
from redis import RedisError

from stream.board.access import Access
from stream.board.assets import PAGE, page_assets
from stream.board.reader import Reader, Step
from stream.board.viewer import Viewer, shown
from stream.board.watch import Watch
from stream.connections import connect_redis
from stream.keys import Keys
from stream.settings import Settings

log = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_OPEN = frozenset({"/live", "/ready", "/login", "/assets/board.css", "/assets/icon.svg"})
_LONGEST_SERIES = 400
_PAST_COMMENTS = 100
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Board:
    """Raises ConfigurationError at once where the settings would show comments to strangers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._access = Access(settings)
        self._assets = page_assets()
        self._redis = connect_redis(settings)
        keys = Keys(settings.redis_prefix)
        self._reader = Reader(self._redis, keys, settings.comments_topic)
        self._watch = Watch(self._reader, keys)
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/login", self._login_form),
                web.post("/login", self._login),
                web.get("/live", self._live),
                web.get("/ready", self._ready),
                web.get("/frames", self._frames),
                web.get("/history", self._history),
                web.get("/comments", self._comments),
                web.get("/comment", self._comment),
                web.get("/{asset:(assets|vendor)/.+}", self._asset),
            ]
        )
        app.on_shutdown.append(lambda _: self._watch.close())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)

    async def start(self) -> int:
        """Listen and follow Redis; return the port. Raises OSError where it is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._settings.board_host, self._settings.board_port).start()
        self._following = asyncio.create_task(self._watch.run())
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following
        await self._redis.aclose()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _OPEN or self._access.allows(request):
            try:
                response = await handler(request)
            except web.HTTPException as error:
                error.headers.update(SECURITY_HEADERS)
                raise
            except (RedisError, OSError):
                response = web.json_response({"error": "Redis is away"}, status=503)
        elif self._access.by_token and request.path == "/":
            response = _go_to("login")
        else:
            response = web.json_response({"error": "not allowed; see FANPULSE_BOARD_TOKEN"}, status=403)
        if not response.prepared:
            response.headers.update(SECURITY_HEADERS)
        return response

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=(PAGE / "index.html").read_text("utf-8"), content_type="text/html")

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["asset"])
        if asset is None:
            raise web.HTTPNotFound
        return asset.answer(request)

    async def _login_form(self, _: web.Request) -> web.Response:
        return _login_page("")

    async def _login(self, request: web.Request) -> web.StreamResponse:
        token = (await request.post()).get("token")
        if not self._access.by_token or not isinstance(token, str) or not self._access.knows(token):
            return _login_page("This is not the token. 口令不正确。")
        response = _go_to("./")
        by_https = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        self._access.open_session(response, secure=by_https)
        return response

    async def _live(self, _: web.Request) -> web.Response:
        if self._following.done():
            return web.Response(status=503, text="nothing is followed any more\n")
        return web.Response(text="live\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self._watch.away:
            return web.Response(status=503, text="redis is away\n")
        return web.Response(text="ready\n")

    async def _frames(self, request: web.Request) -> web.StreamResponse:
        """At most two frames a second; a viewer that does not keep up gets fewer, never older ones."""
        viewer = _viewer(request)
        headers = {
            hdrs.CONTENT_TYPE: "text/event-stream",
            hdrs.CACHE_CONTROL: "no-store",
            hdrs.CONTENT_ENCODING: "gzip",
            "X-Accel-Buffering": "no",
        }
        response = web.StreamResponse(headers=headers | SECURITY_HEADERS)
        await response.prepare(request)
        packer = zlib.compressobj(level=5, wbits=31)
        watch = self._watch
        with watch.viewer(viewer.course), suppress(ConnectionError):
            await watch.ticked(0)
            comments = None
            with suppress(RedisError, OSError):
                comments = await viewer.begin(self._reader, watch)
            while not watch.closing:
                frame = orjson.dumps(viewer.frame(watch, comments))
                comments = None
                content = packer.compress(b"data: %b\n\n" % frame) + packer.flush(zlib.Z_SYNC_FLUSH)
                await response.write(content)
                await watch.ticked(viewer.seen)
        return response

    async def _history(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            community, since, until = query["community"], _seconds(query["since"]), _seconds(query["until"])
            step: Step = 60 if int(query["step"]) == 60 else 3600
        except (KeyError, ValueError):
            raise web.HTTPBadRequest(text="needs community, since, until and step") from None
        since = max(since, until - _LONGEST_SERIES * step)
        await self._watch.ticked(0)
        points = await self._reader.series(community, step, since, until)
        return _json({"step": step, "points": points, "usual": self._watch.rows.usual(community)})

    async def _comments(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            since, until = _seconds(query["since"]), _seconds(query["until"])
        except (KeyError, ValueError):
            raise web.HTTPBadRequest(text="needs since and until") from None
        await self._watch.ticked(0)
        found = await self._reader.comments_of(
            since, until, query.get("community"), query.get("emotion"), _PAST_COMMENTS
        )
        return _json([shown(said) for said in found])

    async def _comment(self, request: web.Request) -> web.Response:
        text = await self._reader.text(request.query.get("key", ""))
        if text is None:
            raise web.HTTPNotFound(text="not kept")
        return _json({"text": text})


def _viewer(request: web.Request) -> Viewer:
    try:
        return Viewer.of(request.query)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from None


def _seconds(text: str) -> int:
    """Epoch seconds; raises ValueError for what no clock shows."""
    try:
        return int(float(text))
    except OverflowError as error:
        raise ValueError(text) from error


def _go_to(place: str) -> web.Response:
    return web.Response(status=303, headers={hdrs.LOCATION: place})


def _login_page(wrong: str) -> web.Response:
    page = (PAGE / "login.html").read_text("utf-8").replace("{{wrong}}", html.escape(wrong))
    return web.Response(text=page, content_type="text/html", status=403 if wrong else 200)


def _json(content: object) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")
