"""Deployments on the session's Kafka, Redis and Triton: each has topics of its own and an empty Redis."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.local import Kafka, Redis, Triton
from tests.stream.deployment import Deployment, deployed

Deploy = Callable[..., Awaitable[Deployment]]


@pytest.fixture
async def deploy(kafka: Kafka, redis_server: Redis, triton: Triton, tmp_path: Path) -> AsyncIterator[Deploy]:
    """Makes a deployment with the partitions and settings it is given; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def deploy(*, partitions: int = 1, **settings: object) -> Deployment:
            return await stack.enter_async_context(
                deployed(kafka, redis_server, triton, tmp_path, partitions=partitions, **settings)
            )

        yield deploy


@pytest.fixture
async def deployment(deploy: Deploy) -> Deployment:
    """One partition, the default settings."""
    return await deploy()
