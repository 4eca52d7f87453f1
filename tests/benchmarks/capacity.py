"""Measures what one comment costs in each process and store: the constants of `fanpulse capacity`."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from stream.capacity import Cost, Measured, Sketch
from stream.keys import Keys
from tests.benchmarks.bench import Bench, comments, posts, process

SHORT, LONG = 20, 100  # characters
FILE = Path(__file__).parents[2] / "stream/capacity.json"
_FEW, _MANY = 100, 100_000  # authors
_SKETCH = "bench:sketch"


@dataclass(frozen=True, slots=True)
class Spent:
    """By one comment: seconds of a core and bytes."""

    worker_s: float
    redis_s: float
    triton_cpu_s: float
    event_bytes: float
    record_bytes: float


async def measure(count: int) -> Measured:
    """Score `count` comments of either length and look what that took."""
    async with Bench.running(triton=True) as bench:
        short, long = await _spend(bench, SHORT, count), await _spend(bench, LONG, count)
        lines = {
            name: Cost.through((SHORT, getattr(short, name)), (LONG, getattr(long, name)))
            for name in Spent.__slots__
        }
        return Measured(**lines, bucket_bytes=await _bucket_bytes(bench), sketch_bytes=await _sketch(bench))


async def _spend(bench: Bench, length: int, count: int) -> Spent:
    await bench.client.flushall()
    before = _log_bytes(bench)
    topic = await bench.topic(comments(_texts(length, count)))
    record_bytes = (_log_bytes(bench) - before) / count
    assert bench.triton is not None
    assert bench.triton.process is not None
    assert bench.redis.process is not None
    async with process("stream", "worker", env=bench.environment(topic, cached_texts=0)) as worker:
        parts = [psutil.Process(worker.pid), bench.redis.process, bench.triton.process]
        settled = await _until(lambda: _settled(bench, topic), 1)
        began = [_cpu_s(part) for part in parts]
        done = await _until(lambda: _settled(bench, topic), count)
        spent = [(_cpu_s(part) - start) / (done - settled) for part, start in zip(parts, began, strict=True)]
    events = Keys().partition(topic, 0).events
    held = await bench.client.memory_usage(events, samples=0) / await bench.client.xlen(events)
    return Spent(*spent, event_bytes=held, record_bytes=record_bytes)


async def _bucket_bytes(bench: Bench) -> float:
    """Mean size of the hour buckets: they have seen every label."""
    keys = [key async for key in bench.client.scan_iter(match="fp:*}:h:*")]
    sizes = [await bench.client.memory_usage(key, samples=0) for key in keys]
    return float(sum(sizes) / len(sizes))


async def _sketch(bench: Bench) -> Sketch:
    sizes: list[int] = []
    for authors in (1, _FEW, _MANY):
        await bench.client.delete(_SKETCH)
        for first in range(0, authors, 1000):
            names = (f"{number:032x}" for number in range(first, min(first + 1000, authors)))
            await bench.client.pfadd(_SKETCH, *names)
        sizes.append(await bench.client.memory_usage(_SKETCH))
    one, few, many = sizes
    return Sketch(empty=one, per_author=(few - one) / (_FEW - 1), full=many)


def _texts(length: int, count: int) -> list[str]:
    """Distinct texts of exactly `length` characters, cut from what people say."""
    said = "".join(posts(20_000))
    rng = random.Random(length)
    found: set[str] = set()
    while len(found) < count:
        first = rng.randrange(len(said) - length)
        text = said[first : first + length]
        if text.isprintable() and not text.isspace():
            found.add(text)
    return sorted(found)


def _log_bytes(bench: Bench) -> int:
    return sum(log.stat().st_size for log in (bench.kafka.folder / "data").glob("bench-*/*.log"))


def _cpu_s(of: psutil.Process) -> float:
    times = [process.cpu_times() for process in (of, *of.children(recursive=True))]
    return sum(one.user + one.system for one in times)


async def _settled(bench: Bench, topic: str) -> int:
    return sum(await bench.fences(topic))


async def _until(count: Callable[[], Awaitable[int]], enough: int) -> int:
    while (now := await count()) < enough:  # noqa: ASYNC110 - seen by polling Redis
        await asyncio.sleep(0.05)
    return now
