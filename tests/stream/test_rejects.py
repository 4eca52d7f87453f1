"""Dead letters on a real broker: whatever was in the comment topic can be rejected."""

import time

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.stream.deployment import Deployment, comment

pytestmark = pytest.mark.connected


async def test_a_record_that_fits_its_topic_but_not_a_dead_letter_does_not_stop_the_partition(
    deployment: Deployment,
) -> None:
    """A broker takes a million bytes; with the headers of a dead letter this record is larger."""
    largest = b"x" * 1_048_500
    await deployment.send([largest, comment(1, "今天怒")])
    await deployment.worker(give_up_after_s=20)
    await deployment.settled(2)
    assert len(await deployment.events()) == 1
    (letter,) = await deployment.dead_letters()
    headers = dict(letter.headers)
    assert headers["reason"] == b"too_large"
    assert headers["stripped"] == b"1048500 bytes"
    assert letter.value == b""


async def test_a_record_whose_time_the_rejected_topic_would_refuse_does_not_stop_the_partition(
    deployment: Deployment,
) -> None:
    """Brokers refuse what is an hour ahead unless the topic says otherwise, and the comment topic may."""
    any_time = {"message.timestamp.after.max.ms": str(2**62)}
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.kafka.bootstrap)
    await admin.start()
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, deployment.topic, any_time)])
    await admin.close()
    ahead_ms = int((time.time() + 20 * 3600) * 1000)
    await deployment.producer.send_and_wait(
        deployment.topic, b"garbage", key=b"k", partition=0, timestamp_ms=ahead_ms
    )
    await deployment.send([comment(1, "今天怒")])
    await deployment.worker(give_up_after_s=20)
    await deployment.settled(2)
    (letter,) = await deployment.dead_letters()
    assert letter.value == b"garbage"
    assert dict(letter.headers)["source.timestamp"] == str(ahead_ms).encode()
