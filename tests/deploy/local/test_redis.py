"""Settings beyond the plain server: access control and Redis Cluster."""

from pathlib import Path

import pytest
from redis.asyncio import RedisCluster
from redis.exceptions import AuthenticationError

from deploy.local import Redis, cluster, join


async def test_a_protected_server_is_ready_and_lets_in_who_knows_the_password(tmp_path: Path) -> None:
    user = "user fanpulse on >let-me-in ~fp:* +@all"
    config = [user, "user default off"]
    async with Redis(tmp_path, config=config) as stranger:
        with pytest.raises(AuthenticationError):
            async with stranger.connect() as client:
                await client.ping()
        stranger.client = {"username": "fanpulse", "password": "let-me-in"}
        async with stranger.connect() as client:
            assert await client.set("fp:key", "1")


async def test_started_nodes_join_to_a_cluster_that_holds_every_slot(tmp_path: Path) -> None:
    nodes = cluster(tmp_path)
    try:
        for node in nodes:
            await node.start()
        await join(nodes)
        async with RedisCluster(host="127.0.0.1", port=nodes[0].port) as client:
            for number in range(100):
                await client.set(f"key:{number}", number)
            sizes = [await client.dbsize(target_nodes=node) for node in client.get_nodes()]
        assert sum(sizes) == 100
        assert all(sizes)
    finally:
        for node in nodes:
            await node.stop()


async def test_both_servers_keep_an_append_only_file_synced_every_second(each_redis: Redis) -> None:
    async with each_redis.connect() as client:
        settings = await client.config_get("append*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
