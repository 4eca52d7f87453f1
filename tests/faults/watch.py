"""Looks at fences and log ends while faults happen: how long until every partition moves again."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from redis.asyncio import Redis as RedisClient
from redis.exceptions import RedisError

_LOOKS_EVERY_S = 0.2


class Watch:
    """Reads the `fences` (keys in the order of the partitions) of `topic`, past all proxies."""

    def __init__(
        self, redis: RedisClient, consumer: AIOKafkaConsumer, topic: str, fences: Sequence[str]
    ) -> None:
        self._redis = redis
        self._consumer = consumer
        self._tps = [TopicPartition(topic, number) for number in range(len(fences))]
        self._fences = fences

    async def ends(self) -> list[int]:
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(self._tps)
        return [ends[tp] for tp in self._tps]

    async def settled(self) -> list[int]:
        """The fences, waiting for Redis if it is away."""
        while True:
            try:
                values = [await self._redis.hget(key, "next") for key in self._fences]
            except (RedisError, OSError):
                await asyncio.sleep(_LOOKS_EVERY_S)
            else:
                return [int(value or 0) for value in values]

    async def recovery_s(self, within_s: float) -> float:
        """Seconds until every partition that lags now has settled something. Raises TimeoutError."""
        begun = time.monotonic()
        before, ends = await self.settled(), await self.ends()
        lagging = [number for number, fence in enumerate(before) if fence < ends[number]]
        async with asyncio.timeout(within_s):
            while lagging:
                now = await self.settled()
                lagging = [number for number in lagging if now[number] <= before[number] < ends[number]]
                # A fence that went back again meanwhile (another fault) is measured from there.
                before = [min(pair) for pair in zip(before, now, strict=True)]
                await asyncio.sleep(_LOOKS_EVERY_S)
        return time.monotonic() - begun

    async def caught_up(self, within_s: float) -> None:
        """Return when every fence stands at the end of the log. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while await self.settled() != await self.ends():  # noqa: ASYNC110 - nothing here could set an event
                await asyncio.sleep(_LOOKS_EVERY_S)
