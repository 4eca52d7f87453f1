"""What the demo shows of what it has seen: a terminal screen, a plain line, a summary."""

from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream.alerts.alert import Alert
from stream.demo_seen import Seen

_BAR = 24
_FEED = 6
_WARNINGS = 3
_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


class Screen:
    """Drawn anew by rich each time it is shown."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def __rich__(self) -> RenderableType:
        seen = self._seen
        return Group(
            Panel(_table(seen), title=f"fanpulse · {_state(seen)}"),
            Panel(_warnings(seen), title="alerts"),
            Panel(_feed(seen), title="newest negative comments"),
        )


def line(seen: Seen) -> str:
    """One plain line."""
    shares = ", ".join(f"{name} {_percent(seen.share(name, '5m'))}" for name in seen.communities)
    progress = f"settled {seen.settled:,}, lag {seen.lag:,}, {seen.rate:,.0f}/s"
    return f"{progress}; negative over 5 m: {shares}"


def summary(seen: Seen) -> RenderableType:
    """What happened: to each community, the turn, and the alert that told of it."""
    table = Table(
        "community", "comments (1 h)", "negative: calm hour before", "last 5 minutes", box=box.SIMPLE
    )
    table.title = f"{seen.settled:,} of {seen.sent:,} comments settled, each once"
    if seen.first_figures_after_s:
        table.title += f"; first figures after {seen.first_figures_after_s:.1f} s"
    for name in seen.communities:
        shares = _percent(seen.calm.get(name)), _percent(seen.share(name, "5m"))
        table.add_row(name, _number(seen.count(name, "1h")), *shares)
    return Group(table, *_told(seen))


def _told(seen: Seen) -> list[RenderableType]:
    turn, alert = seen.turn, seen.alert_of_turn
    if turn is None:
        return []
    went = f"{turn.community} went sour at {_clock(datetime.fromtimestamp(turn.start, UTC))}"
    if alert is None:
        return [Text(f"{went}; no alert has told of it yet.")]
    later_s = seen.warned_at - turn.start
    return [Text(f"{went}; the alert came {later_s:.0f} s later:"), _alert_line(alert), *_reasons(alert)]


def _state(seen: Seen) -> str:
    state = f"{seen.rate:,.0f} comments/s · lag {seen.lag:,}"
    if seen.turn is None:
        return f"{state} · reading the calm hours before"
    left_s = seen.seconds - seen.played_s
    return f"{state} · " + (f"{left_s:.0f} s left" if left_s > 0 else "waiting for this minute to be judged")


def _table(seen: Seen) -> Table:
    headings = ("community", "5 m", "negative over 5 m", "", "1 h", "negative over 1 h", "")
    table = Table(*headings, box=None, padding=(0, 2))
    for name in seen.communities:
        alarmed, share = name in seen.alarmed, seen.share(name, "5m")
        table.add_row(
            Text(name, style="bold red" if alarmed else "bold"),
            _number(seen.count(name, "5m")),
            _bar(share),
            _percent(share),
            _number(seen.count(name, "1h")),
            _percent(seen.share(name, "1h")),
            Text("▲ alert" if alarmed else "", style="bold red"),
        )
    return table


def _warnings(seen: Seen) -> RenderableType:
    if not seen.alerts:
        return Text("none yet; the rules judge each minute when it is over", style="dim")
    newest = seen.alerts[-_WARNINGS:]
    return Group(*map(_alert_line, newest), *_reasons(newest[-1]))


def _feed(seen: Seen) -> Table:
    feed = Table.grid(padding=(0, 1))
    for event in reversed(seen.comments):
        feed.add_row(
            Text(_clock(event.created_at), style="dim"),
            Text(event.community, style="bold"),
            Text(", ".join(event.labels), style="red"),
            Text(event.text or "", overflow="ellipsis", no_wrap=True),
        )
    for _ in range(_FEED - len(seen.comments)):
        feed.add_row("")
    return feed


def _alert_line(alert: Alert) -> Text:
    style = _STYLES[alert.severity] if alert.state == "firing" else "green"
    return Text.assemble(
        (f"{alert.at.astimezone():%H:%M} ", "dim"),
        (f"{alert.rule}, {alert.state}: ", style),
        alert.summary["en"],
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


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"
