"""`python -m tests.benchmarks NAME`: prints a table of figures that were measured in one run."""

import asyncio
import statistics
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stream.scorer import Scorer
from stream.settings import Settings
from tests.benchmarks.bench import Bench, comments, posts, process, rate

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
console = Console()

Pairs = Annotated[int, typer.Option(min=1, help="Runs of each, in turn.")]


@app.command()
def stream_path(count: int = 100_000, stock_count: int = 10_000, pairs: Pairs = 3) -> None:
    """Kafka → worker → Redis with a scorer that answers at once, against the stock Faust idiom."""
    asyncio.run(_stream_path(count, stock_count, pairs))


async def _stream_path(count: int, stock_count: int, pairs: int) -> None:
    ours, stock = [], []
    async with Bench.running(triton=False) as bench:
        values = comments((posts(20_000) * (count // 20_000 + 1))[:count])
        full, small = await bench.topic(values), await bench.topic(values[:stock_count])
        for _ in range(pairs):
            await bench.client.flushall()
            async with process("tests.benchmarks.instant", env=bench.environment(full)):
                ours.append(await rate(lambda: _sum(bench, full), count))
            await bench.client.flushall()
            arguments = [bench.kafka.bootstrap, small, f"stock-{time.time()}", bench.redis.url]
            async with process("tests.benchmarks.stock", *arguments, env=bench.environment(small)):
                stock.append(await rate(lambda: _stock_done(bench), stock_count))
    _print("stream path, instant scorer", {"fanpulse": ours, "stock Faust": stock})


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
