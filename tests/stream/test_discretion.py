"""What a worker tells nobody: comments' texts and authors, and its secrets, not even when it fails."""

import asyncio

import pytest

from tests.stream.conftest import Deploy
from tests.stream.deployment import PATIENCE_S, comment

pytestmark = pytest.mark.connected

TEXT, AUTHOR = "紫色气球的悄悄话", "nobody-elses-business"
SECRETS = {"pseudonym_key": "pseudonym-Geheim-1", "kafka_password": "kafka-Geheim-2"}


def told_badly() -> list[bytes]:
    """A valid record, and that text wherever a record can be wrong."""
    return [
        comment(1, TEXT, author=AUTHOR),
        comment(2, TEXT, author=AUTHOR)[:-1],
        comment(3, TEXT, author=AUTHOR, likes=TEXT),
        comment(4, TEXT, author=AUTHOR, created_at=TEXT),
        comment(5, TEXT, author=AUTHOR, lang=TEXT),
        comment(6, TEXT, author=AUTHOR, id=TEXT * 100),
        comment(7, TEXT * 2000, author=AUTHOR),
        f'"{TEXT}"'.encode(),
        TEXT.encode(),
    ]


async def test_no_text_and_no_author_is_logged_at_info_or_counted(deploy: Deploy) -> None:
    deployment = await deploy(log_level="INFO")
    records = told_badly()
    await deployment.send(records)
    worker = await deployment.worker()
    await deployment.settled(len(records))
    _, metrics = await worker.web("/metrics")
    assert await worker.stop() == 0
    assert len(await deployment.dead_letters()) == len(records) - 1
    assert "rejected=" in worker.log.read_text()
    for said in (worker.log.read_text(), metrics):
        assert TEXT not in said
        assert AUTHOR not in said


async def test_a_traceback_holds_no_secret_and_no_text(deploy: Deploy) -> None:
    deployment = await deploy(log_level="DEBUG", **SECRETS)
    await deployment.send([comment(1, TEXT, author=AUTHOR)])
    worker = await deployment.worker(module=("tests.stream.staged", "raising"))
    assert await asyncio.wait_for(worker.process.wait(), PATIENCE_S) == 1
    said = worker.log.read_text()
    assert "Traceback" in said
    for secret in (*SECRETS.values(), TEXT, AUTHOR):
        assert secret not in said
