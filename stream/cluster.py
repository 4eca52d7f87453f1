"""A Redis Cluster client that fails with nothing but errors of Redis and of the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio.cluster import ClusterPipeline, RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError


@contextmanager
def _cut_off() -> Iterator[None]:
    try:
        yield
    except AttributeError as error:
        if error.obj is not None:
            raise
        raise RedisConnectionError("the connection was closed while in use") from error


class _Pipeline(ClusterPipeline):
    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        with _cut_off():
            return await super().execute(raise_on_error, allow_redirections)


class Cluster(RedisCluster):
    """redis-py's client, mended.

    When it looks for the masters anew it closes connections that other calls use. Up to version 8.1 such a call can
    fail with an AttributeError of None (redis-py pull request 4288).
    """

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        with _cut_off():
            return await super().execute_command(*args, **kwargs)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:  # noqa: ARG002
        return _Pipeline(self, transaction)  # type: ignore[abstract]
