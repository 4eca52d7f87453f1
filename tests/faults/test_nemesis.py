"""What the nemesis does to heal what a fault left behind."""

from pathlib import Path

from deploy.local import Redis
from tests.faults.nemesis import revive


async def test_a_redis_whose_log_is_corrupt_comes_back_empty(tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    await redis.start()
    async with redis.connect() as client:
        await client.set("key", "value")
    await redis.kill()
    (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(log.read_bytes() + bytes(4096) + b"*1\r\n$4\r\nPING\r\n")
    await revive(redis)
    async with redis.connect() as client:
        assert await client.dbsize() == 0
    await redis.stop()
