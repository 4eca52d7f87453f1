"""Timer's work: the buckets that changed become published rolling windows.

Windows are derived: nothing is lost when this stops, and two publishers at once do no harm. Buckets once read
are remembered; only those that a settle has touched since are read again.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stream import metrics, sketches
from stream.buckets import MINUTE
from stream.history import KEPT, STEPS, History, Kind, Place, current, places
from stream.keys import Keys
from stream.rolling import SIZES, Size, Window, starts, window_at
from stream.sketches import Sketch

if TYPE_CHECKING:
    from stream.connections import RedisClient

WINDOW_KEPT_S = 2 * 86400
WINDOWS_KEPT = 20_000
_TOGETHER = 16  # communities read and written at once
CHANGES_KEPT_S = 60


@dataclass(slots=True)
class _Community:
    """What is remembered of one community; `minute` is the one its windows were last published for."""

    name: str
    minute: int = 0
    newest: int = 0
    minutes: dict[int, dict[str, int]] = field(default_factory=dict)
    hours: dict[int, dict[str, int]] = field(default_factory=dict)
    authors: dict[tuple[Size, int], Sketch] = field(default_factory=dict)  # by size and start of the window
    published: dict[Size, Window] = field(default_factory=dict)

    def unread(self, touched: set[Place], minute: int) -> set[Place]:
        """The buckets to read: those touched, and those whose time has come since the last windows."""
        due = {place for place in touched if _oldest(place.kind, minute) <= place.start <= minute}
        return due.union(places(self.name, minute, after=self.minute))

    def uncounted(self, touched: set[Place], minute: int) -> set[Place]:
        """The buckets whose authors to read: those touched, and all of a window that has moved on."""
        wanted: set[Place] = set()
        for size in SIZES:
            there = {p for p in current(self.name, size, minute) if self._buckets(p.kind).get(p.start)}
            wanted |= there & touched if _key(size, minute) in self.authors else there
        return wanted

    def remember(self, place: Place, fields: dict[str, int]) -> None:
        self._buckets(place.kind)[place.start] = fields

    def count_authors(self, read: Mapping[Place, Sketch], minute: int) -> None:
        """Unite the sketches just read with those read before for the same windows."""
        united = {}
        for size in SIZES:
            known = [self.authors[key]] if (key := _key(size, minute)) in self.authors else []
            here = [read[place] for place in current(self.name, size, minute) if place in read]
            united[key] = sketches.union([*known, *here])
        self.authors = united

    def roll_up(self, now: float) -> dict[Size, Window]:
        """The windows that are not as they were last published."""
        windows = {}
        for size in SIZES:
            authors = sketches.count(self.authors[_key(size, int(now))])
            window = window_at(self.name, size, now, self.minutes, self.hours, authors=authors)
            last = self.published.get(size)
            if last is None or window != last.model_copy(update={"as_of": window.as_of}):
                windows[size] = window
        return windows

    def note(self, windows: Mapping[Size, Window], minute: int) -> None:
        """The windows were published; forget what the next ones will not need."""
        self.published |= windows
        if minute != self.minute:
            self.minute = minute
            self.minutes = {at: b for at, b in self.minutes.items() if at >= _oldest("m", minute)}
            self.hours = {at: b for at, b in self.hours.items() if at >= _oldest("h", minute)}

    def has_ended(self) -> bool:
        """Whether only zeros are left to publish, and were."""
        empty = not any(window.comments or window.rejected for window in self.published.values())
        return empty and self.newest <= self.minute

    def _buckets(self, kind: Kind) -> dict[int, dict[str, int]]:
        return self.minutes if kind == "m" else self.hours


def _oldest(kind: Kind, minute: int) -> int:
    return minute - KEPT[kind] * STEPS[kind]


def _key(size: Size, at: int) -> tuple[Size, int]:
    return size, starts(size, at)[0]


class Publisher:
    """Keeps `fp:window:<community>` and the stream `fp:windows` up to date."""

    def __init__(
        self, redis: "RedisClient", keys: Keys, *, topic: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._topic = topic
        self._clock = clock
        self._history = History(redis, keys, topic)
        self.forget()

    async def publish(self) -> int:
        """Publish every window that is not as it was last published; return how many.

        A community that fell silent goes on being published while its windows change, at last as zeros.
        Raises redis.RedisError or OSError where Redis does not answer; then everything is due again, because
        what answers next may be a replica that missed what was published.
        """
        try:
            return await self._publish_due()
        except Exception:
            self.forget()
            raise

    async def _publish_due(self) -> int:
        now = self._clock()
        minute = int(now) // MINUTE * MINUTE
        await self._follow(now, minute)
        due = [name for name, known in self._known.items() if known.minute != minute or name in self._touched]
        published = 0
        for first in range(0, len(due), _TOGETHER):
            published += await self._publish(due[first : first + _TOGETHER], now, minute)
        metrics.WINDOWS_PUBLISHED.inc(published)
        metrics.WINDOWS_PUBLISHED_AT.set(now)
        return published

    def forget(self) -> None:
        """Begin anew with everything: another publisher may trim changes that this one has not seen."""
        self._known: dict[str, _Community] = {}
        self._homes: dict[str, dict[Place, set[int]]] = {}  # by community: the partitions of each bucket
        self._touched: dict[str, set[Place]] = {}
        self._fences: dict[int, int] = {}
        self._seen: dict[int, int] = {}  # partition → score of the newest change read
        self._trim: tuple[float, dict[int, int]] = (0.0, {})

    async def _follow(self, now: float, minute: int) -> None:
        """Read which buckets were touched since the last time; of a new partition, all its communities."""
        fences = await self._history.fences()
        if any(fences.get(number, -1) < fence for number, fence in self._fences.items()):
            self.forget()  # Redis went back in time: whatever was read may be wrong
        for number in fences.keys() - self._fences.keys():
            keys = self._keys.partition(self._topic, number)
            newest: list[tuple[bytes, float]]  # redis-py types what comes without scores as well
            newest = await self._redis.zrange(keys.communities, 0, -1, withscores=True)  # type: ignore[assignment]
            for name, start in newest:
                self._touch(Place("m", int(start), name.decode()), minute)
        if fences.keys() - self._fences.keys():
            for place, partitions in (await self._history.homes()).items():
                self._note_home(place, partitions)
        pipe = self._redis.pipeline(transaction=False)
        for number in fences:
            keys = self._keys.partition(self._topic, number)
            since = f"({self._seen.get(number, -1)}"
            pipe.zrange(keys.changed, since, "+inf", byscore=True, withscores=True)
        for number, changes in zip(fences, await pipe.execute(), strict=True):
            for suffix, fence in changes:
                place = Place.parse(suffix.decode())
                self._note_home(place, {number})
                self._touch(place, minute)
                self._seen[number] = int(fence)
        self._fences = fences
        await self._trim_changes(now)

    def _note_home(self, place: Place, partitions: set[int]) -> None:
        if place.community:
            self._homes.setdefault(place.community, {}).setdefault(place, set()).update(partitions)

    def _touch(self, place: Place, minute: int) -> None:
        name = place.community
        if not name:  # rejected before their community was known
            return
        if name in self._known or place.start > minute - WINDOW_KEPT_S:
            known = self._known.setdefault(name, _Community(name))
            known.newest = max(known.newest, place.start)
            self._touched.setdefault(name, set()).add(place)

    async def _trim_changes(self, now: float) -> None:
        """Forget changes read a while ago; a publisher that takes over begins by reading everything."""
        since, seen = self._trim
        if now - since < CHANGES_KEPT_S:
            return
        for number, score in seen.items():
            keys = self._keys.partition(self._topic, number)
            await self._redis.zremrangebyscore(keys.changed, "-inf", score)
        self._trim = now, dict(self._seen)

    async def _publish(self, names: Sequence[str], now: float, minute: int) -> int:
        communities = [self._known[name] for name in names]
        await self._read(communities, minute)
        pipe = self._redis.pipeline(transaction=False)
        changed = [community.roll_up(now) for community in communities]
        for community, windows in zip(communities, changed, strict=True):
            texts = {size: window.model_dump_json() for size, window in windows.items()}
            for size, text in texts.items():
                pipe.hset(self._keys.window(community.name), size, text)
                pipe.xadd(self._keys.windows, {"window": text}, maxlen=WINDOWS_KEPT, approximate=True)
            pipe.expire(self._keys.window(community.name), WINDOW_KEPT_S)
        await pipe.execute()
        for community, windows in zip(communities, changed, strict=True):
            if minute != community.minute:
                homes = self._homes.get(community.name, {})
                self._homes[community.name] = {
                    p: homes[p] for p in homes if p.start >= _oldest(p.kind, minute)
                }
            community.note(windows, minute)
            self._touched.pop(community.name, None)
            if community.has_ended():
                del self._known[community.name]
        return sum(map(len, changed))

    async def _read(self, communities: Sequence[_Community], minute: int) -> None:
        """Bring the communities' buckets and authors up to date."""
        touched = {community.name: self._touched.get(community.name, set()) for community in communities}
        wanted = [place for c in communities for place in c.unread(touched[c.name], minute)]
        for place, fields in (await self._history.fields(self._there(wanted))).items():
            self._known[place.community].remember(place, fields)
        wanted = [place for c in communities for place in c.uncounted(touched[c.name], minute)]
        authors = await self._history.authors(self._there(wanted))
        for community in communities:
            community.count_authors(authors, minute)

    def _there(self, wanted: Iterable[Place]) -> dict[Place, set[int]]:
        """Those of the buckets that there are, and where: most communities say nothing in most minutes."""
        homes = ((place, self._homes.get(place.community, {}).get(place)) for place in wanted)
        return {place: partitions for place, partitions in homes if partitions}
