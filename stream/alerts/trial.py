"""How well rules do on storylines whose turns are known: precision, recall and delay.

No text is scored: counts are drawn from the planned emotions through a noise model of the scorer (`_RECALL`,
`_FALSE`), then judged by the same conditions and lifecycle as in the alert process.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.alerts.backtest import Told, replay
from stream.alerts.conditions import Crowd
from stream.alerts.past import Series
from stream.alerts.rules import Rule
from stream.alerts.service import LATE_S
from stream.buckets import HOUR, MILLIONTHS, MINUTE
from stream.storyline import COMMUNITIES, EMOTIONS, Plan, Turn, TurnKind, plan

# The noise model: an emotion that is there is found with _RECALL, each one that is not with _FALSE.
_RECALL, _FALSE = 0.75, 0.03
_NEGATIVE = [EMOTIONS.index(emotion) for emotion in ("anger", "anxiety", "hate", "sorrow")]
_SEEN = 1 - (1 - _RECALL) * (1 - _FALSE) ** (len(_NEGATIVE) - 1)  # a negative comment counts as negative
_MISTAKEN = 1 - (1 - _FALSE) ** len(_NEGATIVE)  # another one does
_MEAN_NEGATIVITY = (0.2, 0.8)  # of comments that do not and do count as negative
_BUSIEST_AT_REST = 0.12  # share of the negative comments that five authors write anyway

START = 1_767_225_600  # midnight UTC
DAYS_BEFORE, DAYS_JUDGED = 7, 2
JUDGED = range(START, START + DAYS_JUDGED * 86_400, MINUTE)
RATE = 1.0  # comments a second and community
_DURATIONS_S: dict[TurnKind, int] = {
    "souring": 5400, "spike": 3600, "drift": 6 * HOUR, "brigade": 3600, "silence": 3600, "joy": 5400,
}  # fmt: skip
FOUND_WITHIN_S = 300.0
_AFTERMATH_S = HOUR  # an alert so soon after a turn ended still belongs to it


class Found(NamedTuple):
    """A planned turn, and how long after it was due the first alert was known (s); None: never."""

    turn: Turn
    delay_s: float | None
    rule: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of many storylines."""

    turns: list[Found]
    true_alerts: list[Told]
    false_alerts: list[Told]
    community_weeks: float

    @property
    def precision(self) -> float:
        return len(self.true_alerts) / max(len(self.true_alerts) + len(self.false_alerts), 1)

    def recall(self, within_s: float = FOUND_WITHIN_S) -> float:
        """Share of the alarming turns that were found, at most `within_s` after they were due."""
        in_time = [one for one in self.turns if one.delay_s is not None and one.delay_s <= within_s]
        return len(in_time) / max(len(self.turns), 1)

    @property
    def false_per_week(self) -> float:
        return len(self.false_alerts) / self.community_weeks


def turns_of(seed: int) -> list[Turn]:
    """One turn of each kind, in two days and three communities, never two in one community and day."""
    rng = Random(seed)
    kinds = rng.sample(list(_DURATIONS_S), len(_DURATIONS_S))
    places = [(community, day) for community in COMMUNITIES for day in range(DAYS_JUDGED)]
    return [
        Turn(kind, community, START + day * 86_400 + rng.uniform(0.5, 16) * HOUR, _DURATIONS_S[kind])
        for kind, (community, day) in zip(kinds, places, strict=True)
    ]


def attempt(rules: Sequence[Rule], seeds: Sequence[int]) -> Trial:
    """Judge a storyline per seed, on all processor cores."""
    with ProcessPoolExecutor() as pool:
        told = list(pool.map(partial(judge_storyline, rules), seeds))
    results = [_compare(turns_of(seed), alerts) for seed, alerts in zip(seeds, told, strict=True)]
    return Trial(
        [found for turns, _, _ in results for found in turns],
        [alert for _, true, _ in results for alert in true],
        [alert for _, _, false in results for alert in false],
        len(seeds) * len(COMMUNITIES) * DAYS_JUDGED / 7,
    )


def judge_storyline(rules: Sequence[Rule], seed: int) -> list[Told]:
    """All that the rules would have told on one storyline."""
    turns = turns_of(seed)
    told: list[Told] = []
    for community in COMMUNITIES:
        series, pasted = draw(seed, community, turns)
        told += replay(rules, community, series, JUDGED, partial(_crowd, series, pasted))
    return told


def draw(seed: int, community: str, turns: Sequence[Turn]) -> tuple[Series, NDArray[np.int64]]:
    """Minute and hour counts of a community, and the running total of a brigade's negative comments."""
    start = START - DAYS_BEFORE * 86_400
    course: Plan = plan(seed, community, start, (DAYS_BEFORE + DAYS_JUDGED) * 86_400, RATE, turns, MINUTE)
    rng = np.random.default_rng([seed, COMMUNITIES.index(community), 2])
    ordinary = rng.multinomial(rng.poisson(course.comments), course.mood)
    pasted = rng.poisson(course.brigade)
    planned = ordinary.copy()
    planned[:, EMOTIONS.index("hate")] += pasted
    n = planned.sum(axis=1)
    labels = rng.binomial(planned, _RECALL) + rng.binomial(n[:, None] - planned, _FALSE)
    meant = ordinary[:, _NEGATIVE].sum(axis=1)
    seen = rng.binomial(pasted, _SEEN)
    negative = rng.binomial(meant, _SEEN) + rng.binomial(ordinary.sum(axis=1) - meant, _MISTAKEN) + seen
    mild, strong = _MEAN_NEGATIVITY
    negativity = (negative * strong + (n - negative) * mild) * MILLIONTHS
    minutes = np.column_stack([n, negative, negativity.astype(np.int64), labels]).astype(np.int64)
    hours = minutes.reshape(-1, 60, minutes.shape[1]).sum(axis=1)
    return Series.of_counts(start, minutes, start, hours, EMOTIONS), np.append(0, np.cumsum(seen))


def _crowd(series: Series, pasted: NDArray[np.int64], minute: int, window: int) -> Crowd:
    end = (minute - series.first_minute) // MINUTE + 1
    share = float(pasted[end] - pasted[end - window]) / max(series.past(minute).stretch(window).negative, 1)
    return Crowd(by_authors=share + (1 - share) * _BUSIEST_AT_REST, by_text=share / 3)


def _compare(turns: Sequence[Turn], told: Sequence[Told]) -> tuple[list[Found], list[Told], list[Told]]:
    fired = sorted(alert for alert in told if alert.change == "firing")
    alarming = [turn for turn in turns if turn.alarming]
    found = []
    for turn in alarming:
        first = next((alert for alert in fired if _belongs(alert, turn)), None)
        delay = first.minute + MINUTE + LATE_S - turn.due if first else None
        found.append(Found(turn, delay, first.rule if first else None))
    true = [alert for alert in fired if any(_belongs(alert, turn) for turn in alarming)]
    return found, true, [alert for alert in fired if alert not in true]


def _belongs(alert: Told, turn: Turn) -> bool:
    known_at = alert.minute + MINUTE
    return (
        alert.community == turn.community
        and turn.start <= known_at <= turn.start + turn.duration_s + _AFTERMATH_S
    )


def by_kind(trial: Trial) -> Iterator[tuple[TurnKind, list[float], int]]:
    """For each kind of turn: the delays of those found, ascending, and how many there were."""
    for kind in _DURATIONS_S:
        of_kind = [one for one in trial.turns if one.turn.kind == kind]
        if of_kind:
            yield kind, sorted(one.delay_s for one in of_kind if one.delay_s is not None), len(of_kind)
