"""`python -m tests.benchmarks NAME`: prints a table of figures that were measured in one run."""

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from typing import Annotated

import aiohttp
import psutil
import typer
from rich.console import Console
from rich.table import Table

from deploy.local.ports import free_port
from stream.comments import Rejected
from stream.model import Model
from stream.scorer import Scorer, Scores
from stream.settings import Settings
from tests.benchmarks.bench import Bench, comments, posts, process, quantile, rate
from tests.benchmarks.capacity import FILE, measure
from tests.benchmarks.hostile import slowest

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
console = Console()

Pairs = Annotated[int, typer.Option(min=1, help="Runs of each, in turn.")]


@app.command()
def stream_path(count: int = 200_000, stock_count: int = 20_000, pairs: Pairs = 3) -> None:
    """Kafka → worker → Redis with a scorer that answers at once, against the stock Faust idiom."""
    asyncio.run(_stream_path(count, stock_count, pairs))


async def _stream_path(count: int, stock_count: int, pairs: int) -> None:
    ours: list[float] = []
    stock: dict[str, list[float]] = {"each": [], "summed": []}
    async with Bench.running(triton=False) as bench:
        values = comments((posts(20_000) * (count // 20_000 + 1))[:count])
        full, small = await bench.topic(values), await bench.topic(values[:stock_count])
        for _ in range(pairs):
            await bench.client.flushall()
            async with process("tests.benchmarks.instant", env=bench.environment(full)):
                ours.append(await rate(lambda: _sum(bench, full), count))
            for increments, rates in stock.items():
                await bench.client.flushall()
                arguments = [
                    bench.kafka.bootstrap,
                    small,
                    f"stock-{time.time()}",
                    bench.redis.url,
                    increments,
                ]
                async with process("tests.benchmarks.stock", *arguments, env=bench.environment(small)):
                    rates.append(await rate(lambda: _stock_done(bench), stock_count))
    _print("stream path, instant scorer", {"fanpulse": ours, "stock Faust": stock["each"]})
    _print(
        "the same", {"fanpulse": ours, "stock Faust that sums its batches as fanpulse does": stock["summed"]}
    )


@app.command()
def pipeline(count: int = 20_000, pairs: Pairs = 3) -> None:
    """The whole way on the shipped model against Triton alone, the same texts in a closed loop."""
    asyncio.run(_pipeline(count, pairs))


async def _pipeline(count: int, pairs: int) -> None:
    whole, alone = [], []
    async with Bench.running(triton=True) as bench:
        texts = posts(count)
        topic = await bench.topic(comments(texts))
        for _ in range(pairs):
            await bench.client.flushall()
            async with process("stream", "worker", env=bench.environment(topic)):
                whole.append(await rate(lambda: _sum(bench, topic), len(texts)))
            alone.append(await _score(bench, texts))
    _print("whole pipeline against Triton alone", {"pipeline": whole, "Triton alone": alone})


async def _score(bench: Bench, texts: list[str]) -> float:
    """Texts a second through Triton in a closed loop: the worker's request size and number in flight."""
    assert bench.triton is not None
    settings = Settings(triton_url=bench.triton.url, cached_texts=0)
    scorer = Scorer.of(settings)
    model = await scorer.load("emotion_zh")
    size = settings.request_texts
    waiting = iter([texts[i : i + size] for i in range(0, len(texts), size)])

    async def client() -> None:
        for part in waiting:
            await scorer.infer(model, part)

    started = time.monotonic()
    await asyncio.gather(*(client() for _ in range(settings.requests_in_flight)))
    elapsed = time.monotonic() - started
    await scorer.close()
    return len(texts) / elapsed


@app.command()
def scoring(count: int = 20_000, pairs: Pairs = 3) -> None:
    """What sorting by length and scoring distinct texts once bring, over real posts."""
    asyncio.run(_scoring(count, pairs))


async def _scoring(count: int, pairs: int) -> None:
    runs: dict[str, list[float]] = {"both": [], "not sorted": [], "not distinct": []}
    async with Bench.running(triton=True) as bench:
        texts = posts(count)
        for _ in range(pairs):
            for name, kind in (("both", Scorer), ("not sorted", Unsorted), ("not distinct", Repeating)):
                runs[name].append(await _score_in_batches(bench, kind, texts))
    for name in ("not sorted", "not distinct"):
        _print(f"scoring {len(texts):,} posts", {"both": runs["both"], name: runs[name]})
    console.print(f"{1 - len(set(texts)) / len(texts):.1%} of the posts are repeats")


class Unsorted(Scorer):
    """Sends texts in the order they came."""

    arrange = staticmethod(list)


class Repeating(Scorer):
    """Scores every text as if it had never been seen."""

    async def score(self, model: Model, texts: Sequence[str]) -> list[Scores | Rejected]:
        parts = [sorted(texts, key=len)[i : i + 128] for i in range(0, len(texts), 128)]
        return [
            one for part in await asyncio.gather(*(self._held(model, part) for part in parts)) for one in part
        ]

    async def _held(self, model: Model, part: list[str]) -> list[Scores]:
        async with self._slots:
            return await self.infer(model, part)


async def _score_in_batches(bench: Bench, kind: type[Scorer], texts: list[str]) -> float:
    assert bench.triton is not None
    scorer = kind.of(Settings(triton_url=bench.triton.url))
    model = await scorer.load("emotion_zh")
    started = time.monotonic()
    for first in range(0, len(texts), 1024):
        await scorer.score(model, texts[first : first + 1024])
    elapsed = time.monotonic() - started
    await scorer.close()
    return len(texts) / elapsed


@app.command()
def latency(seconds: float = 60.0, share: float = 0.5) -> None:
    """From produce to readable in Redis at a share of the saturated rate, by stage."""
    asyncio.run(_latency(seconds, share))


async def _latency(seconds: float, share: float) -> None:
    async with Bench.running(triton=True) as bench:
        values = comments(posts(20_000))
        full = await bench.topic(values)
        async with process("stream", "worker", env=bench.environment(full)):
            saturated = await rate(lambda: _sum(bench, full), len(values))
        paced, port = await bench.topic([]), free_port()
        async with process("stream", "worker", env=bench.environment(paced, web_port=port)):
            await _is_ready(port)
            await bench.send_at(paced, values, saturated * share, seconds)
            text = await _scrape(port, "/metrics")
    table = Table(
        "stage", "p50 ms", "p95 ms", "p99 ms", title=f"latency at {saturated * share:,.0f} comments/s"
    )
    for label, name, only in (
        ("produce to readable", "fanpulse_freshness_seconds", {}),
        *(
            (stage, "fanpulse_stage_seconds", {"stage": stage})
            for stage in ("decode", "score", "enrich", "settle")
        ),
    ):
        table.add_row(label, *(f"{1000 * quantile(text, name, only, q):,.1f}" for q in (0.5, 0.95, 0.99)))
    console.print(table)


async def _scrape(port: int, path: str) -> str:
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return await answer.text()


async def _is_ready(port: int) -> None:
    """Wait until the worker has its partitions: what was sent before would count its start as latency."""
    deadline = time.monotonic() + 60
    while True:
        try:
            await _scrape(port, "/ready")
        except aiohttp.ClientError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


@app.command()
def memory(count: int = 1_000_000, step: int = 100_000) -> None:
    """Resident memory of one worker over many comments with the instant scorer: its slope."""
    asyncio.run(_memory(count, step))


async def _memory(count: int, step: int) -> None:
    async with Bench.running(triton=False) as bench:
        values = (comments(posts(20_000)) * (count // 20_000 + 1))[:count]
        topic = await bench.topic(values)
        table = Table("comments", "MiB", title="resident memory of one worker")
        seen: list[tuple[int, float]] = []
        async with process("tests.benchmarks.instant", env=bench.environment(topic)) as worker:
            of = psutil.Process(worker.pid)
            for target in range(step, count + 1, step):
                await rate(lambda: _sum(bench, topic), target)
                seen.append((target, of.memory_info().rss / 2**20))
                table.add_row(f"{target:,}", f"{seen[-1][1]:,.1f}")
        console.print(table)
        half = seen[len(seen) // 2 :]
        slope = statistics.linear_regression([n / 1e6 for n, _ in half], [mib for _, mib in half]).slope
        console.print(f"slope over the second half: {slope:+.1f} MiB a million comments")


@app.command()
def decoding() -> None:
    """Reading records made to be slow: CPU a kilobyte, for each kind the slowest."""
    table = Table("record", "ms a kilobyte", title="decoding")
    for name, milliseconds in sorted(slowest().items(), key=lambda one: -one[1]):
        table.add_row(name, f"{milliseconds:.3f}")
    console.print(table)


@app.command()
def capacity(count: int = 6_000) -> None:
    """What one comment costs, written to where `fanpulse capacity` reads it."""
    measured = asyncio.run(measure(count))
    FILE.write_text(
        json.dumps(json.loads(measured.model_dump_json(), parse_float=_three_digits), indent=2) + "\n"
    )
    console.print(FILE.read_text(), end="")


def _three_digits(number: str) -> float:
    return float(f"{float(number):.3g}")


@app.command(name="all")
def run_all() -> None:
    """Every benchmark, one after another."""
    for one in (stream_path, pipeline, scoring, latency, memory, decoding, capacity):
        one()


async def _sum(bench: Bench, topic: str) -> int:
    return sum(await bench.fences(topic))


async def _stock_done(bench: Bench) -> int:
    return int(await bench.client.get("stock:done") or 0)


def _print(title: str, runs: dict[str, list[float]]) -> None:
    first, second = runs.values()
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    table = Table("", "per second: least", "median", "most", title=title)
    for name, rates in runs.items():
        table.add_row(
            name, *(f"{value:,.0f}" for value in (min(rates), statistics.median(rates), max(rates)))
        )
    names = " / ".join(runs)
    table.add_row(names, *(f"{value:.2f}" for value in (min(ratios), statistics.median(ratios), max(ratios))))
    console.print(table)


if __name__ == "__main__":
    app()
