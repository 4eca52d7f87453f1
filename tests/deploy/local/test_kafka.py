"""The broker under restarts, without automatic topics, as a quorum, and behind a password."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError

from deploy.local import Kafka, quorum

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Kafka]:
    async with Kafka(tmp_path) as broker:
        yield broker


async def declare(bootstrap: str, *, copies: int = 1) -> str:
    topic = f"t{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, copies)])
    finally:
        await admin.close()
    return topic


async def send(bootstrap: str, topic: str, value: bytes, **options: Any) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", **options) as producer:
        await producer.send_and_wait(topic, value)


async def first(bootstrap: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=uuid4().hex, auto_offset_reset="earliest"
    )
    async with consumer:
        record = await consumer.getone()
        return record.value


async def test_records_survive_a_killed_broker(broker: Kafka) -> None:
    topic = await declare(broker.bootstrap)
    await send(broker.bootstrap, topic, b"kept")
    await broker.kill()
    await broker.start()
    assert await first(broker.bootstrap, topic) == b"kept"


async def test_topics_are_never_made_by_using_them(kafka: Kafka) -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        await send(kafka.bootstrap, f"t{uuid4().hex}", b"lost", request_timeout_ms=3000)


async def test_a_quorum_of_three_goes_on_without_one(tmp_path: Path) -> None:
    brokers = quorum(tmp_path)
    try:
        await asyncio.gather(*(broker.start() for broker in brokers))
        bootstrap = ",".join(broker.bootstrap for broker in brokers)
        topic = await declare(bootstrap, copies=3)
        await send(bootstrap, topic, b"copied")
        await brokers[0].kill()
        assert await first(bootstrap, topic) == b"copied"
    finally:
        await asyncio.gather(*(broker.kill() for broker in brokers))


async def test_a_broker_behind_sasl_lets_in_only_who_knows_the_password(tmp_path: Path) -> None:
    properties = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.clients.plain.sasl.jaas.config": f'{PLAIN} required user_worker="let-me-in";',
    }
    async with Kafka(tmp_path, protocol="SASL_PLAINTEXT", properties=properties) as broker:
        sasl = {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": "worker",
        }
        topic = await declare(f"127.0.0.1:{broker.ports['inner']}")
        with pytest.raises(KafkaConnectionError):
            await send(broker.bootstrap, topic, b"refused", sasl_plain_password="wrong", **sasl)
        await send(broker.bootstrap, topic, b"let in", sasl_plain_password="let-me-in", **sasl)
