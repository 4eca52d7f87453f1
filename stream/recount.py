"""What the records of one partition should have done, added up anew and compared with what Redis holds. Pure."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from stream.buckets import Increments, settlement
from stream.comments import Comment, Rejected, decode
from stream.events import Event, dumps
from stream.settings import Settings

_NAMED = 20  # differences spelled out per partition


@dataclass(slots=True)
class PartitionAudit:
    """What was found of one partition; all numbers count offsets, but for `buckets`."""

    partition: int
    records: int = 0  # in Kafka, below the fence
    events: int = 0
    rejected: int = 0
    trimmed: int = 0  # settled, and no longer kept as events
    waiting: int = 0  # at or above the fence
    buckets: int = 0  # equal to their recount
    unchecked_buckets: int = 0  # trimmed events went into them, or they have expired
    differences: int = 0
    named: list[str] = field(default_factory=list)

    def differ(self, what: str) -> None:
        self.differences += 1
        if len(self.named) < _NAMED:
            self.named.append(what)


class Recount:
    """Adds up the records of one partition, in order, into `found`; `oldest_kept` is the first event not trimmed."""

    def __init__(self, settings: Settings, found: PartitionAudit, oldest_kept: int) -> None:
        self._settings = settings
        self._found = found
        self._oldest_kept = oldest_kept
        self._now_ms = int(time.time() * 1000)
        self._increments: Increments = {}
        self._last_written_s: dict[str, float] = {}
        self._uncheckable: set[str] = set()

    def add(self, record: ConsumerRecord, event: Event | None, was_rejected: bool) -> None:
        found = self._found
        found.records += 1
        if event is not None and was_rejected:
            found.differ(f"offset {record.offset}: both an event and rejected")
        elif event is not None:
            found.events += 1
            self._count(settlement(0, 1, [(event, dumps(event))]).increments, event["scored_at"].timestamp())
        elif was_rejected:
            found.rejected += 1
            rejection = (self._read(record).community, record.timestamp)
            self._count(settlement(0, 1, [], [rejection]).increments, record.timestamp / 1000)
        elif record.offset < self._oldest_kept:
            found.trimmed += 1
            self._uncheckable |= self._touched(self._read(record))
        else:
            found.differ(f"offset {record.offset}: neither an event nor rejected")

    @property
    def buckets(self) -> set[str]:
        """Those that the records went into."""
        return set(self._increments)

    def compare(self, buckets: Mapping[str, Mapping[str, int]]) -> None:
        """Hold the fields of every bucket against the sums."""
        for suffix, fields in sorted(buckets.items()):
            expected = self._increments.get(suffix, {})
            if suffix in self._uncheckable or (not fields and self._expired(suffix)):
                self._found.unchecked_buckets += 1
            elif fields == expected:
                self._found.buckets += 1
            else:
                name = min(name for name in {*fields, *expected} if fields.get(name) != expected.get(name))
                self._found.differ(
                    f"bucket {suffix}: {name} is {fields.get(name, 0)}, a recount gives {expected.get(name, 0)}"
                )

    def _expired(self, suffix: str) -> bool:
        minute = suffix.startswith("m:")
        life_s = self._settings.minutes_kept_s if minute else self._settings.hours_kept_s
        return time.time() - self._last_written_s.get(suffix, 0.0) >= life_s

    def _count(self, increments: Increments, written_s: float) -> None:
        for suffix, fields in increments.items():
            total = self._increments.setdefault(suffix, {})
            for name, amount in fields.items():
                total[name] = total.get(name, 0) + amount
            self._last_written_s[suffix] = max(self._last_written_s.get(suffix, 0.0), written_s)

    def _read(self, record: ConsumerRecord) -> Comment | Rejected:
        try:
            return decode(
                record.value,
                now_ms=self._now_ms,
                default_lang=self._settings.default_lang,
                max_bytes=self._settings.record_bytes,
            )
        except Rejected as rejected:
            return rejected

    def _touched(self, comment: Comment | Rejected) -> set[str]:
        if isinstance(comment, Rejected):
            return set()
        second = comment.created_at_ms // 1000
        return {
            f"m:{second // 60 * 60}:{comment.community}",
            f"h:{second // 3600 * 3600}:{comment.community}",
        }
