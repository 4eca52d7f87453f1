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
    """redis-py's client, mended: one shard's trouble is not that of calls to the others.

    Before it looks for the masters anew (a shard is down, slots have moved) it closes every connection, used or not.
    Where connections are closed under calls all the same, up to version 8.1 these can fail with an AttributeError
    of None (redis-py pull request 4288).
    """

    async def aclose(self) -> None:
        """Close what no call uses; what is in use is closed when its call ends."""
        if self._initialize:
            return
        self._initialize = True
        for nodes in (self.nodes_manager.nodes_cache, self.nodes_manager.startup_nodes):
            for node in tuple(nodes.values()):
                node.update_active_connections_for_reconnect()
                await node.disconnect_free_connections()

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        with _cut_off():
            return await super().execute_command(*args, **kwargs)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:  # noqa: ARG002
        # redis-py makes its own pipelines so, though mypy takes their class for abstract
        return _Pipeline(self, transaction)  # type: ignore[abstract]
