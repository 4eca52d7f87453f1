"""Buckets and sketches read back from Redis, summed over the partitions. Read-only: no script, no write."""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from stream import sketches
from stream.buckets import HOUR, MILLIONTHS, MINUTE
from stream.keys import Keys
from stream.rolling import Size, Window, starts, window_at
from stream.sketches import Sketch

if TYPE_CHECKING:
    from stream.connections import RedisClient

Kind = Literal["m", "h"]

# Buckets that windows need: an hour and the one before; 24 hours and the 7 times 24 before.
KEPT: Mapping[Kind, int] = {"m": 120, "h": 192}
STEPS: Mapping[Kind, int] = {"m": MINUTE, "h": HOUR}
_PROBED = 64  # partitions asked for at a time
_ASKED_AT_ONCE = 1000  # keys in a pipeline: whoever shares the event loop gets his turn in between
_SCANNED_AT_ONCE = 1000


class Place(NamedTuple):
    """One bucket of one community; `start` in epoch seconds."""

    kind: Kind
    start: int
    community: str

    @classmethod
    def parse(cls, suffix: str) -> Self:
        kind, start, community = suffix.split(":", 2)
        return cls("m" if kind == "m" else "h", int(start), community)

    @property
    def bucket(self) -> str:
        return f"{self.kind}:{self.start}:{self.community}"

    @property
    def sketch(self) -> str:
        return f"{'am' if self.kind == 'm' else 'a'}:{self.start}:{self.community}"


Homes = Mapping[Place, Collection[int]]
"""Bucket → the partitions that have one, or may."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One minute or hour of a community, by event time."""

    start: datetime
    comments: int
    negative: int
    negativity: float  # summed over the comments, as are `scores`
    rejected: int
    labels: dict[str, int]  # comments that carry the emotion
    scores: dict[str, float]

    @classmethod
    def of(cls, start: int, fields: Mapping[str, int]) -> Self:
        """Read a bucket's hash; `start` in epoch seconds."""
        return cls(
            datetime.fromtimestamp(start, UTC),
            fields.get("n", 0),
            fields.get("neg", 0),
            fields.get("negativity", 0) / MILLIONTHS,
            fields.get("rej", 0),
            {name[2:]: amount for name, amount in fields.items() if name.startswith("l:")},
            {name[2:]: amount / MILLIONTHS for name, amount in fields.items() if name.startswith("s:")},
        )


class History:
    """Reads what settles wrote. All methods raise redis.RedisError or OSError where Redis does not answer."""

    def __init__(self, redis: "RedisClient", keys: Keys, topic: str) -> None:
        self._redis = redis
        self._keys = keys
        self._topic = topic

    async def fences(self) -> dict[int, int]:
        """Partition → first offset not yet settled. It asks from 0 on until 64 in a row have none."""
        found: dict[int, int] = {}
        first = 0
        while True:
            numbers = range(first, first + _PROBED)
            pipe = self._redis.pipeline(transaction=False)
            for number in numbers:
                pipe.hget(self._keys.partition(self._topic, number).fence, "next")
            answers = zip(numbers, await pipe.execute(), strict=True)
            there = {number: int(fence) for number, fence in answers if fence is not None}
            if not there:
                return found
            found |= there
            first += _PROBED

    async def homes(self) -> dict[Place, set[int]]:
        """Every bucket there is. It goes through all of Redis' keys, a part at a time."""
        found: dict[Place, set[int]] = {}
        pattern = self._keys.buckets(self._topic)
        async for key in self._redis.scan_iter(match=pattern, count=_SCANNED_AT_ONCE):
            partition, suffix = self._keys.parse_bucket(self._topic, key.decode())
            found.setdefault(Place.parse(suffix), set()).add(partition)
        return found

    async def fields(self, homes: Homes) -> dict[Place, dict[str, int]]:
        """The buckets' fields, summed over the partitions; buckets that are not there are left out."""
        found: dict[Place, dict[str, int]] = {}
        for place, answer in await self._ask("HGETALL", homes, lambda place: place.bucket):
            for name, amount in answer.items():
                total = found.setdefault(place, {})
                known = sys.intern(name.decode())  # the same few names stand in thousands of buckets
                total[known] = total.get(known, 0) + int(amount)
        return found

    async def authors(self, homes: Homes) -> dict[Place, Sketch]:
        """The buckets' author sketches, united over the partitions; those that are not there are left out."""
        found: dict[Place, list[Sketch]] = {}
        for place, answer in await self._ask("GET", homes, lambda place: place.sketch):
            if answer is not None:
                found.setdefault(place, []).append(sketches.read(answer))
        return {place: sketches.union(of) for place, of in found.items()}

    async def buckets(
        self, community: str, since: float, until: float, kind: Kind
    ) -> dict[int, dict[str, int]]:
        """Start → fields of the minute or hour buckets that begin in [since, until), epoch seconds."""
        step = STEPS[kind]
        first = -int(-since // step) * step
        partitions = list(await self.fences())
        wanted = [Place(kind, start, community) for start in range(first, int(until), step)]
        found = await self.fields(dict.fromkeys(wanted, partitions))
        return {place.start: fields for place, fields in found.items()}

    async def window(self, community: str, size: Size, at: float) -> Window:
        """The window of `size` at any moment (epoch s) whose buckets are still kept."""
        partitions = list(await self.fences())
        minutes, hours = by_start(await self.fields(dict.fromkeys(places(community, at), partitions)))
        authors = await self.authors(dict.fromkeys(current(community, size, at), partitions))
        distinct = sketches.count(sketches.union(authors.values()))
        return window_at(community, size, at, minutes, hours, authors=distinct)

    async def _ask(
        self, command: str, homes: Homes, suffix: Callable[[Place], str]
    ) -> list[tuple[Place, Any]]:
        asked = [(place, number) for place, numbers in homes.items() for number in numbers]
        answers: list[Any] = []
        for first in range(0, len(asked), _ASKED_AT_ONCE):
            pipe = self._redis.pipeline(transaction=False)
            for place, number in asked[first : first + _ASKED_AT_ONCE]:
                pipe.execute_command(command, self._keys.partition(self._topic, number).bucket(suffix(place)))
            answers += await pipe.execute()
        return [(place, answer) for (place, _), answer in zip(asked, answers, strict=True)]


def current(community: str, size: Size, at: float) -> list[Place]:
    """The buckets of the window itself."""
    kind: Kind = "h" if size == "24h" else "m"
    return [Place(kind, start, community) for start in starts(size, at)]


def places(community: str, at: float, after: int = 0) -> list[Place]:
    """All buckets that the windows at `at` (epoch s), those before and the baselines are made of.

    Those that start at `after` or earlier are left out.
    """
    found = []
    for kind, step in STEPS.items():
        last = int(at) // step * step
        newest_left_out = max(last - KEPT[kind] * step, after // step * step)
        found += [Place(kind, start, community) for start in range(newest_left_out + step, last + step, step)]
    return found


def by_start(
    fields: Mapping[Place, dict[str, int]],
) -> tuple[dict[int, dict[str, int]], dict[int, dict[str, int]]]:
    """Split one community's buckets into minutes and hours."""
    minutes = {place.start: found for place, found in fields.items() if place.kind == "m"}
    hours = {place.start: found for place, found in fields.items() if place.kind == "h"}
    return minutes, hours
