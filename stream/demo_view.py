"""What the demo shows: the state of its communities as a terminal screen, a plain line or a summary."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

from psutil import Process
from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream.alerts.alert import Alert
from stream.events import EmotionEvent
from stream.rolling import Size, Window
from stream.storyline import Turn

_BAR = 24
_HEARD = 6
_WARNED = 3
_RATE_OVER_S = 5.0
_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


class Picture:
    """Filled by the demo's jobs, drawn by rich."""

    def __init__(self, communities: Sequence[str], seconds: float) -> None:
        self.communities = communities
        self.sent = 0
        self._settled = 0
        self._seconds = seconds
        self._turn: Turn | None = None
        self._began = self._warned_at = float("inf")
        self._windows: dict[tuple[str, Size], Window] = {}
        self._first_seen: float | None = None
        self._calm: dict[str, float | None] = {}
        self._heard: deque[EmotionEvent] = deque(maxlen=_HEARD)
        self._alerts: list[Alert] = []
        self._progress: deque[tuple[float, int]] = deque(maxlen=64)

    def see(self, window: Window | None) -> None:
        if window is not None:
            self._first_seen = self._first_seen or time.time()
            self._windows[window.community, window.size] = window

    def hear(self, event: EmotionEvent) -> None:
        self._heard.append(event)

    def warn(self, alert: Alert) -> None:
        self._alerts.append(alert)
        if self._is_of_turn(alert):
            self._warned_at = min(self._warned_at, time.time())

    def settle(self, offsets: int) -> None:
        self._settled = offsets
        self._progress.append((time.monotonic(), offsets))

    def begin(self, turn: Turn) -> None:
        """The story begins: what is seen by now was calm."""
        self._turn = turn
        self._began = time.time()
        self._calm = {community: self._share(community, "1h") for community in self.communities}

    async def all_settled(self) -> None:
        """Return once everything sent is settled."""
        while self._settled < self.sent:  # noqa: ASYNC110 - seen by polling Redis
            await asyncio.sleep(0.2)

    @property
    def played_s(self) -> float:
        """Seconds since the story began."""
        return time.time() - self._began

    @property
    def warned_for_s(self) -> float:
        """Seconds since the turn's first alert; below 0 without one."""
        return time.time() - self._warned_at

    @property
    def rate(self) -> float:
        """Comments settled a second over the last seconds."""
        recent = [(at, n) for at, n in self._progress if time.monotonic() - at <= _RATE_OVER_S]
        if len(recent) < 2 or recent[-1][0] == recent[0][0]:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])

    def __rich__(self) -> RenderableType:
        return Group(
            Panel(self._table(), title=f"fanpulse · {self._state()}"),
            Panel(self._warnings(), title="alerts"),
            Panel(self._feed(), title="newest negative comments"),
        )

    def line(self) -> str:
        """One plain line."""
        shares = ", ".join(
            f"{community} {_percent(self._share(community, '5m'))}" for community in self.communities
        )
        return (
            f"settled {self._settled:,}, lag {self._lag:,}, {self.rate:,.0f}/s; negative over 5 m: {shares}"
        )

    def summary(self) -> RenderableType:
        """What happened: to each community, the turn, and the alert that told of it."""
        table = Table(
            "community", "comments (1 h)", "negative: calm hour before", "last 5 minutes", box=box.SIMPLE
        )
        table.title = f"{self._settled:,} of {self.sent:,} comments settled, each once"
        if self._first_seen:
            table.title += f"; first figures after {self._first_seen - Process().create_time():.1f} s"
        for community in self.communities:
            hour = self._windows.get((community, "1h"))
            shares = _percent(self._calm.get(community)), _percent(self._share(community, "5m"))
            table.add_row(community, f"{hour.comments:,}" if hour else "-", *shares)
        return Group(table, *self._told())

    def _told(self) -> list[RenderableType]:
        turn = self._turn
        if turn is None:
            return []
        went = f"{turn.community} went sour at {_clock(datetime.fromtimestamp(turn.start, UTC))}"
        alert = next(filter(self._is_of_turn, self._alerts), None)
        if alert is None:
            return [Text(f"{went}; no alert has told of it yet.")]
        later_s = self._warned_at - turn.start
        return [Text(f"{went}; the alert came {later_s:.0f} s later:"), _alert_line(alert), *_reasons(alert)]

    def _state(self) -> str:
        state = f"{self.rate:,.0f} comments/s · lag {self._lag:,}"
        if self._turn is None:
            return f"{state} · reading the calm hours before"
        left = self._seconds - self.played_s
        return f"{state} · " + (f"{left:.0f} s left" if left > 0 else "waiting for this minute to be judged")

    def _table(self) -> Table:
        table = Table(
            "community", "5 m", "negative over 5 m", "", "1 h", "negative over 1 h", "", box=None, expand=True
        )
        newest = {alert.id: alert for alert in self._alerts}
        firing = {alert.community for alert in newest.values() if alert.state == "firing"}
        for community in self.communities:
            share = self._share(community, "5m")
            table.add_row(
                Text(community, style="bold red" if community in firing else "bold"),
                self._comments(community, "5m"),
                _bar(share),
                _percent(share),
                self._comments(community, "1h"),
                _percent(self._share(community, "1h")),
                Text("▲ alert" if community in firing else "", style="bold red"),
            )
        return table

    def _warnings(self) -> RenderableType:
        if not self._alerts:
            return Text("none yet; the rules judge each minute when it is over", style="dim")
        newest = self._alerts[-_WARNED:]
        return Group(*map(_alert_line, newest), *_reasons(newest[-1]))

    def _feed(self) -> Table:
        feed = Table.grid(padding=(0, 1))
        for event in reversed(self._heard):
            feed.add_row(
                Text(_clock(event.created_at), style="dim"),
                Text(event.community, style="bold"),
                Text(", ".join(event.labels), style="red"),
                Text(event.text or "", overflow="ellipsis", no_wrap=True),
            )
        for _ in range(_HEARD - len(self._heard)):
            feed.add_row("")
        return feed

    @property
    def _lag(self) -> int:
        return max(0, self.sent - self._settled)

    def _share(self, community: str, size: Size) -> float | None:
        window = self._windows.get((community, size))
        return window.negative_share if window else None

    def _comments(self, community: str, size: Size) -> str:
        window = self._windows.get((community, size))
        return f"{window.comments:,}" if window else ""

    def _is_of_turn(self, alert: Alert) -> bool:
        return self._turn is not None and alert.community == self._turn.community and alert.state == "firing"


def _alert_line(alert: Alert) -> Text:
    style = _STYLES[alert.severity] if alert.state == "firing" else "green"
    return Text.assemble(
        (f"{alert.at.astimezone():%H:%M} ", "dim"), (f"{alert.rule}, {alert.state}: ", style), alert.summary["en"]
    )


def _reasons(alert: Alert) -> list[RenderableType]:
    """What the alert's explanation comes to in a line or two."""
    why = alert.explanation
    if why is None:
        return []
    lines = []
    if why.terms:
        lines.append("words that set it apart: " + " · ".join(term.term for term in why.terms))
    if why.representatives:
        lines.append(" ".join(f"「{one.text}」" for one in why.representatives))
    return [Text(line, style="dim", overflow="ellipsis", no_wrap=True) for line in lines]


def _bar(share: float | None) -> Text:
    filled = round((share or 0.0) * _BAR)
    style = "red" if (share or 0.0) >= 0.35 else "green"
    return Text("█" * filled, style=style) + Text("░" * (_BAR - filled), style="dim")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"
