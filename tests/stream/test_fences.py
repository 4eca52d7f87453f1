import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
from faust.types import TP

from stream.errors import GaveUp
from stream.fences import FenceKeeper
from stream.patience import Patience

HERE = TP("comments", 0)


class Broker:
    """A consumer that asks a broker which fails with `failures`, one a call, before it answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    async def highwaters(self, tp: TP) -> dict[TP, int]:
        if self.failures:
            raise self.failures.pop(0)
        return {tp: 90}

    earliest_offsets = highwaters


class Fences:
    def __init__(self, fence: int | None) -> None:
        self.stands_at = fence

    async def fence(self, _: TP) -> int | None:
        return self.stands_at

    async def open(self, _: TP, position: int) -> int:
        return position


def keeper(fence: int | None, broker: Broker, give_up_after_s: float = 60.0) -> FenceKeeper:
    sink: Any = Fences(fence)
    consumer: Any = broker
    patience = Patience(give_up_after_s, asyncio.Event, lambda: None)
    return FenceKeeper(sink, patience, lambda: consumer, start_from="earliest")


@pytest.mark.parametrize(("fence", "begins_at"), [(70, 70), (None, 90)])
async def test_a_broker_that_is_away_longer_than_aiokafka_waits_is_asked_again(
    fence: int | None, begins_at: int
) -> None:
    broker = Broker(KafkaTimeoutError("in 40000 ms"), KafkaTimeoutError("in 40000 ms"))
    assert await keeper(fence, broker).of({HERE}) == {HERE: begins_at}


async def test_a_broker_that_stays_away_is_given_up() -> None:
    broker = Broker(*[KafkaTimeoutError("in 40000 ms")] * 5)
    with pytest.raises(GaveUp, match="Kafka is unavailable"):
        await keeper(70, broker, give_up_after_s=0).of({HERE})


async def test_a_refusal_is_not_waited_for() -> None:
    broker = Broker(TopicAuthorizationFailedError())
    with pytest.raises(TopicAuthorizationFailedError):
        await keeper(70, broker).of({HERE})
