"""The alert process: while it leads, it judges every minute of event time once and in order, and tells.

A minute is judged when it is over and late comments had a moment to come. Where data is missing it waits.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from stream.alerts import wording
from stream.alerts.alert import DATA_MISSING, Alert
from stream.alerts.conditions import Judgement, judge, wants_crowd
from stream.alerts.deliver import Courier
from stream.alerts.leader import LEASE_S, Lease
from stream.alerts.lifecycle import Change, Track, after_gap, step
from stream.alerts.past import Past, Series
from stream.alerts.rules import Concentration, Rule, load
from stream.alerts.store import Changes, Store, TrackKey
from stream.alerts.watch import Watch
from stream.buckets import MINUTE
from stream.client import Fanpulse
from stream.errors import ConfigurationError, Unavailable

LATE_S = 10.0  # how long after its end a minute is judged
FRESH_MINUTES = 5  # without a comment anywhere for so long, data may be missing
_PUBLISHED_WITHIN_S = 180.0  # … unless a worker has published windows since
_CATCH_UP_MINUTES = 90  # older minutes are left out: their past is no longer known
_LOOK_EVERY_S = 1.0
_MISSING = TrackKey(DATA_MISSING, "")

log = logging.getLogger(__name__)


class Service:
    """One replica. `clock` gives epoch seconds; a leader that is dead for `lease_s` is succeeded."""

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
        self._rules_path = rules_path
        self._rules_changed_at = 0.0
        self._rules_error = ""
        self._rules = load(rules_path)
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
            self._watch.forget()
            await self._courier.stop()
        if token is None:
            return
        await self._reload(token)
        await self._judge_due(token)
        if self._lease.token == token:
            await self._courier.deliver(token, self._rules)

    async def _reload(self, token: int) -> None:
        """Take a changed rules file; if it is broken the old rules go on and the status shows the error."""
        error = self._rules_error
        try:
            changed_at = self._rules_path.stat().st_mtime
            if changed_at != self._rules_changed_at:
                self._rules_changed_at = changed_at
                self._rules = load(self._rules_path)
                error = ""
        except (OSError, ConfigurationError) as broken:
            error = str(broken)
        if error != self._rules_error:
            if error:
                log.error("%s; the rules read before go on", error)
            await self._store.note(token, "rules_error", error)
            self._rules_error = error

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
            return await self._wait(token, began_from, newest, tracks, due)
        changes = Changes()
        missing = tracks.pop(_MISSING, None)
        if missing and missing.alert:
            self._data(changes, "resolved", minute, missing.alert)
        if fresh or not later:
            jumped = began_from and minute > int(began_from) + MINUTE
            if jumped or missing:
                changes.tracks |= _after_gap(tracks)
            await self._judge(minute, pasts, tracks, changes)
        else:  # nothing came here, and later something did
            changes.tracks |= _after_gap(tracks)
        now = {"minute": str(minute), "newest": str(newest), "missing_since": ""}
        return await self._commit(token, began_from, changes, now)

    async def _is_silence(self, newest: int, status: Mapping[str, str]) -> bool:
        """Whether nobody writes, rather than nobody tells us: a worker publishes and is not catching up."""
        caught_up = int(status.get("newest") or 0) >= newest
        return caught_up and self._clock() - await self._watch.published() < _PUBLISHED_WITHIN_S

    async def _wait(
        self, token: int, began_from: str, newest: int, tracks: Mapping[TrackKey, Track], due: int
    ) -> bool:
        changes = Changes()
        status = {"newest": str(newest)}
        if _MISSING not in tracks and newest:
            self._data(changes, "firing", due, None)
            status["missing_since"] = str(newest)
            log.error("no data since %s: alerts neither fire nor resolve", _moment(newest).isoformat())
        await self._commit(token, began_from, changes, status)
        return False

    async def _commit(self, token: int, began_from: str, changes: Changes, status: Mapping[str, str]) -> bool:
        if not await self._store.commit(token, began_from, changes, status):
            self._watch.forget()
            return False
        for alert in changes.alerts:
            log.info("alert %s is %s at %s", alert.id, alert.state, alert.at.isoformat())
        return True

    async def _judge(
        self, minute: int, pasts: Mapping[str, Past], tracks: Mapping[TrackKey, Track], changes: Changes
    ) -> None:
        watched = {
            TrackKey(rule.name, community): rule
            for rule in self._rules.rule
            for community in pasts
            if rule.watches(community)
        }
        for key in tracks.keys() - watched.keys():
            self._drop(key, tracks[key], minute, changes)
        for key, rule in watched.items():
            track = changes.tracks.get(key, tracks.get(key))
            await self._follow(rule, key, track, pasts[key.community], minute, changes)

    def _drop(self, key: TrackKey, track: Track, minute: int, changes: Changes) -> None:
        """The rule was taken out, or the community is long gone: nobody would ever resolve the alert."""
        changes.tracks[key] = None
        if track.phase == "firing" and track.alert:
            over = {
                "state": "resolved",
                "at": _moment(minute),
                "explanation": None,
                "summary": wording.DROPPED,
            }
            alert = track.alert.model_copy(update=over)
            changes.alerts.append(alert)
            if track.notified:
                self._send(None, alert, changes)

    async def _follow(
        self, rule: Rule, key: TrackKey, track: Track | None, past: Past, minute: int, changes: Changes
    ) -> None:
        crowd = None
        if isinstance(rule, Concentration) and wants_crowd(rule, past):
            crowd = await self._watch.crowd(key.community, minute, rule.window)
        judgement = judge(rule, past, crowd)
        after, change = step(rule, track, judgement, minute)
        if after and change:
            alert = await self._alert(rule, key.community, after, judgement, change, minute)
            changes.alerts.append(alert)
            if change == "firing":
                after = after.model_copy(update={"alert": alert})
            elif after.notified:
                self._send(rule, alert, changes)
        unheard = after and after.phase == "firing" and not after.notified
        if after and after.alert and unheard and not rule.is_muted(_moment(minute)):
            self._send(rule, after.alert, changes)
            after = after.model_copy(update={"notified": True})
        if after != track:
            changes.tracks[key] = after

    async def _alert(
        self,
        rule: Rule,
        community: str,
        track: Track,
        judgement: Judgement | None,
        change: Change,
        minute: int,
    ) -> Alert:
        explanation = None
        if change == "firing":
            explanation = await self._watch.explain(community, minute, getattr(rule, "window", 60))
        began = track.alert
        alert_id = began.id if began else f"{rule.name}/{community}/{track.since}"
        return Alert(
            id=alert_id,
            rule=rule.name,
            kind=rule.kind,
            community=community,
            severity=rule.severity,
            state=change,
            at=_moment(minute),
            since=began.since if began else _moment(track.since),
            value=round(judgement.value, 6) if judgement else 0.0,
            limit=round(track.limit, 6),
            baseline=judgement.baseline if judgement else None,
            summary=wording.summary(rule, community, change, judgement),
            numbers=dict(judgement.numbers) if judgement else {},
            explanation=explanation,
            muted=rule.is_muted(_moment(minute)),
            link=self._link(community, alert_id),
        )

    def _data(self, changes: Changes, state: Change, minute: int, began: Alert | None) -> None:
        alert = Alert(
            id=began.id if began else f"{DATA_MISSING}//{minute}",
            rule=DATA_MISSING,
            kind=DATA_MISSING,
            community="",
            severity="critical",
            state=state,
            at=_moment(minute),
            since=began.since if began else _moment(minute),
            value=0.0,
            limit=0.0,
            baseline=None,
            summary=wording.MISSING[state],
            numbers={},
            explanation=None,
            muted=False,
            link=None,
        )
        firing = Track(phase="firing", since=minute, at=minute, alert=alert, notified=True)
        changes.tracks[_MISSING] = firing if state == "firing" else None
        changes.alerts.append(alert)
        self._send(None, alert, changes)

    def _send(self, rule: Rule | None, alert: Alert, changes: Changes) -> None:
        changes.outbox += [(channel, alert) for channel in self._rules.channels(rule)]

    def _link(self, community: str, alert_id: str) -> str | None:
        board = self._rules.board_url
        return f"{board}?{urlencode({'community': community, 'alert': alert_id})}" if board else None


def _after_gap(tracks: Mapping[TrackKey, Track]) -> dict[TrackKey, Track | None]:
    return {key: after_gap(track) for key, track in tracks.items()}


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
