"""`python -m tests.faults.soak`: steady load with a rebalance every minute; does anything grow that should not?

Memory and file descriptors of workers and Triton, and the lag, are sampled; a least-squares slope over the
second half of the run tells growth from warming up.
"""

import asyncio
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table

from tests.faults.run import OURS
from tests.faults.stage import Stage, staged

WARM_UP, BURST = 500, 20_000
LOAD = 0.8
_SAMPLED_EVERY_S = 5.0
_WARM_UP_S = 120.0
_GROWTH_ALLOWED = {"MiB": 1.0, "files": 0.5, "lag": 100.0}  # a minute

Samples = dict[tuple[str, str], list[tuple[float, float]]]
"""(process or partition, unit) → seconds and values."""


def main(
    minutes: Annotated[float, typer.Option(help="How long.")] = 30.0,
    rate: Annotated[float, typer.Option(help="Comments a second; 0: 80 % of what a burst takes.")] = 0.0,
    seed: Annotated[int, typer.Option()] = 1,
) -> None:
    """Run steadily and report growth; exit code 1 if there is any, or if a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="fanpulse-soak-"))
    raise typer.Exit(0 if asyncio.run(soak(folder, minutes, rate, seed, Console())) else 1)


async def soak(folder: Path, minutes: float, rate: float, seed: int, console: Console) -> bool:
    """Whether nothing grew and the verifier found nothing wrong."""
    samples: Samples = defaultdict(list)
    async with staged(folder, seed=seed, rate=rate, command=OURS) as stage:
        if not rate:
            rate = stage.traffic.rate = LOAD * await saturation(stage)
        console.print(f"{rate:.0f} comments a second for {minutes:g} minutes; logs in {folder}")
        jobs = [
            asyncio.create_task(stage.traffic.run()),
            asyncio.create_task(rebalance(stage)),
            asyncio.create_task(sample(stage, samples)),
        ]
        await asyncio.sleep(minutes * 60)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await stage.watch.caught_up(300)
        await stage.fleet.stop()
        verdict = await stage.verifier.verify()
    console.print(str(verdict))
    return report(samples, console) and not verdict.wrong


async def saturation(stage: Stage) -> float:
    """Comments a second that get through when all are sent at once."""
    await stage.traffic.burst(WARM_UP)
    await stage.watch.caught_up(_WARM_UP_S)
    begun = time.monotonic()
    await stage.traffic.burst(BURST)
    await stage.watch.caught_up(_WARM_UP_S)
    return BURST / (time.monotonic() - begun)


async def rebalance(stage: Stage) -> None:
    """A worker comes or goes every minute."""
    while True:
        await asyncio.sleep(60)
        seat = stage.fleet.add()
        await asyncio.sleep(60)
        await stage.fleet.remove(seat)


async def sample(stage: Stage, samples: Samples) -> None:
    """Note what the processes that live throughout use, and how far the fences are behind."""
    workers = {f"worker {number}": process for number, process in enumerate(stage.fleet.processes())}
    triton = stage.nemesis.triton.process
    assert triton is not None
    backends = {f"backend {n}": child for n, child in enumerate(triton.children(recursive=True))}
    watched: dict[str, psutil.Process] = {**workers, "triton": triton, **backends}
    begun = time.monotonic()
    while True:
        at = time.monotonic() - begun
        for name, process in watched.items():
            samples[name, "MiB"].append((at, process.memory_info().rss / 2**20))
            samples[name, "files"].append((at, process.num_fds()))
        ends, settled = await stage.watch.ends(), await stage.watch.settled()
        samples["all partitions", "lag"].append((at, sum(ends) - sum(settled)))
        await asyncio.sleep(_SAMPLED_EVERY_S)


def report(samples: Samples, console: Console) -> bool:
    """Print first, last, highest and slope of each series; whether none grows."""
    table = Table("", "of", "first", "last", "highest", "growth a minute", title="Second half of the run")
    flat = True
    for (name, unit), series in samples.items():
        at, values = np.array(series[len(series) // 2 :]).T
        slope = float(np.polyfit(at / 60, values, 1)[0])
        flat = flat and slope <= _GROWTH_ALLOWED[unit]
        figures = (values[0], values[-1], values.max())
        table.add_row(name, unit, *(f"{figure:.0f}" for figure in figures), f"{slope:+.2f}")
    console.print(table)
    return flat


if __name__ == "__main__":
    typer.run(main)
