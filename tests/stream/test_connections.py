"""The way to Redis that the settings describe."""

from pathlib import Path

from deploy.local import cluster, join
from deploy.local.ports import free_port
from stream.connections import connect_redis
from stream.settings import Settings


async def test_a_client_gets_into_a_cluster_by_any_node_that_is_named(tmp_path: Path) -> None:
    users = ["user default off", "user fan on >secret allkeys allchannels allcommands"]
    (node,) = cluster(tmp_path, 1, config=users, client={"username": "fan", "password": "secret"})
    async with node:
        await join([node])
        for nodes in (f"127.0.0.1:{node.port}", f"127.0.0.1:{free_port()},127.0.0.1:{node.port}"):
            settings = {"redis_url": f"redis://fan:secret@{nodes}/0", "redis_cluster": True}
            redis = connect_redis(Settings.model_validate(settings))
            assert await redis.hsetnx("fp:key", nodes, "1")
            await redis.aclose()
