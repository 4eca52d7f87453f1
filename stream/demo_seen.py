"""What the demo has seen so far: progress, windows, comments, alerts, and when its community turned.

It knows nothing of how that is shown."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from psutil import Process

from stream.alerts.alert import Alert
from stream.events import EmotionEvent
from stream.rolling import Size, Window
from stream.storyline import Turn

_HEARD = 6
_RATE_OVER_S = 5.0


class Seen:
    """Filled by the demo's jobs. Times in epoch seconds, shares None where there is nothing to divide by."""

    def __init__(self, communities: Sequence[str], seconds: float) -> None:
        self.communities = communities
        self.seconds = seconds
        self.sent = 0
        self.settled = 0
        self.turn: Turn | None = None
        self.began_at = self.warned_at = float("inf")
        self.first_figures_after_s: float | None = None  # since this process began
        self.comments: deque[EmotionEvent] = deque(maxlen=_HEARD)  # negative ones, newest last
        self.alerts: list[Alert] = []  # their changes, newest last
        self.calm: dict[str, float | None] = {}  # community → negative share before the turn
        self._windows: dict[tuple[str, Size], Window] = {}
        self._progress: deque[tuple[float, int]] = deque(maxlen=64)

    def see(self, window: Window | None) -> None:
        if window is None:
            return
        if self.first_figures_after_s is None:
            self.first_figures_after_s = time.time() - Process().create_time()
        self._windows[window.community, window.size] = window
        if window.size == "1h" and (self.turn is None or time.time() < self.turn.start):
            self.calm[window.community] = window.negative_share

    def hear(self, event: EmotionEvent) -> None:
        self.comments.append(event)

    def warn(self, alert: Alert) -> None:
        self.alerts.append(alert)
        if alert is self.alert_of_turn:
            self.warned_at = time.time()

    def settle(self, offsets: int) -> None:
        self.settled = offsets
        self._progress.append((time.monotonic(), offsets))

    def begin(self, turn: Turn) -> None:
        """The story begins."""
        self.turn = turn
        self.began_at = time.time()

    async def all_settled(self) -> None:
        """Return once everything sent is settled."""
        while self.lag:  # noqa: ASYNC110 - seen by polling Redis
            await asyncio.sleep(0.2)

    def share(self, community: str, size: Size) -> float | None:
        """Negative share of the newest window."""
        window = self._windows.get((community, size))
        return window.negative_share if window else None

    def count(self, community: str, size: Size) -> int | None:
        """Comments in the newest window."""
        window = self._windows.get((community, size))
        return window.comments if window else None

    @property
    def lag(self) -> int:
        return max(0, self.sent - self.settled)

    @property
    def rate(self) -> float:
        """Comments settled a second over the last seconds."""
        recent = [(at, n) for at, n in self._progress if time.monotonic() - at <= _RATE_OVER_S]
        if len(recent) < 2 or recent[-1][0] == recent[0][0]:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])

    @property
    def played_s(self) -> float:
        """Seconds since the story began; below 0 before."""
        return time.time() - self.began_at

    @property
    def warned_for_s(self) -> float:
        """Seconds since the turn's first alert; below 0 without one."""
        return time.time() - self.warned_at

    @property
    def alert_of_turn(self) -> Alert | None:
        """The first one that fired where the turn was planned."""
        return next((one for one in self.alerts if self.turn and _fires(one, self.turn.community)), None)

    @property
    def alarmed(self) -> set[str]:
        """Communities in which an alert fires now."""
        newest = {alert.id: alert for alert in self.alerts}
        return {alert.community for alert in newest.values() if alert.state == "firing"}


def _fires(alert: Alert, community: str) -> bool:
    return alert.community == community and alert.state == "firing"
