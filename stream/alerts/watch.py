"""Reads what judging needs from Redis: counts of all communities up to a minute, and the comments themselves.

Buckets once read are remembered; only recent ones, which late comments still change, are read again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stream.alerts.alert import Explanation
from stream.alerts.conditions import Crowd
from stream.alerts.explain import crowd, explain
from stream.alerts.past import HOURS_BACK, MINUTES_BACK, Series
from stream.buckets import HOUR, MINUTE
from stream.client import Fanpulse
from stream.events import EmotionEvent
from stream.history import History, Place
from stream.subscription import answered

_CHANGING_MINUTES = 15
_CHANGING_HOURS = 2
_TOGETHER = 50  # communities read at once
_EVENTS = 2000


@dataclass(slots=True)
class _Community:
    newest: int = 0  # event minute
    homes: list[int] = field(default_factory=list)  # partitions
    read: int = 0  # the minute up to which the buckets were read
    minutes: dict[int, Mapping[str, int]] = field(default_factory=dict)
    hours: dict[int, Mapping[str, int]] = field(default_factory=dict)


class Watch:
    """All methods raise Unavailable while Redis is away."""

    def __init__(self, fp: Fanpulse) -> None:
        self._fp = fp
        self._history = History(fp.redis, fp.keys, fp.topic)
        self._known: dict[str, _Community] = {}

    def forget(self) -> None:
        """Read everything anew: somebody else judged in the meantime, or Redis is not what it was."""
        self._known.clear()

    async def newest(self) -> int:
        """The newest event minute of any community (epoch s); 0 without any."""
        with answered():
            partitions = sorted(await self._history.fences())
            pipe = self._fp.redis.pipeline(transaction=False)
            for number in partitions:
                key = self._fp.keys.partition(self._fp.topic, number).communities
                pipe.zrange(key, 0, -1, withscores=True)
            answers = await pipe.execute() if partitions else []
        for known in self._known.values():
            known.homes = []
        for number, answer in zip(partitions, answers, strict=True):
            for name, minute in answer:
                known = self._known.setdefault(name.decode(), _Community())
                known.newest = max(known.newest, int(minute))
                known.homes.append(number)
        return max((known.newest for known in self._known.values()), default=0)

    async def published(self) -> float:
        """When a worker last published a window (epoch s, Redis' clock); 0 if never."""
        with answered():
            last = await self._fp.redis.xrevrange(self._fp.keys.windows, count=1)
        return int(last[0][0].split(b"-")[0]) / 1000 if last else 0.0

    async def read(self, minute: int) -> dict[str, Series]:
        """Every community that wrote in the past week, up to `minute` (epoch s), as `newest` found them."""
        oldest = minute - HOURS_BACK * HOUR
        names = [name for name, known in self._known.items() if known.newest > oldest]
        for first in range(0, len(names), _TOGETHER):
            await self._refresh(names[first : first + _TOGETHER], minute)
        return {name: self._series(self._known[name], minute) for name in names}

    async def crowd(self, community: str, minute: int, minutes: int) -> Crowd:
        """Who wrote the negative comments of the last `minutes` minutes."""
        now, _ = await self._events(community, minute, minutes)
        return crowd(now)

    async def explain(self, community: str, minute: int, minutes: int) -> Explanation | None:
        """Why the last `minutes` minutes stand out, by the newest comments still kept."""
        now, before = await self._events(community, minute, minutes)
        return explain(now, before)

    async def _events(
        self, community: str, minute: int, minutes: int
    ) -> tuple[list[EmotionEvent], list[EmotionEvent]]:
        end = datetime.fromtimestamp(minute + MINUTE, UTC)
        since = end - timedelta(minutes=minutes)
        events = [event for event in await self._fp.recent(_EVENTS, community) if event.created_at < end]
        now = [event for event in events if event.created_at >= since]
        return now, events[len(now) :]

    async def _refresh(self, names: list[str], minute: int) -> None:
        wanted: list[Place] = []
        for name in names:
            read = self._known[name].read
            first = max(minute - (MINUTES_BACK - 1) * MINUTE, read - _CHANGING_MINUTES * MINUTE)
            wanted += [Place("m", start, name) for start in range(first, minute + MINUTE, MINUTE)]
            first = max(minute - HOURS_BACK * HOUR, read - _CHANGING_HOURS * HOUR) // HOUR * HOUR
            wanted += [Place("h", start, name) for start in range(first, minute + 1, HOUR)]
        with answered():
            found = await self._history.fields(
                {place: self._known[place.community].homes for place in wanted}
            )
        for place, fields in found.items():
            known = self._known[place.community]
            (known.minutes if place.kind == "m" else known.hours)[place.start] = fields
        for name in names:
            self._known[name].read = minute

    def _series(self, known: _Community, minute: int) -> Series:
        known.minutes = {at: f for at, f in known.minutes.items() if at > minute - MINUTES_BACK * MINUTE}
        known.hours = {at: f for at, f in known.hours.items() if at > minute - (HOURS_BACK + 1) * HOUR}
        return Series.of_buckets(minute, known.minutes, known.hours)


async def history(fp: Fanpulse, since: int, until: int) -> dict[str, Series]:
    """Every community's counts in [since, until) (epoch s, whole minutes), with the past they are judged by.

    Minutes and hours that are not kept any more count as empty. Raises Unavailable.
    """
    reader = History(fp.redis, fp.keys, fp.topic)
    known: dict[str, Series] = {}
    for community in await fp.communities():
        with answered():
            minutes = await reader.buckets(community, since - MINUTES_BACK * MINUTE, until, "m")
            hours = await reader.buckets(community, since - HOURS_BACK * HOUR, until, "h")
        known[community] = Series.of_buckets(until - MINUTE, minutes, hours, since=since)
    return known
