"""`python -m tests.faults.soak`: steady load with a rebalance every minute; does anything grow that should not?

Memory and file descriptors of workers and Triton, and the lag, are sampled to a file; growth.py judges them.
"""

import asyncio
import json
import logging
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from tests.faults import growth
from tests.faults.run import OURS
from tests.faults.stage import PARTITIONS, Stage, staged

LOAD = 0.8
BACKLOG = 4000  # records waiting while saturation is measured
_WARM_UP_S, _MEASURED_S = 15.0, 30.0
_SAMPLED_EVERY_S = 5.0
_CATCHES_UP_WITHIN_S = 300.0
_SETTINGS = {
    "cached_texts": 0,  # every text goes to Triton
    "events_kept": 10_000,  # so that Redis too comes to rest
}


def main(
    minutes: Annotated[float, typer.Option(help="How long, after saturation is measured.")] = 30.0,
    rate: Annotated[float, typer.Option(help="Comments a second; 0: 80 % of what is measured first.")] = 0.0,
    seed: Annotated[int, typer.Option()] = 1,
) -> None:
    """Run steadily and report growth; exit code 1 if there is any, or if a comment was lost or counted twice.

    Samples stand in build/soak-SEED.jsonl from the first on; a run that is cut off is judged by those.
    """
    folder = Path(tempfile.mkdtemp(prefix="fanpulse-soak-"))
    logging.basicConfig(filename=folder / "harness.log", level=logging.WARNING)
    file = Path("build") / f"soak-{seed}.jsonl"
    file.parent.mkdir(exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"logs in {folder}")
    facts = asyncio.run(_until_told(soak(folder, file, minutes, rate, seed, console)))
    samples = growth.read(file)
    facts["grows"] = growth.show(samples, console)
    growth.plot(samples, file.with_suffix(".svg"))
    file.with_suffix(".json").write_text(json.dumps(facts, indent=1))
    console.print_json(data=facts)
    if facts.get("wrong") != [] or facts["grows"]:
        raise typer.Exit(1)
    shutil.rmtree(folder)


async def soak(
    folder: Path, file: Path, minutes: float, rate: float, seed: int, console: Console
) -> dict[str, Any]:
    """Load the stack, writing samples to `file`; returns what was found besides."""
    facts: dict[str, Any] = {}
    try:
        async with staged(folder, seed=seed, rate=rate, command=OURS, **_SETTINGS) as stage:
            following = asyncio.create_task(stage.watch.follow())
            if not rate:
                facts["saturation_per_s"] = await saturation(stage)
                rate = LOAD * facts["saturation_per_s"]
            facts["rate_per_s"] = stage.traffic.rate = rate
            console.print(f"{rate:.0f} comments a second for {minutes:g} minutes")
            jobs = [
                asyncio.create_task(stage.traffic.run()),
                asyncio.create_task(rebalance(stage)),
                asyncio.create_task(sample(stage, file)),
            ]
            ended, _ = await asyncio.wait(jobs, timeout=minutes * 60, return_when=asyncio.FIRST_COMPLETED)
            for job in (*jobs, following):
                job.cancel()
            await asyncio.gather(*jobs, following, return_exceptions=True)
            facts["broken"] = [repr(job.exception()) for job in ended]
            with suppress(TimeoutError):
                await stage.watch.caught_up(_CATCHES_UP_WITHIN_S)
            await stage.fleet.stop()
            facts["exits"] = stage.fleet.exits
            facts["comments"], facts["wrong"] = await tally(stage)
    except asyncio.CancelledError:
        facts["cut off"] = True
    return facts


async def _until_told(soaking: Any) -> dict[str, Any]:
    """SIGTERM and SIGINT end the soak early, not its report."""
    job = asyncio.create_task(soaking)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, job.cancel)
    facts: dict[str, Any] = await job
    return facts


async def saturation(stage: Stage) -> float:
    """Comments a second that get through while some thousands always wait."""
    filling = asyncio.create_task(_keep_waiting(stage))
    await asyncio.sleep(_WARM_UP_S)
    before, begun = sum(await stage.watch.settled()), time.monotonic()
    await asyncio.sleep(_MEASURED_S)
    settled = sum(await stage.watch.settled()) - before
    seconds = time.monotonic() - begun
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    return settled / seconds


async def _keep_waiting(stage: Stage) -> None:
    while True:
        if stage.watch.lag < BACKLOG:
            await stage.traffic.burst(BACKLOG // 4)
        await asyncio.sleep(0.05)


async def rebalance(stage: Stage) -> None:
    """A worker comes or goes every minute."""
    while True:
        await asyncio.sleep(60)
        seat = stage.fleet.add()
        await asyncio.sleep(60)
        await stage.fleet.remove(seat)


async def sample(stage: Stage, file: Path) -> None:
    """Append to `file` what the processes that live throughout use, and how far the fences are behind."""
    workers = {f"worker {number}": process for number, process in enumerate(stage.fleet.processes())}
    triton, redis = stage.nemesis.triton.process, stage.nemesis.redis.process
    assert triton is not None
    assert redis is not None
    backends = {f"backend {n}": child for n, child in enumerate(triton.children(recursive=True))}
    watched: dict[str, psutil.Process] = {**workers, "triton": triton, **backends, "redis": redis}
    begun = time.monotonic()
    with file.open("w") as out:
        while True:
            at = round(time.monotonic() - begun, 1)
            rows: list[tuple[float, str, str, float]] = [(at, "all partitions", "lag", stage.watch.lag)]
            for name, process in watched.items():
                with suppress(psutil.NoSuchProcess):  # its end is told among the exits
                    rows.append((at, name, "MiB", process.memory_info().rss / 2**20))
                    rows.append((at, name, "files", process.num_fds()))
            out.writelines(json.dumps(row) + "\n" for row in rows)
            out.flush()
            await asyncio.sleep(_SAMPLED_EVERY_S)


async def tally(stage: Stage) -> tuple[int, list[str]]:
    """Records in the log, and the partitions whose hour buckets do not add up to their records."""
    ends, wrong = await stage.watch.ends(), []
    for number in range(PARTITIONS):
        counted = 0
        async for key in stage.watch.redis.scan_iter(match=f"{stage.names.root(number)}h:*", count=1000):
            counts: list[Any] = await stage.watch.redis.hmget(key, ["n", "rej"])
            counted += sum(int(count or 0) for count in counts)
        if counted != ends[number]:
            wrong.append(f"partition {number}: {counted} counted of {ends[number]}")
    return sum(ends), wrong


if __name__ == "__main__":
    typer.run(main)
