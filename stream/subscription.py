"""Reading the partitions' event streams as one consumer of a group: find, read, claim, acknowledge."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from tenacity import RetryCallState, retry, retry_if_exception_type, wait_random_exponential

from stream.connections import REDIS_ERRORS
from stream.errors import ConfigurationError, Unavailable
from stream.history import History
from stream.keys import Keys

POLL_S = 0.1
_COUNT = 256  # entries of one partition taken at once
_FIND_EVERY_S = 5.0

log = logging.getLogger(__name__)


@contextmanager
def answered() -> Iterator[None]:
    """Turn Redis' errors into ours: ConfigurationError where it refuses us, else Unavailable."""
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        raise ConfigurationError(f"Redis refuses this user: {error}") from error
    except REDIS_ERRORS as error:
        raise Unavailable("Redis", f"{type(error).__name__}: {error}") from error


def _report(state: RetryCallState) -> None:
    if state.outcome:
        log.warning("%s; attempt %d failed, trying again", state.outcome.exception(), state.attempt_number)


patiently = retry(
    retry=retry_if_exception_type(Unavailable),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    before_sleep=_report,
)
"""Repeat while Redis is away, for as long as it takes."""


class Entry(NamedTuple):
    """One stream entry; `fields` are empty where it was trimmed before anyone handled it."""

    stream: str
    id: bytes
    fields: dict[bytes, bytes]


class GroupReader:
    """One consumer in a group over all partitions' event streams."""

    def __init__(
        self,
        redis: Any,
        keys: Keys,
        topic: str,
        group: str,
        consumer: str | None,
        *,
        start: Literal["earliest", "latest"],
        claim_after_s: float,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._topic = topic
        self._history = History(redis, keys, topic)
        self._group = group
        self._consumer = consumer or f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._start = "0" if start == "earliest" else "$"
        self._claim_after_s = claim_after_s
        self._streams: list[str] = []
        self._find_at = self._claim_at = 0.0

    @patiently
    async def read(self) -> list[Entry]:
        """Wait for what is next: entries claimed from consumers that died, and new ones."""
        while True:
            try:
                with answered():
                    await self._find()
                    entries = await self._claim() + await self._take()
            except Unavailable:
                self._find_at = 0.0  # Redis may have lost the groups: look after them before reading on
                raise
            if entries:
                return entries
            await asyncio.sleep(POLL_S)

    async def acknowledge(self, entries: Sequence[Entry]) -> None:
        """Mark as handled; while Redis is away they are left to come again."""
        pipe = self._redis.pipeline(transaction=False)
        for stream in {entry.stream for entry in entries}:
            pipe.xack(stream, self._group, *(entry.id for entry in entries if entry.stream == stream))
        try:
            with answered():
                await pipe.execute()
        except Unavailable as error:
            log.warning("%s; %d events will come again", error, len(entries))

    async def leave(self, handled: Sequence[Entry]) -> None:
        """Acknowledge, and take the consumer's name out of streams where it owes nothing."""
        await self.acknowledge(handled)
        try:
            with answered():
                for stream in self._streams:
                    for consumer in await self._redis.xinfo_consumers(stream, self._group):
                        if consumer["name"].decode() == self._consumer and not consumer["pending"]:
                            await self._redis.xgroup_delconsumer(stream, self._group, self._consumer)
        except Unavailable as error:
            log.warning("%s; consumer %s stays listed", error, self._consumer)

    async def _find(self) -> None:
        if monotonic() < self._find_at:
            return
        partitions = await self._history.fences()
        streams = [self._keys.partition(self._topic, number).events for number in sorted(partitions)]
        for stream in streams:
            await self._join(stream)
        self._streams = streams
        self._find_at = monotonic() + _FIND_EVERY_S
        self._start = "0"  # whatever appears from now on is read whole

    async def _join(self, stream: str) -> None:
        try:
            await self._redis.xgroup_create(stream, self._group, id=self._start, mkstream=True)
        except NoPermissionError:
            raise
        except ResponseError:  # it is there already, or else the question below finds that it is not
            groups = await self._redis.xinfo_groups(stream)
            if self._group not in {group["name"].decode() for group in groups}:
                raise

    async def _claim(self) -> list[Entry]:
        if monotonic() < self._claim_at:
            return []
        claimed: list[Entry] = []
        for stream in self._streams:
            _, entries, *_ = await self._redis.xautoclaim(
                stream, self._group, self._consumer, int(self._claim_after_s * 1000), "0-0", count=_COUNT
            )
            claimed += [Entry(stream, entry_id, fields or {}) for entry_id, fields in entries]
        if not claimed:
            self._claim_at = monotonic() + self._claim_after_s / 4
        return claimed

    async def _take(self) -> list[Entry]:
        taken: list[Entry] = []
        for stream in self._streams:
            answer = await self._redis.xreadgroup(self._group, self._consumer, {stream: ">"}, count=_COUNT)
            for _, entries in answer:
                taken += [Entry(stream, entry_id, fields or {}) for entry_id, fields in entries]
        return taken
