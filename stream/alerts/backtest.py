"""What rules would have told, minute by minute, on counts of the past. Pure; mutes play no part."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeGuard

from stream.alerts.conditions import Crowd, judge, wants_crowd
from stream.alerts.lifecycle import Change, Track, step
from stream.alerts.past import Past, Series
from stream.alerts.rules import Concentration, Rule


class Told(NamedTuple):
    """An alert's change at a minute (epoch s)."""

    minute: int
    community: str
    rule: str
    change: Change
    value: float


def replay(
    rules: Sequence[Rule],
    community: str,
    series: Series,
    minutes: range,
    crowd: Callable[[int, int], Crowd] | None = None,
) -> Iterator[Told]:
    """Judge each of `minutes` as the alert process would have.

    `crowd(minute, window)` tells who wrote the negative comments; without it concentration is not judged.
    """
    watching = [rule for rule in rules if rule.watches(community)]
    tracks: dict[str, Track | None] = {rule.name: None for rule in watching}
    for minute in minutes:
        past = series.past(minute)
        for rule in watching:
            known = crowd(minute, rule.window) if crowd and _asks(rule, past) else None
            judgement = judge(rule, past, known)
            tracks[rule.name], change = step(rule, tracks[rule.name], judgement, minute)
            if change:
                yield Told(minute, community, rule.name, change, judgement.value if judgement else 0.0)


def _asks(rule: Rule, past: Past) -> TypeGuard[Concentration]:
    return isinstance(rule, Concentration) and wants_crowd(rule, past)
