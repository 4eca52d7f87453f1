"""Whether a rule's condition holds at a minute, from counts alone. Pure: no clock, no Redis, no memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, median
from typing import assert_never

from stream.alerts.past import Counts, Past
from stream.alerts.rules import (
    Concentration,
    Robust,
    Rule,
    Shift,
    Silence,
    Spike,
    Threshold,
    Volume,
    Week,
)  # fmt: skip

# Moods wander by themselves: the least standard deviation believed between two stretches of time.
_LEAST_SPREAD = 0.01
_LEAST_DAYS = 3
_LEAST_HOURS = 24
_MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Judgement:
    """A measured value against its limit; it holds from the limit on."""

    value: float
    limit: float
    baseline: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return self.value >= self.limit


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who wrote the negative comments of a window: shares of the five busiest authors, the commonest text."""

    by_authors: float
    by_text: float


def wants_crowd(rule: Concentration, past: Past) -> bool:
    """Whether it is worth reading the comments themselves: there is enough negativity to concentrate."""
    now = past.stretch(rule.window)
    return now.negative >= rule.least_comments and now.share("negative") >= rule.least_share


def judge(rule: Rule, past: Past, crowd: Crowd | None = None) -> Judgement | None:
    """Judge the minute; None where there is too little to judge by."""
    if isinstance(rule, Silence):
        return _silence(rule, past)
    window = 1440 if isinstance(rule, Week) else 60 if isinstance(rule, Robust) else rule.window
    now = past.hours(0, 23) if isinstance(rule, Week) else past.stretch(window)
    if now.n < rule.least_comments:
        return None
    match rule:
        case Threshold():
            return Judgement(now.share(rule.of), rule.at_least, numbers=_numbers(now))
        case Shift():
            before = past.stretch(rule.before, ago=rule.window)
            if before.n < rule.least_comments:
                return None
            usual = before.share(rule.of)
            return _rise(rule, now, usual, sqrt(usual * (1 - usual) / before.n))
        case Spike():
            shares = _shares(rule, [past.hours(back) for back in range(1, rule.hours + 1)])
            return _rise(rule, now, *_robust(shares)) if len(shares) >= rule.hours / 2 else None
        case Week():
            days = _shares(rule, [past.hours(24 * day, 24 * day + 23) for day in range(1, 8)])
            return _rise(rule, now, fmean(days), _deviation(days)) if len(days) >= _LEAST_DAYS else None
        case Robust():
            shares = _shares(rule, [past.hours(back) for back in range(1, 169)])
            return _rise(rule, now, *_robust(shares)) if len(shares) >= _LEAST_HOURS else None
        case Volume():
            return _volume(rule, now, past)
        case Concentration():
            if crowd is None:
                return None
            value = crowd.by_authors if rule.by == "authors" else crowd.by_text
            return Judgement(value, rule.at_least, numbers=_numbers(now))
        case _:
            assert_never(rule)


def _rise(rule: Shift | Spike | Week | Robust, now: Counts, usual: float, spread: float) -> Judgement:
    """Limit: `deviations` standard deviations above the usual, that between stretches of time and that of
    drawing `n` comments (binomial, one comment of each kind added) together, and `least_rise` at least."""
    likely = (usual * now.n + 1) / (now.n + 2)
    deviation = sqrt(max(spread, _LEAST_SPREAD) ** 2 + likely * (1 - likely) / now.n)
    limit = usual + max(rule.least_rise, rule.deviations * deviation)
    value = now.share(rule.of)
    numbers = _numbers(now) | {"deviations": round((value - usual) / deviation, 2)}
    return Judgement(value, limit, usual, numbers)


def _robust(shares: Sequence[float]) -> tuple[float, float]:
    """Median and median absolute deviation, the latter scaled to a standard deviation: a few hours that were
    sour themselves do not hide the next ones."""
    middle = median(shares)
    return middle, _MAD_TO_SIGMA * median([abs(share - middle) for share in shares])


def _deviation(shares: Sequence[float]) -> float:
    mean = fmean(shares)
    return sqrt(sum((share - mean) ** 2 for share in shares) / (len(shares) - 1))


def _shares(rule: Spike | Week | Robust, stretches: Sequence[Counts]) -> list[float]:
    return [counts.share(rule.of) for counts in stretches if counts.n >= rule.least_comments]


def _volume(rule: Volume, now: Counts, past: Past) -> Judgement | None:
    before = past.stretch(60, ago=rule.window)
    if before.n < rule.least_comments:
        return None
    usual = before.n / 60
    per_minute = now.n / rule.window
    if now.share("negative") < rule.least_share:
        per_minute = min(per_minute, usual)
    return Judgement(per_minute, rule.times * usual, usual, _numbers(now))


def _silence(rule: Silence, past: Past) -> Judgement | None:
    """Expected: the mean of the hour at this time on other days, or of the 3 hours before while days lack."""
    known = [day for day in range(1, 8) if past.hours(24 * day - 12, 24 * day + 11).n]
    usual = [past.same_hour(day).n for day in known]
    per_minute = fmean(usual) / 60 if len(usual) >= _LEAST_DAYS else past.hours(1, 3).n / 180
    expected = per_minute * rule.window
    if expected < rule.least_comments:
        return None
    n = past.stretch(rule.window).n
    return Judgement(
        max(0.0, 1 - n / expected), 1 - rule.at_most, numbers={"comments": n, "expected": round(expected, 1)}
    )


def _numbers(now: Counts) -> dict[str, float]:
    return {"comments": now.n, "negative": now.negative, "negative_share": round(now.share("negative"), 4)}
