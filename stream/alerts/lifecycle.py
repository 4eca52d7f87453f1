"""One rule on one community over time: pending, firing, resolved. Pure; time is the minute judged."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from stream.alerts.alert import Alert
from stream.alerts.conditions import Judgement
from stream.alerts.rules import Rule
from stream.buckets import MINUTE


class Track(BaseModel):
    """What is remembered between minutes (epoch s). `resolved` stands for the cool-down after an alert."""

    model_config = ConfigDict(frozen=True)

    phase: Literal["pending", "firing", "resolved"]
    since: int  # the condition has held
    at: int  # the phase began
    clear_since: int | None = None
    limit: float = 0.0
    clear_below: float = 0.0
    alert: Alert | None = None  # as it fired
    notified: bool = False  # the channels know


Change = Literal["firing", "resolved"]


def step(
    rule: Rule, track: Track | None, judgement: Judgement | None, minute: int
) -> tuple[Track | None, Change | None]:
    """Go on by one minute. While an alert fires its limit stays as it was when it fired: what a community has
    got used to in the meantime resolves nothing."""
    if track and track.phase == "firing":
        return _while_firing(rule, track, judgement, minute)
    if track and track.phase == "resolved":
        if minute < track.at + rule.cool_down * MINUTE:
            return track, None
        track = None
    if judgement is None or not judgement.holds:
        return None, None
    since = track.since if track else minute
    if minute - since < rule.lasting * MINUTE:
        return Track(phase="pending", since=since, at=since), None
    usual = judgement.baseline or 0.0
    clear_below = usual + rule.hysteresis * (judgement.limit - usual)
    fired = Track(phase="firing", since=since, at=minute, limit=judgement.limit, clear_below=clear_below)
    return fired, "firing"


def _while_firing(
    rule: Rule, track: Track, judgement: Judgement | None, minute: int
) -> tuple[Track, Change | None]:
    if judgement is not None and judgement.value >= track.clear_below:
        return track.model_copy(update={"clear_since": None}), None
    clear_since = minute if track.clear_since is None else track.clear_since
    if minute - clear_since < rule.clear_for * MINUTE:
        return track.model_copy(update={"clear_since": clear_since}), None
    return track.model_copy(
        update={"phase": "resolved", "at": minute, "clear_since": clear_since}
    ), "resolved"


def after_gap(track: Track) -> Track | None:
    """What is left after minutes that could not be judged: neither holding nor clearing carries over them."""
    if track.phase == "pending":
        return None
    return track.model_copy(update={"clear_since": None})
