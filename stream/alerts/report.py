"""What a backtest found, as tables for the terminal and as one HTML page of charts. It judges nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pygal
from pygal.style import Style
from rich.table import Table

from stream.alerts.backtest import Told
from stream.alerts.past import Series
from stream.alerts.trial import FOUND_WITHIN_S, Trial, by_kind
from stream.buckets import MINUTE
from stream.storyline import Turn

_SMOOTHED = 15  # minutes in one point of a curve

_STYLE = Style(
    background="white",
    plot_background="white",
    colors=("#4269d0", "#d62728", "#2ca02c", "#e6b450"),
    opacity=".35",
    font_family="sans-serif",
)


def trial_table(trial: Trial) -> Table:
    """Per kind of turn: how many were found, how many in time, and after how long."""
    figures = (
        f"precision {trial.precision:.3f}",
        f"recall within {FOUND_WITHIN_S / 60:.0f} min {trial.recall():.3f}",
        f"{trial.false_per_week:.2f} false alerts a community-week ({trial.community_weeks:.0f} weeks)",
    )
    table = Table(title=" · ".join(figures))
    for heading in ("turn", "planned", "found", "in time", "delay: median", "longest"):
        table.add_column(heading, justify="left" if heading == "turn" else "right")
    for kind, delays, planned in by_kind(trial):
        in_time = sum(delay <= FOUND_WITHIN_S for delay in delays)
        longest = [f"{median(delays):.0f} s", f"{delays[-1]:.0f} s"] if delays else ["", ""]
        table.add_row(kind, str(planned), str(len(delays)), str(in_time), *longest)
    return table


def rules_table(true: Sequence[Told], false: Sequence[Told]) -> Table:
    """Per rule: alerts that belong to a planned turn, and those that do not."""
    table = Table("rule", "of a turn", "false")
    right, wrong = Counter(told.rule for told in true), Counter(told.rule for told in false)
    for rule in sorted(right | wrong):
        table.add_row(rule, str(right[rule]), str(wrong[rule]))
    return table


def told_table(told: Sequence[Told]) -> Table:
    """Every change, in order of time."""
    table = Table("minute (UTC)", "community", "rule", "", "value")
    for one in sorted(told):
        when = datetime.fromtimestamp(one.minute, UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(when, one.community, one.rule, one.change, f"{one.value:.3f}")
    return table


def write_charts(
    path: Path, known: Mapping[str, Series], minutes: range, told: Sequence[Told], turns: Sequence[Turn] = ()
) -> None:
    """One chart per community: the share of negative comments, planned turns behind it, alerts on it."""
    charts = [
        _chart(community, series, minutes, [t for t in told if t.community == community], turns)
        for community, series in known.items()
    ]
    page = "\n".join(chart.render(is_unicode=True, disable_xml_declaration=True) for chart in charts)
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><title>fanpulse</title>\n{page}\n', encoding="utf-8"
    )


def _chart(
    community: str, series: Series, minutes: range, told: Sequence[Told], turns: Sequence[Turn]
) -> pygal.DateTimeLine:
    def share(minute: int) -> float:
        return series.past(minute).stretch(_SMOOTHED).share("negative")

    chart = pygal.DateTimeLine(
        title=community,
        width=1200,
        height=320,
        range=(0, 1),
        js=[],
        dots_size=4,
        style=_STYLE,
        x_value_formatter=lambda moment: moment.strftime("%m-%d %H:%M"),
        y_title=f"negative share, {_SMOOTHED} min",
    )
    curve = [(_moment(m), share(m)) for m in minutes[:: _SMOOTHED // 3]]
    chart.add("negative share", curve, show_dots=False, stroke_style={"width": 1.5})
    for change in ("firing", "resolved"):
        marks = [(_moment(one.minute), share(one.minute)) for one in told if one.change == change]
        chart.add(change, marks, stroke=False)
    planned: list[tuple[datetime, float] | None] = []
    for turn in (turn for turn in turns if turn.community == community):
        start, end = _moment(turn.start), _moment(turn.start + turn.duration_s)
        planned += [(start, 0), (start, 1), (end, 1), (end, 0), None]
    if planned:
        chart.add("planned turns", planned, fill=True, show_dots=False, allow_interruptions=True)
    return chart


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds) // MINUTE * MINUTE, UTC)
