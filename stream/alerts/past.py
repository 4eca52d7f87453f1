"""What one community did up to a minute, as running totals: any stretch of time is one subtraction. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream.buckets import HOUR, MILLIONTHS, MINUTE

COUNTED = ("n", "neg", "negativity")
MINUTES_BACK = 180
HOURS_BACK = 192


class Counts(NamedTuple):
    """Comments in a stretch of time."""

    n: int
    negative: int
    negativity: int  # summed, in millionths
    carrying: tuple[int, ...]  # one count per label
    labels: tuple[str, ...]

    def share(self, of: str) -> float:
        """The share that is `negative`, the mean `negativity`, or the share that carries an emotion."""
        if not self.n:
            return 0.0
        if of == "negative":
            return self.negative / self.n
        if of == "negativity":
            return self.negativity / self.n / MILLIONTHS
        return self.carrying[self.labels.index(of)] / self.n if of in self.labels else 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """A community's counts: row i of a total is the sum of everything before bucket i.

    Columns: comments, negative ones, negativity in millionths, then one per label.
    """

    first_minute: int
    minutes: NDArray[np.int64]
    first_hour: int
    hours: NDArray[np.int64]
    labels: tuple[str, ...]
    hours_asked: dict[tuple[int, int], Counts] = field(default_factory=dict)

    @classmethod
    def of_counts(
        cls, first_minute: int, minutes: NDArray[np.int64], first_hour: int, hours: NDArray[np.int64],
        labels: tuple[str, ...],
    ) -> Self:  # fmt: skip
        """Add up rows of counts; starts in epoch seconds."""
        return cls(first_minute, _running(minutes), first_hour, _running(hours), labels)

    @classmethod
    def of_buckets(
        cls,
        minute: int,
        minutes: Mapping[int, Mapping[str, int]],
        hours: Mapping[int, Mapping[str, int]],
        *,
        since: int | None = None,
    ) -> Self:
        """Take from buckets (start → fields) what judging minutes `since` to `minute` (epoch s) needs."""
        since = minute if since is None else since
        fields = {name for bucket in (*minutes.values(), *hours.values()) for name in bucket}
        labels = tuple(sorted(name for name in fields if name.startswith("l:")))
        first_minute = since - (MINUTES_BACK - 1) * MINUTE
        first_hour = since // HOUR * HOUR - HOURS_BACK * HOUR
        names = (*COUNTED, *labels)
        return cls.of_counts(
            first_minute,
            _rows(minutes, range(first_minute, minute + MINUTE, MINUTE), names),
            first_hour,
            _rows(hours, range(first_hour, minute + HOUR, HOUR), names),
            tuple(label[2:] for label in labels),
        )

    def past(self, minute: int) -> "Past":
        return Past(self, minute)


@dataclass(frozen=True, slots=True)
class Past:
    """The series as it was known when `minute` (epoch s) had just ended."""

    series: Series
    minute: int

    def stretch(self, minutes: int, ago: int = 0) -> Counts:
        """The `minutes` minutes that ended `ago` minutes before the end of this one."""
        end = (self.minute - self.series.first_minute) // MINUTE + 1 - ago
        return self._between(self.series.minutes, end - minutes, end)

    def hours(self, first_back: int, last_back: int | None = None) -> Counts:
        """Clock hours, both included: 1 is the last one to end before the past 60 minutes began."""
        last = (self.minute - 59 * MINUTE) // HOUR - self.series.first_hour // HOUR
        return self._hours(last - (last_back or first_back), last - first_back + 1)

    def same_hour(self, days_ago: int) -> Counts:
        """The clock hour of this minute, whole, on an earlier day."""
        row = (self.minute - self.series.first_hour) // HOUR - 24 * days_ago
        return self._hours(row, row + 1)

    def _hours(self, start: int, end: int) -> Counts:
        asked = self.series.hours_asked
        if (start, end) not in asked:
            asked[start, end] = self._between(self.series.hours, start, end)
        return asked[start, end]

    def _between(self, totals: NDArray[np.int64], start: int, end: int) -> Counts:
        top = len(totals) - 1
        difference = totals[min(max(end, 0), top)] - totals[min(max(start, 0), top)]
        n, negative, negativity, *carrying = difference.tolist()
        return Counts(n, negative, negativity, tuple(carrying), self.series.labels)


def _running(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.vstack([np.zeros((1, rows.shape[1]), np.int64), np.cumsum(rows, axis=0)])


def _rows(
    buckets: Mapping[int, Mapping[str, int]], starts: Sequence[int], names: Sequence[str]
) -> NDArray[np.int64]:
    rows = np.zeros((len(starts), len(names)), np.int64)
    for row, start in enumerate(starts):
        if bucket := buckets.get(start):
            rows[row] = [bucket.get(name, 0) for name in names]
    return rows
