"""The only writer of Redis' partition keys: one atomic, fenced script per batch.

It does not retry. A settle whose answer was lost may be sent again at any time: the fence tells.
"""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Literal

import ormsgpack
from faust.types import TP
from redis.exceptions import NoScriptError

from stream.buckets import Settlement
from stream.connections import REDIS_ERRORS, RedisClient
from stream.errors import FenceMoved, Unavailable
from stream.keys import Keys

_SCRIPT = files("stream").joinpath("settle.lua").read_text()
_DIGEST = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Sink:
    """Settles batches. `events_kept` events stay per partition; buckets live `…_kept_s` seconds."""

    def __init__(
        self, redis: RedisClient, keys: Keys, *, events_kept: int, minutes_kept_s: int, hours_kept_s: int
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._keep = {"events": events_kept, "m": minutes_kept_s, "h": hours_kept_s}

    async def fence(self, tp: TP) -> int | None:
        """First offset of `tp` not yet settled; None where there is no fence. Raises Unavailable."""
        try:
            value = await self._redis.hget(self._fence_key(tp), "next")
        except REDIS_ERRORS as error:
            raise unavailable(error) from error
        return None if value is None else int(value)

    async def open(self, tp: TP, start: int) -> int:
        """Set the fence of `tp` to `start` unless it has one; return the fence. Raises Unavailable."""
        try:
            await self._redis.hsetnx(self._fence_key(tp), "next", start)
        except REDIS_ERRORS as error:
            raise unavailable(error) from error
        fence = await self.fence(tp)
        if fence is None:
            raise Unavailable("Redis", "the fence was gone right after it was set")
        return fence

    async def settle(self, tp: TP, settlement: Settlement) -> Literal["applied", "settled"]:
        """Apply `settlement` if it begins at the fence.

        Answers "settled" where that was done before. Raises FenceMoved where the fence stands elsewhere,
        Unavailable where Redis does not answer or refuses to write.
        """
        packed = ormsgpack.packb(
            {
                "position": settlement.position,
                "end": settlement.end,
                # as text: Redis' MessagePack knows no byte strings
                "events": [(offset, event.decode()) for offset, event in settlement.events],
                "buckets": {suffix: _flat(fields) for suffix, fields in settlement.increments.items()},
                "authors": settlement.authors,
                "communities": _newest_minutes(settlement.increments),
                "keep": self._keep,
            }
        )
        try:
            answer, fence = await self._run(self._fence_key(tp), packed)
        except REDIS_ERRORS as error:
            raise unavailable(error) from error
        if answer == b"moved":
            raise FenceMoved(None if fence < 0 else fence)
        return "settled" if answer == b"settled" else "applied"

    async def _run(self, fence_key: str, packed: bytes) -> tuple[bytes, int]:
        try:
            answer, fence = await self._redis.evalsha(_DIGEST, 1, fence_key, packed)
        except NoScriptError:
            answer, fence = await self._redis.eval(_SCRIPT, 1, fence_key, packed)
        return answer, fence

    def _fence_key(self, tp: TP) -> str:
        return self._keys.partition(tp.topic, tp.partition).fence


def _flat(fields: Mapping[str, int]) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def _newest_minutes(suffixes: Iterable[str]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for suffix in suffixes:
        kind, minute, community = suffix.split(":", 2)
        if kind == "m":
            newest[community] = max(newest.get(community, 0), int(minute))
    return newest


def unavailable(error: Exception) -> Unavailable:
    """What a Redis client's error means here: Redis cannot be used now, whatever the cause."""
    return Unavailable("Redis", f"{type(error).__name__}: {error}")
