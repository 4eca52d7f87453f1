"""Follows Redis once for all viewers and keeps what they may be shown; two ticks a second at most.

It knows the reader and what viewers have asked for, not HTTP."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from redis import RedisError

from stream.board.alerts import ShownAlert, shown
from stream.board.reader import Point, Reader, Step
from stream.board.rows import Rows
from stream.board.said import Said
from stream.keys import Keys

log = logging.getLogger(__name__)

TICK_S = 0.5
RETRY_S = 1.0
RELOAD_S = 60.0  # finds new partitions, forgets silent communities, notices a Redis that went back in time
RELOAD_FOR_NEW_S = 3.0  # … and communities not known yet, whose partition may be new as well
SILENT_S = 120.0
COMMUNITY_KEPT_S = 86_400
COMMENTS_A_TICK = 1000
SPARKS_A_TICK = 20


class Course(NamedTuple):
    """A community's buckets of one width: what a chart on the page follows."""

    community: str
    step: Step


class Watch:
    """The latest of everything; `version` grows with each tick, and viewers get what they have not seen."""

    def __init__(self, reader: Reader, keys: Keys) -> None:
        self._reader = reader
        self._keys = keys
        self._ticked = asyncio.Condition()
        self._watched: Counter[Course] = Counter()
        self._viewers = 0
        self._after: dict[str, str] = {}
        self._windows_after = "0-0"
        self._alerts_after: str | None = None
        self._loaded_at = 0.0
        self._strangers = False  # communities have come that were not there at the last load
        self._settled: tuple[float, int] | None = None
        self.version = 0
        self.loaded = 0  # the version that was read anew as a whole
        self.closing = False
        self.read_at: float | None = None  # when Redis last answered
        self.away = True
        self.rate = 0.0  # offsets settled a second
        self.rows = Rows()
        self.alerts: dict[str, tuple[int, ShownAlert]] = {}  # by ID, with the version that changed them
        self.points: dict[Course, list[Point]] = {}  # the two newest buckets
        self.comments: deque[tuple[int, Said]] = deque(maxlen=2 * COMMENTS_A_TICK)  # newest last

    async def run(self) -> None:
        """Tick until closed. A Redis that is away is tried again, and what it had is shown as old."""
        while not self.closing:
            began = time.monotonic()
            try:
                await self._tick()
                if self.away:
                    log.info("redis answers")
                self.away = False
            except (RedisError, OSError) as error:
                if not self.away or self.version == 0:
                    log.warning("redis is away: %s", type(error).__name__)
                self.away = True
                self._loaded_at = 0.0
            await self._announce()
            await asyncio.sleep(max(0.0, (RETRY_S if self.away else TICK_S) - (time.monotonic() - began)))

    async def ticked(self, seen: int) -> None:
        """Wait until there is a version after the one seen, or the board closes."""
        async with self._ticked:
            await self._ticked.wait_for(lambda: self.version > seen or self.closing)

    async def close(self) -> None:
        """Let every viewer go."""
        self.closing = True
        await self._announce()

    @contextmanager
    def viewer(self, course: Course | None) -> Iterator[None]:
        """While somebody looks, comments are read, and the newest buckets of the community in view."""
        self._viewers += 1
        if course:
            self._watched[course] += 1
        try:
            yield
        finally:
            self._viewers -= 1
            if course:
                self._watched[course] -= 1
                self._watched += Counter()  # drops zeros

    async def _announce(self) -> None:
        async with self._ticked:
            self.version += 1
            self._ticked.notify_all()

    async def _tick(self) -> None:
        now = time.time()
        upcoming = self.version + 1
        if now - self._loaded_at > (RELOAD_FOR_NEW_S if self._strangers else RELOAD_S):
            await self._load(now, upcoming)
        self._windows_after, windows = await self._reader.published(self._windows_after)
        self._strangers |= self.rows.publish(windows, upcoming)
        await self._follow_alerts(upcoming)
        await self._remember_sparks(now, upcoming)
        if self._viewers:
            await self._follow_comments(now, upcoming)
            self.points = {course: await self._newest_buckets(course, now) for course in list(self._watched)}
        self.read_at = time.time()

    async def _load(self, now: float, version: int) -> None:
        await self._reader.find_partitions()
        self._windows_after = await self._reader.newest_window()
        communities = sorted(await self._reader.communities(now - COMMUNITY_KEPT_S))
        self.rows.replace(await self._reader.windows(communities), version)
        self.alerts.clear()
        self._alerts_after = None
        self._loaded_at, self.loaded, self._strangers = now, version, False

    async def _follow_alerts(self, version: int) -> None:
        self._alerts_after, changes = await self._reader.alerts(self._alerts_after)
        for change in changes:
            _, known = self.alerts.get(change.id, (0, None))
            self.alerts[change.id] = (version, shown(change, known))

    async def _remember_sparks(self, now: float, version: int) -> None:
        """A few communities a tick, so that a start with hundreds of them does not hold up the figures."""
        begun = sorted(self.rows.without_past)[:SPARKS_A_TICK]
        for community, minutes in (await self._reader.past_hour(begun, now)).items():
            self.rows.remember(community, minutes, now, version)

    async def _newest_buckets(self, course: Course, now: float) -> list[Point]:
        return await self._reader.series(course.community, course.step, now - course.step, now)

    async def _follow_comments(self, now: float, version: int) -> None:
        new = await self._reader.new_comments(self._after, COMMENTS_A_TICK)
        self.comments.extend((version, said) for said in reversed(new))
        settled = await self._reader.settled()
        if self._settled:
            before, was = self._settled
            if settled < was:  # Redis went back in time: what was read is not what is there
                self._after.clear()
                self._loaded_at = 0.0
            self.rate += (max(0, settled - was) / max(now - before, TICK_S) - self.rate) * 0.3
        self._settled = (now, settled)
