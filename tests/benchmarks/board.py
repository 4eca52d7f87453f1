"""What the board costs: the server's share of a core and the page's frames per second under a full load.

    python -m tests.benchmarks.board [--communities 200] [--rate 5000] [--viewers 5] [--seconds 60]
"""

import asyncio
import shutil
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from itertools import islice
from pathlib import Path
from typing import Annotated

import psutil
import typer
from aiohttp import ClientSession
from playwright.async_api import async_playwright
from rich import print_json

from deploy.local import Redis
from stream.storyline import EMOTIONS, storyline
from tests.board.conftest import CHROMIUM_FLAGS
from tests.board.told import Told

PARTITIONS = 4
PUBLISH_EVERY_S = 2.0  # the worker's default
COUNT_FRAMES = """
seconds => new Promise(done => {
  const gaps = []; const long = []; let last = performance.now(); const began = last;
  new PerformanceObserver(list => long.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
  const count = now => {
    gaps.push(now - last); last = now;
    now - began < seconds * 1000 ? requestAnimationFrame(count) : done({ gaps, long });
  };
  requestAnimationFrame(count);
})
"""


def main(
    communities: Annotated[int, typer.Option(min=1)] = 200,
    rate: Annotated[int, typer.Option(min=1, help="Events a second, over all communities.")] = 5000,
    viewers: Annotated[int, typer.Option(min=0, help="Viewers besides the one in Chromium.")] = 5,
    seconds: Annotated[int, typer.Option(min=5)] = 60,
) -> None:
    """Print the figures as JSON."""
    print_json(data=asyncio.run(measure(communities, rate, viewers, seconds)))


async def measure(communities: int, rate: int, viewers: int, seconds: int) -> dict[str, float]:
    names = [f"社区 {number:03}" for number in range(communities)]
    with tempfile.TemporaryDirectory() as folder:
        async with Redis(Path(folder)) as server, server.connect() as client:
            told = Told(client, partitions=PARTITIONS)
            now = time.time()
            await told.week(names, now, rate=rate / communities)
            await told.story(names, now - 60, now, rate=min(1.0, rate / communities))
            await told.publish()
            board = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.benchmarks.board_process", server.url, stdout=PIPE
            )
            assert board.stdout
            url = (await board.stdout.readline()).decode().strip()
            load = asyncio.create_task(_load(told, names, rate))
            watching = [asyncio.create_task(_watch(url, name)) for name in names[:viewers]]
            try:
                return await _look(url, psutil.Process(board.pid), seconds) | {"events_per_s": round(told.rate)}
            finally:
                for task in (load, *watching):
                    task.cancel()
                board.terminate()
                await board.wait()


async def _load(told: Told, names: list[str], rate: int) -> None:
    """Settle `rate` events a second, made beforehand and dated anew, and publish as a worker would."""
    made = list(islice(storyline(1, names, 0, 120, 5.0), 20 * rate))
    del EMOTIONS
