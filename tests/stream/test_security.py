"""The worker over TLS, with SASL and a Redis user of least rights; what it tells and to whom."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from redis.asyncio import Redis as RedisClient
from redis.exceptions import NoPermissionError, ResponseError

from deploy.local import Kafka, Redis, Triton
from tests import tiny_model
from tests.credentials import Inside, add_scram_user, broker_properties, certificates, redis_config
from tests.stream.deployment import PATIENCE_S, Deployment, comment, deployed, until

KAFKA_USER, KAFKA_PASSWORD = "fan", "kafka-Geheim-1"
REDIS_USER, REDIS_PASSWORD = "fanpulse-worker", "redis-Geheim-2"
PSEUDONYM_KEY = "pseudonym-Geheim-3"
SECRETS = (KAFKA_PASSWORD, REDIS_PASSWORD, PSEUDONYM_KEY)
ANGRY = "今天怒"


@dataclass
class Fortress:
    """Services that speak TLS only and ask who is there; `settings` lets a worker in."""

    kafka: Kafka
    redis: Redis
    triton: Triton
    settings: dict[str, object]


@pytest.fixture(scope="module")
async def fortress(redis7: Redis, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fortress]:
    folder = tmp_path_factory.mktemp("fortress")
    made = certificates(folder)
    repository = folder / "models"
    tiny_model.write(repository)
    kafka = Kafka(
        folder / "kafka",
        protocol="SASL_SSL",
        properties=broker_properties(made, KAFKA_USER, KAFKA_PASSWORD),
    )
    redis = Redis(
        folder / "redis",
        executable=redis7.executable,  # Valkey's wheel is built without TLS
        tls=True,
        config=redis_config(made, REDIS_PASSWORD),
        client={"username": "inspector", "password": REDIS_PASSWORD, "ssl_ca_certs": str(made.ca)},
    )
    triton = Triton(
        folder / "triton",
        repository=repository,
        tls=True,
        arguments=[f"--grpc-server-cert={made.cert}", f"--grpc-server-key={made.key}"],
    )
    async with kafka, redis, triton:
        for bits in (256, 512):
            await add_scram_user(kafka, KAFKA_USER, KAFKA_PASSWORD, bits)
        yield Fortress(
            kafka,
            redis,
            triton,
            {
                "kafka_url": kafka.url,
                "kafka_security": "SASL_SSL",
                "kafka_username": KAFKA_USER,
                "kafka_password": KAFKA_PASSWORD,
                "kafka_ca_file": made.ca,
                "redis_url": f"rediss://{REDIS_USER}:{REDIS_PASSWORD}@127.0.0.1:{redis.port}/0",
                "redis_ca_file": made.ca,
                "triton_url": triton.url,
                "triton_ca_file": made.ca,
                "pseudonym_key": PSEUDONYM_KEY,
                "log_level": "DEBUG",
            },
        )


@pytest.fixture
async def guarded(fortress: Fortress, tmp_path: Path) -> AsyncIterator[Deployment]:
    inside: Any = Inside(fortress.kafka)
    async with deployed(inside, fortress.redis, fortress.triton, tmp_path, **fortress.settings) as deployment:
        yield deployment


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_worker_works_over_tls_with_credentials_and_least_rights(
    guarded: Deployment, mechanism: str
) -> None:
    """Under deploy/redis.acl: settling, windows, models and readiness need no command that it refuses."""
    await guarded.client.execute_command("ACL LOG RESET")
    worker = await guarded.worker(kafka_sasl_mechanism=mechanism)
    await guarded.send([comment(1, ANGRY), b"garbage", comment(2, ANGRY)])
    await guarded.settled(3)

    async def window_is_published() -> Any:
        return await guarded.client.hgetall(guarded.keys.window("community-1"))

    await until(window_is_published, what="a window")
    assert (await worker.web("/ready"))[0] == 200
    _, metrics = await worker.web("/metrics")
    assert await worker.stop() == 0
    assert [event["labels"] for event in await guarded.events()] == [["anger"], ["anger"]]
    assert await guarded.client.execute_command("ACL LOG") == []
    for secret in SECRETS:
        assert secret not in worker.log.read_text()
        assert secret not in metrics


async def test_the_workers_redis_user_can_do_nothing_else(fortress: Fortress) -> None:
    as_worker = {**fortress.redis.client, "username": REDIS_USER}
    async with RedisClient.from_url(fortress.redis.url, **as_worker) as client:
        await client.hset("fp:mine", "field", "1")
        for forbidden in (
            client.hset("theirs", "field", "1"),
            client.flushall(),
            client.keys("*"),
            client.delete("fp:mine"),
            client.config_get("*"),
        ):
            with pytest.raises(NoPermissionError):
                await forbidden
        for command in ("'DEL', 'fp:mine'", "'HGET', 'theirs', 'field'"):
            with pytest.raises(ResponseError, match="can't"):
                await client.eval(f"return redis.call({command})", 0)


@pytest.mark.parametrize(
    ("service", "changes"),
    [
        ("Kafka", {"kafka_password": "wrong-Geheim-4"}),
        ("Redis", {"redis_url": "rediss://fanpulse-worker:wrong-Geheim-4@127.0.0.1:{port}/0"}),
        ("Kafka", {"kafka_ca_file": ""}),
        ("Redis", {"redis_ca_file": ""}),
        ("Triton", {"triton_ca_file": ""}),
    ],
    ids=["kafka-password", "redis-password", "kafka-ca", "redis-ca", "triton-ca"],
)
async def test_without_the_right_password_or_authority_nothing_is_read_and_no_secret_is_told(
    guarded: Deployment, fortress: Fortress, service: str, changes: dict[str, str]
) -> None:
    settings = {name: value.format(port=fortress.redis.port) for name, value in changes.items()}
    await guarded.send([comment(1, ANGRY)])
    worker = await guarded.worker(give_up_after_s=3, **settings)
    assert await asyncio.wait_for(worker.process.wait(), PATIENCE_S) in (1, 2)
    said = worker.log.read_text()
    assert service in said
    assert await guarded.fence() == 0
    for secret in (*SECRETS, "Geheim"):
        assert secret not in said


async def test_a_setting_that_cannot_work_is_named_without_its_value(tmp_path: Path) -> None:
    environment = {
        "FANPULSE_REDIS_URL": f"http://:{REDIS_PASSWORD}@host",
        "FANPULSE_PSEUDONYM_KEY": "short-Geh",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "worker"),
        env=environment,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 2
    assert b"FANPULSE_REDIS_URL" in said
    assert b"Geh" not in said


@pytest.fixture
async def deployment(
    kafka: Kafka, redis_server: Redis, triton: Triton, tmp_path: Path
) -> AsyncIterator[Deployment]:
    async with deployed(kafka, redis_server, triton, tmp_path) as deployment:
        yield deployment


async def test_by_default_the_worker_listens_on_loopback_alone_and_its_port_changes_nothing(
    deployment: Deployment,
) -> None:
    worker = await deployment.worker()
    address = await until(worker.address, what="the worker's port")
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(worker.process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/metrics", "/live", "/ready"):
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                async with session.request(method, address + path) as answer:
                    assert answer.status in (404, 405)
    worker.signal(signal.SIGTERM)
