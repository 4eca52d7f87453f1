"""A story in Redis, the board that shows it, and a real Chromium that looks at it."""

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect
from redis.asyncio import Redis as Client

from deploy.local import Redis
from stream.board.server import Board
from stream.settings import Settings
from stream.storyline import COMMUNITIES
from tests.board.told import Told
from tests.required import require

PATIENCE_MS = 30_000
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Serve = Callable[..., Awaitable[str]]
Look = Callable[..., Awaitable[Page]]
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
async def client(redis_server: Redis) -> AsyncIterator[Client]:
    async with redis_server.connect() as client:
        yield client


@pytest.fixture
async def told(client: Client) -> Told:
    """Three communities at rest: a week of hours, and the comments of the last half hour, published."""
    told = Told(client)
    now = time.time()
    await told.week(COMMUNITIES, now, rate=0.15)
    await told.story(COMMUNITIES, now - 1800, now, rate=0.15)
    await told.publish()
    return told


@pytest.fixture
async def serve(redis_server: Redis) -> AsyncIterator[Serve]:
    """Start boards with settings of a test's own; gives the address, ending in a slash."""
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> str:
            chosen = {"redis_url": redis_server.url, "board_port": 0} | settings
            board = Board(Settings.model_validate(chosen))
            port = await board.start()
            stack.push_async_callback(board.stop)
            return f"http://127.0.0.1:{port}/"

        yield start


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    require("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS
        )
        yield browser
        await browser.close()


@pytest.fixture
async def look(chromium: Browser) -> AsyncIterator[Look]:
    """Open a page; at the end it must have kept its own rules and asked no other server for anything."""
    complaints: list[str] = []
    async with AsyncExitStack() as stack:

        async def visit(
            url: str, *, width: int = 1440, height: int = 900, language: str = "en-GB", dark: bool = False
        ) -> Page:
            context = await chromium.new_context(
                viewport={"width": width, "height": height},
                locale=language,
                color_scheme="dark" if dark else "light",
                timezone_id="Asia/Shanghai",
            )
            stack.push_async_callback(context.close)
            page = await context.new_page()
            home = "/".join(url.split("/")[:3])

            def hear(message: ConsoleMessage) -> None:
                if message.type == "error" and "Failed to load resource" not in message.text:
                    complaints.append(message.text)

            def see(request: Request) -> None:
                if not request.url.startswith(home):
                    complaints.append(f"asked {request.url}")

            page.on("console", hear)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", see)
            await page.goto(url)
            return page

        yield visit
    assert complaints == []
