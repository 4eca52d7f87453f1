"""What the demo shows: the state of its communities as a terminal screen, a plain line or a summary."""

import asyncio
import time
from collections import deque

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream.events import EmotionEvent
from stream.rolling import Size, Window

_BAR = 24
_HEARD = 6
_RATE_OVER_S = 5.0


class Picture:
    """Filled by the demo's jobs, drawn by rich."""

    def __init__(self, communities: list[str], seconds: float) -> None:
        self.communities = communities
        self.sent = 0
        self.settled = 0
        self._seconds = seconds
        self._began = time.monotonic()
        self._windows: dict[tuple[str, Size], Window] = {}
        self._first: dict[str, float] = {}
        self._heard: deque[EmotionEvent] = deque(maxlen=_HEARD)
        self._progress: deque[tuple[float, int]] = deque(maxlen=64)

    def see(self, window: Window | None) -> None:
        if window is not None:
            self._windows[window.community, window.size] = window
            if window.size == "5m" and window.negative_share is not None:
                self._first.setdefault(window.community, window.negative_share)

    def hear(self, event: EmotionEvent) -> None:
        self._heard.append(event)

    def settle(self, offsets: int) -> None:
        self.settled = offsets
        self._progress.append((time.monotonic(), offsets))

    def begin(self) -> float:
        """The story begins; return the time, epoch seconds."""
        self._began = time.monotonic()
        return time.time()

    async def all_settled(self) -> None:
        """Return once everything sent is settled."""
        while self.settled < self.sent:  # noqa: ASYNC110 - seen by polling Redis
            await asyncio.sleep(0.2)

    @property
    def rate(self) -> float:
        """Comments settled a second over the last seconds."""
        recent = [(at, n) for at, n in self._progress if time.monotonic() - at <= _RATE_OVER_S]
        if len(recent) < 2 or recent[-1][0] == recent[0][0]:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])

    def __rich__(self) -> RenderableType:
        left = max(0.0, self._seconds - (time.monotonic() - self._began))
        title = f"fanpulse · {self.rate:,.0f} comments/s · lag {max(0, self.sent - self.settled):,} · {left:.0f} s left"
        return Group(Panel(self._table(), title=title), Panel(self._feed(), title="newest negative comments"))

    def _table(self) -> Table:
        table = Table(
            "community", "5 m", "negative over 5 m", "", "1 h", "negative over 1 h", box=None, expand=True
        )
        for community in self.communities:
            short, long = self._windows.get((community, "5m")), self._windows.get((community, "1h"))
            share = short.negative_share if short else None
            table.add_row(
                Text(community, style="bold"),
                f"{short.comments:,}" if short else "",
                _bar(share),
                _percent(share),
                f"{long.comments:,}" if long else "",
                _percent(long.negative_share if long else None),
            )
        return table

    def _feed(self) -> Table:
        feed = Table.grid(padding=(0, 1))
        for event in reversed(self._heard):
            feed.add_row(
                Text(f"{event.created_at.astimezone():%H:%M:%S}", style="dim"),
                Text(event.community, style="bold"),
                Text(", ".join(event.labels), style="red"),
                Text(event.text or "", overflow="ellipsis", no_wrap=True),
            )
        for _ in range(_HEARD - len(self._heard)):
            feed.add_row("")
        return feed

    def line(self) -> str:
        """One plain line."""
        shares = ", ".join(
            f"{community} {_percent(window.negative_share)}"
            for community in self.communities
            if (window := self._windows.get((community, "5m")))
        )
        lag = max(0, self.sent - self.settled)
        return f"settled {self.settled:,}, lag {lag:,}, {self.rate:,.0f}/s; negative over 5 m: {shares}"

    def summary(self) -> Table:
        """What happened to each community."""
        table = Table("community", "comments (1 h)", "negative at first", "at the end", box=None)
        table.title = f"{self.settled:,} of {self.sent:,} comments settled, each once"
        for community in self.communities:
            short, long = self._windows.get((community, "5m")), self._windows.get((community, "1h"))
            table.add_row(
                community,
                f"{long.comments:,}" if long else "-",
                _percent(self._first.get(community)),
                _percent(short.negative_share if short else None),
            )
        return table


def _bar(share: float | None) -> Text:
    filled = round((share or 0.0) * _BAR)
    style = "red" if (share or 0.0) >= 0.5 else "yellow" if (share or 0.0) >= 0.3 else "green"
    return Text("█" * filled, style=style) + Text("░" * (_BAR - filled), style="dim")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
