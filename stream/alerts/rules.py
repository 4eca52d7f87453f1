"""What to watch for, whom to tell, and when to keep quiet: the shape of a rules file. It reads none."""

import re
from datetime import datetime, time
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    model_validator,
)  # fmt: skip

from stream.alerts.alert import DATA_MISSING, Severity

_UNITS = {"m": 1, "h": 60, "d": 1440}


def _minutes(value: object) -> object:
    if not isinstance(value, str) or not (match := re.fullmatch(r"(\d+)([mhd])", value)):
        raise ValueError('must be a length of time like "5m", "2h" or "1d"')
    return int(match[1]) * _UNITS[match[2]]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{name!r} is no time zone") from None
    return name


Minutes = Annotated[int, BeforeValidator(_minutes)]
"""A length of time, written "5m", "2h" or "1d", in minutes."""

Window = Annotated[Minutes, Field(ge=1, le=60)]
Share = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
Measure = Literal[
    "negative", "negativity",
    "anger", "anxiety", "expect", "hate", "joy", "love", "sorrow", "surprise", "neutral",
]  # fmt: skip
"""`negative`: share of negative comments; `negativity`: its mean; an emotion: share that carries it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quiet(_Strict):
    """Hours in which alerts go to the stream alone; `until` may lie on the next day."""

    since: time = Field(alias="from")
    until: time
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"

    def covers(self, moment: datetime) -> bool:
        local = moment.astimezone(ZoneInfo(self.zone)).time()
        if self.since <= self.until:
            return self.since <= local < self.until
        return local >= self.since or local < self.until


class _Rule(_Strict):
    name: Name
    severity: Severity = "warning"
    communities: list[str] = Field(["*"], min_length=1, description="names or patterns with *, ? and [ ]")
    lasting: Minutes = Field(0, alias="for", description="the condition must have held this long")
    hysteresis: float = Field(
        0.6, gt=0, le=1, description="resolved when the value falls below this share of the way to the limit"
    )
    clear_for: Minutes = Field(5, description="… and has stayed there this long")
    cool_down: Minutes = Field(30, description="no new alert so soon after the last was resolved")
    quiet: list[Quiet] = []
    mute_until: AwareDatetime | None = None
    channels: list[str] | None = Field(None, description="names of channels; all of them if not given")
    least_comments: int = Field(30, ge=1, description="with fewer comments in the window there is no verdict")

    def watches(self, community: str) -> bool:
        return any(fnmatchcase(community, pattern) for pattern in self.communities)

    def is_muted(self, moment: datetime) -> bool:
        if self.mute_until and moment < self.mute_until:
            return True
        return any(quiet.covers(moment) for quiet in self.quiet)


class Threshold(_Rule):
    """The measure reaches a fixed value."""

    kind: Literal["threshold"]
    of: Measure = "negative"
    window: Window = 60
    at_least: Share


class _Rise(_Rule):
    of: Measure = "negative"
    deviations: float = Field(4.0, gt=0)
    least_rise: Share = Field(0.1, description="a smaller rise never counts, however regular the past")


class Shift(_Rise):
    """The measure jumps between two windows that follow each other."""

    kind: Literal["shift"]
    window: Window = 5
    before: Window = 60


class Spike(_Rise):
    """The window, an hour at most, stands out of the clock hours before, by their median."""

    kind: Literal["spike"]
    window: Window = 60
    hours: int = Field(12, ge=3, le=48)


class Week(_Rise):
    """The last 24 hours stand out of the 7 days before, day against day."""

    kind: Literal["week"]


class Robust(_Rise):
    """The last hour stands out of the week's hours, by median and median absolute deviation."""

    kind: Literal["robust"]


class Volume(_Rule):
    """Many more comments than in the hour before, and enough of them negative."""

    kind: Literal["volume"]
    window: Window = 5
    times: float = Field(3.0, gt=1)
    least_share: float = Field(0.0, ge=0, le=1, description="of negative comments; a surge of joy has few")


class Silence(_Rule):
    """Far fewer comments than at this time of other days."""

    kind: Literal["silence"]
    window: Window = 10
    at_most: float = Field(0.1, ge=0, lt=1, description="this share of what is expected, or less")
    least_comments: int = Field(30, ge=1, description="nobody is missed where fewer were expected")


class Concentration(_Rule):
    """Few authors, or copies of one text, make most of the negative comments."""

    kind: Literal["concentration"]
    by: Literal["authors", "text"] = "authors"
    window: Window = 10
    at_least: Share = 0.5
    least_share: Share = Field(0.3, description="of negative comments")


Rule = Annotated[
    Threshold | Shift | Spike | Week | Robust | Volume | Silence | Concentration, Field(discriminator="kind")
]


class _Channel(_Strict):
    name: Name


class Webhook(_Channel):
    """POSTs the alert as JSON, signed with the secret that the environment variable `secret_env` holds."""

    kind: Literal["webhook"]
    url: HttpUrl
    secret_env: str


class Alertmanager(_Channel):
    """Prometheus Alertmanager; `url` without /api/v2."""

    kind: Literal["alertmanager"]
    url: HttpUrl


class Apprise(_Channel):
    """Slack, Feishu, DingTalk, WeCom, mail and more: an Apprise URL in the environment variable `url_env`."""

    kind: Literal["apprise"]
    url_env: str
    language: Literal["zh", "en"] = "zh"


Channel = Annotated[Webhook | Alertmanager | Apprise, Field(discriminator="kind")]


class Rules(_Strict):
    """The whole file."""

    board_url: HttpUrl | None = Field(None, description="where people open the board; alerts link to it")
    rule: list[Rule] = Field(min_length=1)
    channel: list[Channel] = []

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for kind, names in (("rule", self.rule), ("channel", self.channel)):
            if repeated := sorted({one.name for one in names if [n.name for n in names].count(one.name) > 1}):
                raise ValueError(f"{kind} names repeat: {', '.join(repeated)}")
        known = {channel.name for channel in self.channel}
        for rule in self.rule:
            if rule.name == DATA_MISSING:
                raise ValueError(f"rule {rule.name!r}: channels: the name is taken")
            if strangers := sorted(set(rule.channels or ()) - known):
                raise ValueError(f"rule {rule.name!r}: channels: there is no {', '.join(strangers)}")
        return self

    def channels(self, rule: _Rule | None) -> list[str]:
        """Who hears of the rule's alerts; of missing data (no rule), everybody."""
        if rule is None or rule.channels is None:
            return [channel.name for channel in self.channel]
        return rule.channels
