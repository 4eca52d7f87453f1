"""Real Kafka, Redis and Triton for the whole session, each started when the first test asks for it."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local import Kafka, Redis, Triton
from deploy.local.triton import REPOSITORY
from tests import tiny_model
from tests.required import require


@pytest.fixture(scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kafka]:
    """One broker; topics are each test's own."""
    async with Kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    async with Redis(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
async def redis7(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    """Debian's redis-server."""
    require("redis-server")
    executable = Path(shutil.which("redis-server") or "")
    async with Redis(tmp_path_factory.mktemp("redis7"), executable=executable) as server:
        yield server


@pytest.fixture
async def redis_server(valkey: Redis) -> Redis:
    """Valkey 9, emptied for each test."""
    return await _emptied(valkey)


@pytest.fixture(params=["valkey", "redis7"])
def any_redis(request: pytest.FixtureRequest) -> Redis:
    server: Redis = request.getfixturevalue(request.param)
    return server


@pytest.fixture
async def each_redis(any_redis: Redis) -> Redis:
    """Valkey 9 and Redis 7 in turn, emptied for each test."""
    return await _emptied(any_redis)


@pytest.fixture(scope="session")
async def triton(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Triton]:
    """Serves the shipped models and tests/tiny_model.py's, from a copy that a test may add versions to."""
    repository = shutil.copytree(REPOSITORY, tmp_path_factory.mktemp("models") / "repository")
    tiny_model.write(repository)
    async with Triton(tmp_path_factory.mktemp("triton"), repository=repository) as server:
        yield server


async def _emptied(server: Redis) -> Redis:
    async with server.connect() as client:
        await client.flushall()
    return server
