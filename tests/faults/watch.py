"""Looks at fences, log ends and commits while faults happen: when does work go on, is a commit ever ahead?"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from redis.asyncio import Redis as RedisClient
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

_LOOKS_EVERY_S = 0.2
_COMMITS_EVERY_S = 1.0


@dataclass
class Watch:
    """Reads the `fences` (keys in the order of the partitions) of `topic`, past all proxies."""

    redis: RedisClient | RedisCluster
    consumer: AIOKafkaConsumer
    admin: AIOKafkaAdminClient
    topic: str
    group: str
    fences: Sequence[str]
    commits_looked_at: int = 0
    commits_ahead: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tps = [TopicPartition(self.topic, number) for number in range(len(self.fences))]
        self._fences_seen = self._ends_seen = [0] * len(self.fences)
        self._excused = set[int]()
        self._excused_until = 0.0

    async def follow(self) -> None:
        """Keep what was last seen up to date until cancelled; a service that is away stops nothing else."""

        async def follow_fences() -> None:
            while True:
                self._fences_seen = await self.settled()
                await asyncio.sleep(_LOOKS_EVERY_S)

        async def follow_ends() -> None:
            while True:
                self._ends_seen = await self.ends()
                await asyncio.sleep(_LOOKS_EVERY_S)

        await asyncio.gather(follow_fences(), follow_ends(), self._follow_commits())

    async def ends(self) -> list[int]:
        """The ends of the log, waiting for Kafka if it is away."""
        while True:
            try:
                ends: Mapping[TopicPartition, int] = await self.consumer.end_offsets(self._tps)
            except (KafkaError, OSError):
                await asyncio.sleep(_LOOKS_EVERY_S)
            else:
                return [ends[tp] for tp in self._tps]

    async def settled(self) -> list[int]:
        """The fences, waiting for Redis if it is away."""
        while True:
            try:
                pipe = self.redis.pipeline(transaction=False)
                for key in self.fences:
                    pipe.hget(key, "next")
                values = await pipe.execute()
            except (RedisError, RedisClusterException, OSError):
                await asyncio.sleep(_LOOKS_EVERY_S)
            else:
                return [int(value or 0) for value in values]

    @property
    def lag(self) -> int:
        """Records not yet settled, as last seen."""
        return sum(self._ends_seen) - sum(self._fences_seen)

    async def recovery_s(self, within_s: float) -> float:
        """Seconds until every partition that lags now has settled something. Raises TimeoutError."""
        pairs = zip(self._fences_seen, self._ends_seen, strict=True)
        return await self._moved_s(
            [number for number, (fence, end) in enumerate(pairs) if fence < end], within_s
        )

    async def all_moved_s(self, within_s: float) -> float:
        """Seconds until every partition has settled something, for there is traffic on all. Raises TimeoutError."""
        return await self._moved_s(list(range(len(self.fences))), within_s)

    async def _moved_s(self, lagging: list[int], within_s: float) -> float:
        begun, before = time.monotonic(), self._fences_seen
        async with asyncio.timeout(within_s):
            while lagging:
                await asyncio.sleep(_LOOKS_EVERY_S)
                now = self._fences_seen
                lagging = [number for number in lagging if now[number] <= before[number]]
                # A fence that went back again meanwhile (another fault) is measured from there.
                before = [min(pair) for pair in zip(before, now, strict=True)]
        return time.monotonic() - begun

    async def grown(self, records: int, within_s: float) -> None:
        """Return when the log holds as many records. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while sum(self._ends_seen) < records:  # noqa: ASYNC110
                await asyncio.sleep(_LOOKS_EVERY_S)

    async def begun(self, within_s: float) -> None:
        """Return when something was settled in every partition. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not all(await self.settled()):  # noqa: ASYNC110
                await asyncio.sleep(_LOOKS_EVERY_S)

    async def caught_up(self, within_s: float) -> None:
        """Return when every fence stands at the end of the log. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while await self.settled() != await self.ends():  # noqa: ASYNC110 - nothing here could set an event
                await asyncio.sleep(_LOOKS_EVERY_S)

    def excuse(self, for_s: float) -> None:
        """Redis may go back in time: commits stand ahead until the workers have noticed."""
        self._excused = set(range(len(self.fences)))
        self._excused_until = max(self._excused_until, time.monotonic() + for_s)

    async def _follow_commits(self) -> None:
        """Note in `commits_ahead` where a commit is ahead of its fence."""
        while True:
            await asyncio.sleep(_COMMITS_EVERY_S)
            try:
                found = await self.admin.list_consumer_group_offsets(self.group, partitions=self._tps)
            except (KafkaError, OSError):
                continue
            fences = await self.settled()  # read after the commits: a fence only grows
            self.judge([found[tp].offset if tp in found else -1 for tp in self._tps], fences)

    def judge(self, committed: Sequence[int], fences: Sequence[int]) -> None:
        """Compare commits with fences that were read later."""
        for number, (commit, fence) in enumerate(zip(committed, fences, strict=True)):
            if commit <= fence:
                self.commits_looked_at += 1
                if time.monotonic() > self._excused_until:
                    self._excused.discard(number)
            elif number not in self._excused:
                self.commits_ahead.append(f"partition {number}: committed {commit}, fence {fence}")
