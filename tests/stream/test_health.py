"""The worker's own web port: what it says, and that it does nothing else."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from stream.errors import Unavailable
from stream.health import HealthServer
from stream.patience import Patience
from stream.progress import Progress


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, list[str]]]:
    missing: list[str] = []

    async def readiness() -> list[str]:
        return missing

    server = HealthServer(
        "127.0.0.1", 0, progress=Progress(10.0, 100.0), readiness=readiness, observe=lambda: None
    )
    port = await server.start()
    yield f"http://127.0.0.1:{port}", missing
    await server.stop()


async def test_readiness_names_what_is_missing(address: tuple[str, list[str]]) -> None:
    url, missing = address
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/ready") as answer:
            assert answer.status == 200
        missing.append("Redis does not answer")
        async with session.get(f"{url}/ready") as answer:
            assert (answer.status, await answer.text()) == (503, "Redis does not answer\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/metrics", "/live", "/ready"])
async def test_nothing_can_be_changed(address: tuple[str, list[str]], method: str, path: str) -> None:
    url, _ = address
    async with aiohttp.ClientSession() as session, session.request(method, url + path) as answer:
        assert answer.status == 405


async def test_patience_repeats_what_is_unavailable_and_reports_each_failure() -> None:
    import asyncio

    failures = 0
    reported = 0

    def report() -> None:
        nonlocal reported
        reported += 1

    async def attempt() -> str:
        nonlocal failures
        if failures < 3:
            failures += 1
            raise Unavailable("Redis", "away")
        return "there"

    patience = Patience(60.0, asyncio.Event, report)
    assert await patience(attempt) == "there"
    assert (failures, reported) == (3, 3)
