"""What the board costs: the shares of a core that server and page take, and how smooth the page is, under load.

python -m tests.benchmarks.board [--communities 200] [--rate 5000] [--viewers 5] [--seconds 60]
"""

import asyncio
import os
import shutil
import sys
import time
from asyncio import create_subprocess_exec
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from aiohttp import ClientSession
from playwright.async_api import Error, async_playwright
from psutil import Process
from rich import print_json
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from deploy.local import Redis
from deploy.local.ports import free_port
from stream.buckets import Settlement
from stream.storyline import storyline
from tests.board.conftest import CHROMIUM_FLAGS
from tests.board.told import Told

PARTITIONS = 4
ROUNDS_A_SECOND = 5
PUBLISH_EVERY_S = 2.0  # the worker's default
COUNT_FRAMES = """
seconds => new Promise(done => {
  const gaps = [], long = [], began = performance.now();
  let last = began;
  const observe = list => long.push(...list.getEntries().map(({ duration }) => duration));
  new PerformanceObserver(observe).observe({ type: "longtask" });
  const count = now => {
    gaps.push(now - last);
    last = now;
    now - began < seconds * 1000 ? requestAnimationFrame(count) : done({ gaps, long });
  };
  requestAnimationFrame(count);
})
"""
_once_there = retry(
    retry=retry_if_exception_type((OSError, Error)), wait=wait_fixed(0.2), stop=stop_after_delay(30)
)


def main(
    communities: Annotated[int, typer.Option(min=1)] = 200,
    rate: Annotated[int, typer.Option(min=5, help="Events a second, over all communities.")] = 5000,
    viewers: Annotated[int, typer.Option(min=0, help="Viewers besides the one in Chromium.")] = 5,
    seconds: Annotated[int, typer.Option(min=5)] = 60,
) -> None:
    """Print the figures as JSON."""
    print_json(data=asyncio.run(measure(communities, rate, viewers, seconds)))


async def measure(communities: int, rate: int, viewers: int, seconds: int) -> dict[str, float]:
    names = [f"社区 {number:03}" for number in range(communities)]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        server = await stack.enter_async_context(Redis(Path(folder)))
        client = await stack.enter_async_context(server.connect())
        told = Told(client, partitions=PARTITIONS)
        now = time.time()
        await told.week(names, now, rate=rate / communities)
        story = storyline(1, names, now - 60, 60, rate / communities)
        rounds = [told.batches(islice(story, rate // ROUNDS_A_SECOND)) for _ in range(10 * ROUNDS_A_SECOND)]
        await told.publish()
        port = free_port()
        settings = {"FANPULSE_REDIS_URL": server.url, "FANPULSE_BOARD_PORT": str(port)}
        board = await create_subprocess_exec(
            sys.executable, "-m", "stream", "board", env=os.environ | settings
        )
        stack.callback(board.terminate)
        url = f"http://127.0.0.1:{port}/"
        running = [
            asyncio.create_task(work)
            for work in (
                _settle(told, rounds),
                _publish(told),
                *(_watch(url, name) for name in names[:viewers]),
            )
        ]
        for task in running:
            stack.callback(task.cancel)
        assert server.process is not None
        redis = [server.process, *server.process.children(recursive=True)]
        return await _look(url, Process(board.pid), redis, told, seconds)


async def _settle(told: Told, rounds: Sequence[dict[int, Settlement]]) -> None:
    """Settle a round five times a second, on and on. They are made beforehand: that is no part of the load."""
    due = time.monotonic()
    for batches in cycle(rounds):
        for partition, batch in batches.items():
            await told.again(partition, batch, time.time())
        due = max(due + 1 / ROUNDS_A_SECOND, time.monotonic() - 1)
        await asyncio.sleep(due - time.monotonic())


async def _publish(told: Told) -> None:
    while True:
        await told.publish()
        await asyncio.sleep(PUBLISH_EVERY_S)


@_once_there
async def _watch(url: str, community: str) -> None:
    """One more viewer, which reads its frames and does nothing with them."""
    async with (
        ClientSession() as session,
        session.get(f"{url}frames", params={"community": community}) as answer,
    ):
        async for _ in answer.content.iter_any():
            pass


async def _look(
    url: str, board: Process, redis: Sequence[Process], told: Told, seconds: int
) -> dict[str, float]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS
        )
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        await _once_there(page.goto)(url)
        await page.locator("#comments li").first.wait_for()
        await asyncio.sleep(5)  # what is measured is a page left open, not its start
        watched = {"server": [board], "page": _renderers(), "redis": redis, "load": [Process()]}
        spent, settled, began = _cpu(watched), told.settled, time.monotonic()
        seen = await page.evaluate(COUNT_FRAMES, seconds)
        took = time.monotonic() - began
        shares = {
            f"{name}_share_of_a_core": round((after - spent[name]) / took, 3)
            for name, after in _cpu(watched).items()
        }
        await browser.close()
    gaps = sorted(seen["gaps"])
    return {
        "events_per_s": round((told.settled - settled) / took),
        **shares,
        "page_frames_per_s": round(len(gaps) / took, 1),
        "page_gap_p99_ms": round(gaps[len(gaps) * 99 // 100], 1),
        "page_longest_gap_ms": round(gaps[-1], 1),
        "page_long_tasks": len(seen["long"]),
    }


def _renderers() -> list[Process]:
    """Chromium's processes that run pages, of the browser that this process started."""
    return [child for child in Process().children(recursive=True) if "--type=renderer" in child.cmdline()]


def _cpu(watched: Mapping[str, Sequence[Process]]) -> dict[str, float]:
    """Seconds of processor time so far, by name."""
    times = {name: [process.cpu_times() for process in of] for name, of in watched.items()}
    return {name: sum(one.user + one.system for one in of) for name, of in times.items()}


if __name__ == "__main__":
    typer.run(main)
