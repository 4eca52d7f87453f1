"""The alert process: while it leads, it judges every minute of event time once and in order, and tells.

A minute is judged when it is over and late comments had a moment to come. Where data is missing it waits.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from stream.alerts.deliver import Courier
from stream.alerts.judging import MISSING, Judging, Tracks, moment
from stream.alerts.leader import LEASE_S, Lease
from stream.alerts.past import Series
from stream.alerts.rules_file import RulesFile
from stream.alerts.store import Changes, Store
from stream.alerts.watch import Watch
from stream.buckets import MINUTE
from stream.client import Fanpulse
from stream.errors import Unavailable

LATE_S = 10.0  # how long after its end a minute is judged
FRESH_MINUTES = 5  # without a comment anywhere for so long, data may be missing
_PUBLISHED_WITHIN_S = 180.0  # … unless a worker has published windows since
_CATCH_UP_MINUTES = 90  # older minutes are left out: their past is no longer known
_LOOK_EVERY_S = 1.0

log = logging.getLogger(__name__)


class Service:
    """One replica. `clock` gives epoch seconds; a leader that is dead for `lease_s` is succeeded.

    Raises ConfigurationError at once where the rules file cannot be used.
    """

    def __init__(
        self,
        fp: Fanpulse,
        rules_path: Path,
        *,
        clock: Callable[[], float] = time.time,
        lease_s: float = LEASE_S,
    ) -> None:
        self._watch = Watch(fp)
        self._store = Store(fp.redis, fp.keys)
        self._lease = Lease(fp.redis, fp.keys, lease_s=lease_s)
        self._courier = Courier(self._store)
        self._clock = clock
        self._rules = RulesFile(rules_path)
        self._error_shown: str | None = None
        self._token: int | None = None

    async def run(self) -> None:
        """Go on until cancelled. Redis may come and go. Raises ConfigurationError where Redis refuses us."""
        keeping = asyncio.create_task(self._lease.keep())
        try:
            away = False
            while True:
                try:
                    await self.turn()
                    if away:
                        log.info("Redis is back")
                    away = False
                except Unavailable as error:
                    if not away:
                        log.warning("%s; neither firing nor resolving until it is back", error)
                    away = True
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            keeping.cancel()
            await self._courier.close()
            try:
                await self._lease.release()
            except Unavailable as error:
                log.warning("%s; another replica takes over when the lease ends", error)

    async def turn(self) -> None:
        """Lead if nobody does; then judge what is due and deliver what waits."""
        token = await self._lease.hold()
        if token != self._token:
            log.info("leading with token %s" if token else "no longer leading%.0s", token)
            self._token = token
            self._error_shown = None  # the status may show what another replica found
            self._watch.forget()
            await self._courier.stop()
        if token is None:
            return
        await self._reload(token)
        await self._judge_due(token)
        if self._lease.token == token:
            await self._courier.deliver(token, self._rules.content)

    async def _reload(self, token: int) -> None:
        self._rules.reload()
        if self._rules.error != self._error_shown:
            await self._store.note(token, "rules_error", self._rules.error)
            self._error_shown = self._rules.error

    async def _judge_due(self, token: int) -> None:
        due = int(self._clock() - LATE_S) // MINUTE * MINUTE - MINUTE
        if int((await self._store.status()).get("minute") or 0) >= due:
            return
        newest = await self._watch.newest()
        known = await self._watch.read(due)
        while self._lease.token == token and await self._judge_next(token, due, newest, known):
            pass

    async def _judge_next(self, token: int, due: int, newest: int, known: Mapping[str, Series]) -> bool:
        """Judge the oldest minute not judged yet; False where there is none, or data is missing."""
        status = await self._store.status()
        began_from = status.get("minute", "")
        minute = max(int(began_from or due - MINUTE) + MINUTE, due - _CATCH_UP_MINUTES * MINUTE)
        if minute > due:
            return False
        tracks = await self._store.tracks()
        pasts = {community: series.past(minute) for community, series in known.items()}
        fresh = any(past.stretch(FRESH_MINUTES).n for past in pasts.values())
        later = any(series.past(due).stretch((due - minute) // MINUTE).n for series in known.values())
        if not fresh and not later and not await self._is_silence(newest, status):
            if not began_from and due < newest <= self._clock():
                return False  # a first start: the minute that the first comments were said in is not over
            return await self._wait(token, began_from, newest, tracks, due)
        judging = Judging(self._rules.content, self._watch, minute)
        if missing := tracks.pop(MISSING, None):
            judging.data_is_back(missing)
        jumped = began_from and minute > int(began_from) + MINUTE
        empty = later and not fresh
        if missing or jumped or empty:
            judging.leave_a_gap(tracks)
        if not empty:
            await judging.judge(pasts, tracks)
        now = {"minute": str(minute), "newest": str(newest), "missing_since": ""}
        return await self._commit(token, began_from, judging.changes, now)

    async def _is_silence(self, newest: int, status: Mapping[str, str]) -> bool:
        """Whether nobody writes, rather than nobody tells us: a worker publishes and is not catching up."""
        caught_up = int(status.get("newest") or 0) >= newest
        return caught_up and self._clock() - await self._watch.published() < _PUBLISHED_WITHIN_S

    async def _wait(self, token: int, began_from: str, newest: int, tracks: Tracks, due: int) -> bool:
        judging = Judging(self._rules.content, self._watch, due)
        status = {"newest": str(newest)}
        if MISSING not in tracks and newest:
            judging.data_is_missing()
            status["missing_since"] = str(newest)
            log.error("no data since %s: alerts neither fire nor resolve", moment(newest).isoformat())
        await self._commit(token, began_from, judging.changes, status)
        return False

    async def _commit(self, token: int, began_from: str, changes: Changes, status: Mapping[str, str]) -> bool:
        if not await self._store.commit(token, began_from, changes, status):
            self._watch.forget()
            return False
        for alert in changes.alerts:
            log.info("alert %s is %s at %s", alert.id, alert.state, alert.at.isoformat())
        return True
