"""The chart's production example, run on this machine: TLS, SASL and rights on every wire, as one system."""

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaProducer

from deploy.local import Kafka, Redis, Triton, cluster, join
from stream.keys import Keys
from tests import tiny_model
from tests.credentials import (
    Inside,
    add_scram_user,
    allow,
    broker_properties,
    certificates,
    redis_config,
)
from tests.deploy.conftest import Manifest, Render
from tests.deploy.kubelet import Kubelet
from tests.deploy.test_chart import pods
from tests.stream.deployment import comment, until

KAFKA_USER, KAFKA_PASSWORD = "fan", "kafka-Geheim-1"
REDIS_PASSWORD, PSEUDONYM_KEY = "redis-Geheim-2", "pseudonym-Geheim-3"
BOARD_TOKEN, WEBHOOK_TOKEN = "board-token-Geheim-4", "webhook-Geheim-5"
SECRETS = (KAFKA_PASSWORD, REDIS_PASSWORD, PSEUDONYM_KEY, BOARD_TOKEN, WEBHOOK_TOKEN)
PARTITIONS = 2
KEYS = Keys()


async def test_the_production_values_run_with_tls_sasl_and_least_rights_on_every_wire(
    render: Render, redis7: Redis, tmp_path: Path
) -> None:
    made = certificates(tmp_path / "certificates")
    kafka = Kafka(
        tmp_path / "kafka",
        protocol="SASL_SSL",
        properties={
            **broker_properties(made, KAFKA_USER, KAFKA_PASSWORD),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # who is inside
        },
    )
    (redis,) = cluster(
        tmp_path,
        1,
        executable=redis7.executable,  # Valkey's wheel is built without TLS
        config=redis_config(made, REDIS_PASSWORD),
        tls=True,
        client={"username": "inspector", "password": REDIS_PASSWORD, "ssl_ca_certs": str(made.ca)},
    )
    triton = Triton(tmp_path / "triton", repository=tmp_path / "models", models=(), tls=True)
    tiny_model.write(triton.repository)

    def url(user: str) -> str:
        return f"rediss://{user}:{REDIS_PASSWORD}@127.0.0.1:{redis.port}/0"

    ca = {"ca.crt": made.ca.read_text()}
    kubelet = Kubelet(
        tmp_path / "pods",
        secrets={
            "fanpulse-kafka": {**ca, "username": KAFKA_USER, "password": KAFKA_PASSWORD},
            "fanpulse-redis": {
                **ca,
                "url": url("fanpulse-worker"),
                "alerts-url": url("fanpulse-alerts"),
                "board-url": url("fanpulse-board"),
            },
            "fanpulse-triton-tls": {
                **ca,
                "tls.crt": made.cert.read_text(),
                "tls.key": made.key.read_text(),
            },
            "fanpulse-pseudonyms": {"pseudonym-key": PSEUDONYM_KEY},
            "fanpulse-board": {"token": BOARD_TOKEN},
            "fanpulse-webhooks": {"OPS_WEBHOOK": WEBHOOK_TOKEN},
        },
        names={"demo-fanpulse-triton.fanpulse.svc:8001": f"127.0.0.1:{triton.port}"},
    )
    kubelet.folder.mkdir()
    values = {
        "kafka.brokers": [kafka.bootstrap],
        "kafka.partitions": PARTITIONS,
        "kafka.replication": 1,
        "worker.autoscaling.enabled": False,
        "models": {"zh": tiny_model.NAME, "en": None},
        "triton.models": [tiny_model.NAME],
        "board.existingSecret": "fanpulse-board",
        "settings.log_level": "DEBUG",
        "settings.publish_every_s": 0.2,
    }
    specs = dict(pods(render("production", **values)))
    triton.arguments = kubelet.arguments("triton", specs["triton"])

    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(service) for service in (kafka, redis, triton)))
        stack.push_async_callback(kubelet.stop)
        await join([redis])
        await add_scram_user(kafka, KAFKA_USER, KAFKA_PASSWORD, 512)
        await allow(kafka, KAFKA_USER, _rights(render("strimzi", **{"kafka.security": "SASL_SSL"})))
        assert await (await kubelet.run("topics", specs["topics"])).ended() == 0
        for part in ("worker", "alerts", "board"):
            await kubelet.run(part, specs[part])
        for part in ("worker", "board"):
            await kubelet.pods[part].ready()
        await _send(kafka, [comment(1, "今天怒"), b"garbage", comment(2, "今天乐", author="ada")])
        client = await stack.enter_async_context(redis.connect())

        async def published() -> Any:
            return await client.hgetall(KEYS.window("community-2"))

        async def judged() -> Any:
            return await client.hgetall(f"{KEYS.alert_root}status")

        await until(published, what="a window")
        await until(judged, what="the alert process's status")
        async with aiohttp.ClientSession() as session:
            board, worker = (f"http://{kubelet.pods[name].address}" for name in ("board", "worker"))
            async with session.get(f"{board}:8080/frames") as refused:
                assert refused.status in (401, 403)
            known = {"Authorization": f"Bearer {BOARD_TOKEN}"}
            async with session.get(f"{board}:8080/frames", headers=known) as frames:
                assert frames.status == 200
            async with session.get(f"{worker}:6066/metrics") as answer:
                metrics = await answer.text()
        operator = _operator(url("fanpulse-operator"), made.ca, kafka)
        assert json.loads(await _fanpulse(operator, "audit", "--json"))["holds"]
        assert await _fanpulse(operator, "erase", "--author", "ada") == "1 events erased\n"
        assert set((await kubelet.stop()).values()) == {0}
        assert await client.execute_command("ACL LOG") == []
    told = {name: pod.log.read_text() for name, pod in kubelet.pods.items()}
    assert "settled" in told["worker"] or "applied" in told["worker"]
    for secret in SECRETS:
        assert secret not in metrics
        assert [name for name, said in told.items() if secret in said] == []


def _rights(strimzi: list[Manifest]) -> list[tuple[str, str, list[str]]]:
    """What the chart's KafkaUser may do, and to create the topics: Strimzi makes them, elsewhere the hook does."""
    (user,) = (manifest for manifest in strimzi if manifest["kind"] == "KafkaUser")
    rights = [
        (acl["resource"]["type"], acl["resource"]["name"], acl["operations"])
        for acl in user["spec"]["authorization"]["acls"]
    ]
    return [*rights, *((kind, name, ["Create"]) for kind, name, _ in rights if kind == "topic")]


async def _send(kafka: Kafka, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=Inside(kafka).bootstrap) as producer:
        for number, value in enumerate(values):
            await producer.send_and_wait("comments", value, partition=number % PARTITIONS)


def _operator(redis_url: str, ca: Path, kafka: Kafka) -> dict[str, str]:
    """The environment of whoever operates this from inside."""
    return {
        "FANPULSE_REDIS_URL": redis_url,
        "FANPULSE_REDIS_CLUSTER": "true",
        "FANPULSE_REDIS_CA_FILE": str(ca),
        "FANPULSE_KAFKA_URL": Inside(kafka).url,
        "FANPULSE_PSEUDONYM_KEY": PSEUDONYM_KEY,
    }


async def _fanpulse(environment: Mapping[str, str], *arguments: str) -> str:
    """Run the command line; return what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return said.decode()
