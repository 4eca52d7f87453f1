"""Events become integer increments of event-time buckets, and buckets become rolling windows. Pure.

All a bucket holds are integers, so the order of additions never matters and a recount is exactly equal.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from stream.events import Event

MINUTE = 60
HOUR = 3600
MILLIONTHS = 1_000_000

Increments = dict[str, dict[str, int]]
"""Bucket (`m:<minute>:<community>` or `h:<hour>:<community>`, starts in epoch seconds) → field → amount."""


@dataclass(slots=True)
class Settlement:
    """All that one batch of a partition changes in Redis; covers the offsets [position, end)."""

    position: int
    end: int
    events: list[tuple[int, bytes]] = field(default_factory=list)
    increments: Increments = field(default_factory=dict)
    authors: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Sums:
    """What is counted of one community in one stretch of time."""

    n: int = 0
    neg: int = 0
    negativity: int = 0
    rejected: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    scores: Counter[str] = field(default_factory=Counter)
    authors: set[str] = field(default_factory=set)

    def add(self, event: Event) -> None:
        self.n += 1
        self.neg += event["negative"]
        self.negativity += round(event["negativity"] * MILLIONTHS)
        for label in event["labels"]:
            self.labels[label] += 1
        scores = self.scores
        for label, score in event["scores"].items():
            scores[label] += round(score * MILLIONTHS)
        if event["author"]:
            self.authors.add(event["author"])

    def merge(self, other: "_Sums") -> None:
        self.n += other.n
        self.neg += other.neg
        self.negativity += other.negativity
        self.rejected += other.rejected
        self.labels.update(other.labels)
        self.scores.update(other.scores)
        self.authors |= other.authors

    def fields(self) -> dict[str, int]:
        """Hash fields of the bucket; those that stay as they are, are left out."""
        fields = {"n": self.n, "neg": self.neg, "negativity": self.negativity, "rej": self.rejected}
        fields |= {f"l:{label}": count for label, count in self.labels.items()}
        fields |= {f"s:{label}": total for label, total in self.scores.items()}
        return {name: amount for name, amount in fields.items() if amount}


def settlement(
    position: int,
    end: int,
    events: Iterable[tuple[Event, bytes]],
    rejected: Iterable[tuple[str, int]] = (),
) -> Settlement:
    """Sum up a batch: its events, each with its JSON, and its rejections (community, Kafka timestamp in ms).

    An event counts in the minute and the hour of its `created_at`, a rejection in those of its record. Pass
    the events as a generator: enriched, written and counted in one go, they stay in the processor's cache.
    """
    minutes: dict[tuple[int, str], _Sums] = {}
    entries = []
    for event, content in events:
        minute = int(event["created_at"].timestamp()) // MINUTE * MINUTE
        minutes.setdefault((minute, event["community"]), _Sums()).add(event)
        entries.append((event["source"]["offset"], content))
    for community, timestamp_ms in rejected:
        minute = timestamp_ms // (1000 * MINUTE) * MINUTE
        minutes.setdefault((minute, community), _Sums()).rejected += 1

    hours: dict[tuple[int, str], _Sums] = {}
    for (minute, community), sums in minutes.items():
        hours.setdefault((minute // HOUR * HOUR, community), _Sums()).merge(sums)

    result = Settlement(position, end, entries)
    for letter, buckets in (("m", minutes), ("h", hours)):
        for (start, community), sums in buckets.items():
            suffix = f"{letter}:{start}:{community}"
            result.increments[suffix] = sums.fields()
            if sums.authors:
                result.authors[suffix] = sorted(sums.authors)
    return result
