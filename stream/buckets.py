"""Events become integer increments of event-time buckets, and buckets become rolling windows. Pure.

All a bucket holds are integers, so the order of additions never matters and a recount is exactly equal.
"""

from collections import defaultdict
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
    """What is counted of one community in one minute. Scores have six decimals: rounding a sum is exact."""

    n: int = 0
    neg: int = 0
    rejected: int = 0
    negativity: float = 0.0
    labels: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    scores: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    authors: set[str] = field(default_factory=set)

    def add(self, event: Event) -> None:
        self.n += 1
        self.neg += event["negative"]
        self.negativity += event["negativity"]
        for label in event["labels"]:
            self.labels[label] += 1
        scores = self.scores
        for label, score in event["scores"].items():
            scores[label] += score
        if event["author"]:
            self.authors.add(event["author"])

    def fields(self) -> dict[str, int]:
        """Hash fields of the bucket and their increments; zeros are left out."""
        fields = {
            "n": self.n,
            "neg": self.neg,
            "negativity": round(self.negativity * MILLIONTHS),
            "rej": self.rejected,
        }
        for label, count in self.labels.items():
            fields["l:" + label] = count
        for label, total in self.scores.items():
            fields["s:" + label] = round(total * MILLIONTHS)
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
    minutes: dict[tuple[int, str], _Sums] = defaultdict(_Sums)
    entries = []
    for event, content in events:
        minute = int(event["created_at"].timestamp()) // MINUTE * MINUTE
        minutes[minute, event["community"]].add(event)
        entries.append((event["source"]["offset"], content))
    for community, timestamp_ms in rejected:
        minutes[timestamp_ms // (1000 * MINUTE) * MINUTE, community].rejected += 1

    increments: Increments = defaultdict(lambda: defaultdict(int))
    authors: dict[str, set[str]] = defaultdict(set)
    for (minute, community), sums in minutes.items():
        fields = sums.fields()
        for bucket in (f"m:{minute}:{community}", f"h:{minute // HOUR * HOUR}:{community}"):
            total = increments[bucket]
            for name, amount in fields.items():
                total[name] += amount
            if sums.authors:
                authors[bucket] |= sums.authors
    return Settlement(
        position, end, entries, increments, {bucket: sorted(of) for bucket, of in authors.items()}
    )
