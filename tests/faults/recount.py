"""Aggregates counted anew, the plain way: from events and dead letters to buckets, from buckets to windows."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from unicodedata import category

import orjson
from aiokafka import ConsumerRecord

from tests.faults.observed import Partition

_WHOLE = 1_000_000

Buckets = dict[str, Counter[str]]


def recount(partition: Partition) -> Buckets:
    """The buckets that the events and dead letters of the partition make, in integers."""
    minutes: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for _, content in partition.events:
        event = orjson.loads(content)
        counts = minutes[_minute(moment(event)), event["community"]]
        counts["n"] += 1
        counts["neg"] += event["negative"]
        counts["negativity"] += _millionths(event["negativity"])
        for label in event["labels"]:
            counts[f"l:{label}"] += 1
        for label, score in event["scores"].items():
            counts[f"s:{label}"] += _millionths(score)
    for offset, letter in partition.letters.items():
        record = partition.records[offset]
        minutes[_minute(record.timestamp // 1000), community_of(record, letter)]["rej"] += 1
    buckets: Buckets = defaultdict(Counter)
    for (minute, community), counts in minutes.items():
        for bucket in _buckets(minute, community):
            buckets[bucket] += counts  # which drops what is zero
    return buckets


def recount_authors(partition: Partition) -> dict[str, set[str]]:
    """Bucket → pseudonyms of its comments' authors."""
    authors: dict[str, set[str]] = defaultdict(set)
    for _, content in partition.events:
        event = orjson.loads(content)
        if event["author"]:
            for bucket in _buckets(_minute(moment(event)), event["community"]):
                authors[bucket].add(event["author"])
    return authors


def community_of(record: ConsumerRecord, letter: ConsumerRecord) -> str:
    """Where a rejection counts: at the community if the record names one, at "" otherwise."""
    if reason(letter) in ("not_json", "null_value", "too_large"):
        return ""
    try:
        content = orjson.loads(record.value)
    except ValueError:
        return ""
    community = content.get("community") if isinstance(content, dict) else None
    if not isinstance(community, str) or not 0 < len(community.encode()) <= 256:
        return ""
    return "" if any(category(letter) == "Cc" for letter in community) else community


def window_beside_recount(
    window: dict[str, Any],
    community: str,
    buckets: Mapping[str, Counter[str]],
    authors: Mapping[str, set[str]],
) -> dict[str, tuple[Any, Any]]:
    """What is published and what is recounted, side by side."""
    step, letter = (3600, "h") if window["size"] == "24h" else (60, "m")
    start, end = (int(datetime.fromisoformat(window[name]).timestamp()) for name in ("from", "to"))
    inside = [f"{letter}:{at}:{community}" for at in range(start, end, step)]
    earlier = [f"{letter}:{at}:{community}" for at in range(2 * start - end, start, step)]
    total: Counter[str] = Counter()
    for name in inside:
        total.update(buckets.get(name, {}))
    before = sum(buckets[name]["n"] for name in earlier if name in buckets)
    return {
        "comments": (window["comments"], total["n"]),
        "negative": (window["negative"], total["neg"]),
        "negative_share": (window["negative_share"], _ratio(total["neg"], total["n"])),
        "negativity": (window["negativity"], _ratio(total["negativity"], total["n"] * _WHOLE)),
        "rejected": (window["rejected"], total["rej"]),
        "before": (window["before"]["comments"], before),
        "emotions": (
            {label: share["comments"] for label, share in window["emotions"].items() if share["comments"]},
            {name[2:]: count for name, count in total.items() if name.startswith("l:")},
        ),
        "authors": (
            _near(window["authors"], len(set().union(*(authors.get(name, set()) for name in inside)))),
            True,
        ),
    }


def _near(estimate: int | None, count: int) -> bool:
    return abs((estimate or 0) - count) <= max(2, 0.04 * count)


def _minute(second: float) -> int:
    return int(second) // 60 * 60


def _buckets(minute: int, community: str) -> tuple[str, str]:
    return f"m:{minute}:{community}", f"h:{minute // 3600 * 3600}:{community}"


def _millionths(share: float) -> int:
    return round(share * _WHOLE)


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def moment(event: dict[str, Any]) -> float:
    """When the comment was written, in epoch seconds."""
    return datetime.fromisoformat(event["created_at"]).timestamp()


def reason(letter: ConsumerRecord) -> str:
    """Why it is a dead letter."""
    return str(dict(letter.headers)["reason"], "utf-8")
