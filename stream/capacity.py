"""How much of everything a load needs, from costs that `make bench BENCH=capacity` has measured. Pure.

It knows no GPU: how many texts a second one scores is for whoever has it to measure.
"""

import json
import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Self

from pydantic import BaseModel, ConfigDict

CORE_USED = 0.6  # of each core and GPU on average; the rest is for peaks and for catching up
REDIS_USED = 0.6  # of its memory; the rest is for fragmentation and the fork of a rewrite
DISK_USED = 0.7
PARTITIONS_A_WORKER = 2  # so that twice the workers still have work


class Cost(BaseModel):
    """What grows with a comment's length, a straight line: `fixed` + `per_character` times the length."""

    model_config = ConfigDict(frozen=True)

    fixed: float
    per_character: float

    @classmethod
    def through(cls, short: tuple[float, float], long: tuple[float, float]) -> Self:
        """The line through two measured points (length, cost); a cost neither falls nor begins below zero."""
        slope = max(0.0, (long[1] - short[1]) / (long[0] - short[0]))
        return cls(fixed=max(0.0, short[1] - slope * short[0]), per_character=slope)

    def at(self, length: float) -> float:
        return self.fixed + self.per_character * length


class Sketch(BaseModel):
    """Bytes of a sketch of distinct authors: it grows with them up to `full`."""

    model_config = ConfigDict(frozen=True)

    empty: float
    per_author: float
    full: float

    def at(self, authors: float) -> float:
        return min(self.empty + self.per_author * authors, self.full)


class Measured(BaseModel):
    """Costs of one comment: seconds of a core in each process, bytes in each store; and bytes of buckets."""

    model_config = ConfigDict(frozen=True)

    worker_s: Cost
    redis_s: Cost
    triton_cpu_s: Cost  # of a text that is scored, on the CPU
    event_bytes: Cost
    record_bytes: Cost
    bucket_bytes: float
    sketch_bytes: Sketch

    @classmethod
    def shipped(cls) -> Self:
        return cls.model_validate(json.loads(files("stream").joinpath("capacity.json").read_text()))


@dataclass(frozen=True, slots=True)
class Load:
    """`rate` comments a second of `length` characters on average; `repeats` is the share scored before.

    `homes` is in how many partitions a community is seen: 1 where producers key by community.
    """

    rate: float
    length: float
    communities: int
    repeats: float
    homes: int
    events_kept: int  # a partition
    minutes_kept: int
    hours_kept: int
    retention_h: float
    copies: int  # of each partition in Kafka
    gpu_rate: float | None = None  # texts a second that one GPU scores


@dataclass(frozen=True, slots=True)
class Need:
    """One figure, where it comes from, and how much of it is meant to be used."""

    name: str
    amount: float
    unit: str
    formula: str
    used: float


def needs(load: Load, measured: Measured) -> list[Need]:
    """Everything that `load` needs."""
    worker_s, redis_s = measured.worker_s.at(load.length), measured.redis_s.at(load.length)
    workers = math.ceil(load.rate * worker_s / CORE_USED)
    masters = math.ceil(load.rate * redis_s / CORE_USED)
    partitions = 2 ** math.ceil(math.log2(workers * PARTITIONS_A_WORKER))
    each, spread = f"{load.rate:,.0f}/s x", f"{PARTITIONS_A_WORKER} x {workers} workers, up to a power of two"
    return [
        Need("workers", workers, "processes", f"{each} {worker_s * 1e6:,.0f} us of a core", CORE_USED),
        Need("partitions", partitions, "", spread, 1 / PARTITIONS_A_WORKER),
        _scoring(load, measured),
        Need("Redis masters", masters, "", f"{each} {redis_s * 1e6:,.0f} us of a core", CORE_USED),
        *_redis_memory(load, measured, partitions),
        _kafka_disk(load, measured),
    ]


def _scoring(load: Load, measured: Measured) -> Need:
    scored = load.rate * (1 - load.repeats)
    if load.gpu_rate:
        formula = f"{scored:,.0f} texts/s / {load.gpu_rate:,.0f}/s"
        return Need("GPUs", math.ceil(scored / load.gpu_rate / CORE_USED), "", formula, CORE_USED)
    text_s = measured.triton_cpu_s.at(load.length)
    formula = f"{scored:,.0f} texts/s x {text_s * 1e3:,.2f} ms"
    return Need("Triton CPU cores", math.ceil(scored * text_s / CORE_USED), "", formula, CORE_USED)


def _redis_memory(load: Load, measured: Measured, partitions: int) -> list[Need]:
    """Events and buckets, and what both need with room to spare."""
    event = measured.event_bytes.at(load.length)
    events = partitions * load.events_kept * event
    homes = min(load.homes, partitions)
    minute, hour = (_bucket_bytes(load, measured, seconds, homes) for seconds in (60, 3600))
    kept = load.minutes_kept * minute + load.hours_kept * hour
    buckets = load.communities * homes * kept
    of_events = f"{partitions} partitions x {load.events_kept:,} kept x {event:,.0f} B"
    of_buckets = (
        f"{load.communities:,} communities x {homes} x ({load.minutes_kept} minutes x {minute:,.0f} B"
        f" + {load.hours_kept} hours x {hour:,.0f} B)"
    )
    return [
        Need("Redis events", events / 1e9, "GB", of_events, 1),
        Need("Redis buckets", buckets / 1e9, "GB", of_buckets, 1),
        Need("Redis memory", (events + buckets) / REDIS_USED / 1e9, "GB", "events + buckets", REDIS_USED),
    ]


def _bucket_bytes(load: Load, measured: Measured, seconds: int, homes: int) -> float:
    """A bucket and its sketch; at most every comment has an author of its own."""
    authors = load.rate * seconds / load.communities / homes
    return measured.bucket_bytes + measured.sketch_bytes.at(authors)


def _kafka_disk(load: Load, measured: Measured) -> Need:
    record = measured.record_bytes.at(load.length)
    kept = load.rate * record * load.retention_h * 3600 * load.copies
    formula = f"{load.rate:,.0f}/s x {record:,.0f} B x {load.retention_h:g} h x {load.copies} copies"
    return Need("Kafka disk", kept / DISK_USED / 1e9, "GB", formula, DISK_USED)
