"""Judges one minute: how each rule stands in each community, what changes, and who is to be told.

It knows rules and counts, not which minute is due, who leads, or how alerts are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from stream.alerts import wording
from stream.alerts.alert import DATA_MISSING, Alert, Explanation, State
from stream.alerts.conditions import Judgement, judge, wants_crowd
from stream.alerts.lifecycle import Change, Track, after_gap, step
from stream.alerts.past import Past
from stream.alerts.rules import Concentration, Rule, Rules
from stream.alerts.store import Changes, TrackKey
from stream.alerts.watch import Watch

MISSING = TrackKey(DATA_MISSING, "")
Tracks = Mapping[TrackKey, Track]


@dataclass(frozen=True, slots=True)
class Judging:
    """One minute (epoch s) under the rules of now; all methods add to `changes`."""

    rules: Rules
    watch: Watch
    minute: int
    changes: Changes = field(default_factory=Changes)

    async def judge(self, pasts: Mapping[str, Past], tracks: Tracks) -> None:
        """Follow every rule in every community that it watches. Raises Unavailable."""
        watched = {
            TrackKey(rule.name, community): rule
            for rule in self.rules.rule
            for community in pasts
            if rule.watches(community)
        }
        for key in tracks.keys() - watched.keys():
            self._drop(key, tracks[key])
        for key, rule in watched.items():
            track = self.changes.tracks.get(key, tracks.get(key))
            await self._follow(rule, key, track, pasts[key.community])

    def leave_a_gap(self, tracks: Tracks) -> None:
        """The minute, or one before it, cannot be judged."""
        self.changes.tracks |= {key: after_gap(track) for key, track in tracks.items()}

    def data_is_missing(self) -> None:
        self._tell_of_data("firing", None)

    def data_is_back(self, missing: Track) -> None:
        self._tell_of_data("resolved", missing.alert)

    @property
    def _at(self) -> datetime:
        return moment(self.minute)

    def _drop(self, key: TrackKey, track: Track) -> None:
        """The rule was taken out, or the community is long gone: nobody would ever resolve the alert."""
        self.changes.tracks[key] = None
        if track.phase == "firing" and track.alert:
            over = {"state": "resolved", "at": self._at, "explanation": None, "summary": wording.DROPPED}
            alert = track.alert.model_copy(update=over)
            self.changes.alerts.append(alert)
            if track.notified:
                self._send(None, alert)

    async def _follow(self, rule: Rule, key: TrackKey, track: Track | None, past: Past) -> None:
        crowd = None
        if isinstance(rule, Concentration) and wants_crowd(rule, past):
            crowd = await self.watch.crowd(key.community, self.minute, rule.window)
        judgement = judge(rule, past, crowd)
        after, change = step(rule, track, judgement, self.minute)
        if after and change:
            alert = await self._alert(rule, key.community, after, judgement, change)
            self.changes.alerts.append(alert)
            if change == "firing":
                after = after.model_copy(update={"alert": alert})
            elif after.notified:
                self._send(rule, alert)
        unheard = after and after.phase == "firing" and not after.notified
        if after and after.alert and unheard and not rule.is_muted(self._at):
            self._send(rule, after.alert)
            after = after.model_copy(update={"notified": True})
        if after != track:
            self.changes.tracks[key] = after

    async def _alert(
        self, rule: Rule, community: str, track: Track, judgement: Judgement | None, change: Change
    ) -> Alert:
        explanation: Explanation | None = None
        if change == "firing":
            window = getattr(rule, "window", 60)
            explanation = await self.watch.explain(community, self.minute, window)
        began = track.alert
        alert_id = began.id if began else f"{rule.name}/{community}/{track.since}"
        return Alert(
            id=alert_id,
            rule=rule.name,
            kind=rule.kind,
            community=community,
            severity=rule.severity,
            state=change,
            at=self._at,
            since=began.since if began else moment(track.since),
            value=round(judgement.value, 6) if judgement else 0.0,
            limit=round(track.limit, 6),
            baseline=judgement.baseline if judgement else None,
            summary=wording.summary(rule, community, change, judgement),
            numbers=dict(judgement.numbers) if judgement else {},
            explanation=explanation,
            muted=rule.is_muted(self._at),
            link=self._link(community, alert_id),
        )

    def _tell_of_data(self, state: State, began: Alert | None) -> None:
        alert = Alert(
            id=began.id if began else f"{DATA_MISSING}//{self.minute}",
            rule=DATA_MISSING,
            kind=DATA_MISSING,
            community="",
            severity="critical",
            state=state,
            at=self._at,
            since=began.since if began else self._at,
            value=0.0,
            limit=0.0,
            baseline=None,
            summary=wording.MISSING[state],
            numbers={},
            explanation=None,
            muted=False,
            link=None,
        )
        firing = Track(phase="firing", since=self.minute, at=self.minute, alert=alert, notified=True)
        self.changes.tracks[MISSING] = firing if state == "firing" else None
        self.changes.alerts.append(alert)
        self._send(None, alert)

    def _send(self, rule: Rule | None, alert: Alert) -> None:
        self.changes.outbox += [(channel, alert) for channel in self.rules.channels(rule)]

    def _link(self, community: str, alert_id: str) -> str | None:
        board = self.rules.board_url
        return f"{board}?{urlencode({'community': community, 'alert': alert_id})}" if board else None


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
