"""`fanpulse demo`: the whole system on this machine for a minute, three invented communities, one turns sour."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.live import Live

from deploy.local.ports import free_port
from deploy.local.service import ServiceError
from deploy.local.stack import Stack
from stream import topics
from stream.cli import fail, load_settings
from stream.client import Fanpulse
from stream.demo_view import Picture
from stream.errors import FanpulseError
from stream.jobs import end
from stream.settings import Settings
from stream.storyline import COMMUNITIES, Turn, storyline

FOLDER = Path(".fanpulse/demo")
PARTITIONS = 3
QUIET_RATE, BUSY_RATE = 0.1, 5.0  # comments a second and community: over the hour before, and live
TURN_AFTER_S = 8.0
REFRESH_S = 0.5
PLAIN_EVERY_S = 5.0


def demo(
    seconds: Annotated[float, typer.Option(min=15, help="How long it plays.")] = 60.0,
    board: Annotated[bool, typer.Option(help="Serve the web page as well.")] = True,
    seed: Annotated[int, typer.Option(help="Another seed tells another story.")] = 7,
) -> None:
    """Start everything on this machine and watch three invented communities, of which one turns sour.

    Ends by itself, or on Ctrl-C, and leaves nothing running.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        asyncio.run(_demo(seconds, board, seed))
    except (FanpulseError, ServiceError) as error:
        fail(error, 1)


async def _demo(seconds: float, board: bool, seed: int) -> None:
    console = Console()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    stack = Stack(FOLDER)
    try:
        with console.status("starting Kafka, Redis and Triton"):
            await stack.start()
        environment = {**os.environ, **stack.settings(), "FANPULSE_PUBLISH_EVERY_S": "0.5"}
        settings = load_settings(
            **{k.removeprefix("FANPULSE_").lower(): v for k, v in stack.settings().items()}
        )
        await topics.create(settings, PARTITIONS, 1)
        async with contextlib.AsyncExitStack() as running:
            environment["FANPULSE_WEB_PORT"] = str(free_port())
            worker = await running.enter_async_context(_fanpulse("worker", environment))
            if board:
                port = free_port()
                await running.enter_async_context(_fanpulse("board", environment, "--port", str(port)))
                console.print(f"the board: http://127.0.0.1:{port}/")
            await _play(settings, console, seconds, seed, worker)
    except asyncio.CancelledError:
        console.print("stopped")
    finally:
        with console.status("stopping"):
            await stack.stop()


@contextlib.asynccontextmanager
async def _fanpulse(command: str, environment: dict[str, str], *arguments: str) -> AsyncIterator[Process]:
    """A `fanpulse` process with its log in the demo's folder; ended by SIGTERM on leaving."""
    with (FOLDER / f"{command}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "stream", command, *arguments),
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others in order
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 30)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _play(settings: Settings, console: Console, seconds: float, seed: int, worker: Process) -> None:
    picture = Picture(list(COMMUNITIES), seconds)
    async with Fanpulse.of(settings) as client:
        jobs = [
            asyncio.create_task(_tell(settings, picture, seconds, seed)),
            asyncio.create_task(_listen(client, picture)),
            asyncio.create_task(_look(client, picture)),
            asyncio.create_task(_show(picture, console)),
            asyncio.create_task(_guard(worker)),
        ]
        try:
            # The story ends when it is told and settled; the others go on for ever.
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        finally:
            await end(jobs)
            console.print(picture.summary())


async def _guard(worker: Process) -> None:
    """Say why when the worker ends before the story does."""
    await worker.wait()
    last = (FOLDER / "worker.log").read_text().splitlines()[-1:]
    raise ServiceError(f"the worker ended: {' '.join(last)}")


async def _tell(settings: Settings, picture: Picture, seconds: float, seed: int) -> None:
    """Send an hour of calm at once and, when it is settled, the story at its own pace."""
    calm = storyline(seed, COMMUNITIES, time.time() - 3600, 3600, QUIET_RATE)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_url.removeprefix("kafka://")) as producer:
        for comment, _ in _in_time([*calm], None):
            await producer.send(
                settings.comments_topic, orjson.dumps(comment), key=comment["community"].encode()
            )
            picture.sent += 1
        await picture.all_settled()
        now = picture.begin()
        turn = Turn("souring", COMMUNITIES[0], now + TURN_AFTER_S, seconds)
        story = storyline(seed + 1, COMMUNITIES, now, seconds, BUSY_RATE, [turn])
        for comment, wait_s in _in_time([*story], now):
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            await producer.send(
                settings.comments_topic, orjson.dumps(comment), key=comment["community"].encode()
            )
            picture.sent += 1
        await picture.all_settled()
    await asyncio.sleep(2 * REFRESH_S)  # one more look at the windows


def _in_time(
    story: list[tuple[dict[str, Any], str]], start: float | None
) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield each comment with the seconds to wait before it is due; none without a `start`."""
    for comment, _ in story:
        yield comment, 0.0 if start is None else comment["created_at"] / 1000 - time.time()


async def _listen(client: Fanpulse, picture: Picture) -> None:
    """Collect the newest negative comments."""
    async for event in client.tail():
        if event.negative:
            picture.hear(event)


async def _look(client: Fanpulse, picture: Picture) -> None:
    """Read windows and progress, again and again."""
    while True:
        for community in picture.communities:
            for size in ("5m", "1h"):
                picture.see(await client.window(community, size))
        picture.settle(sum((await client.fences()).values()))
        await asyncio.sleep(REFRESH_S)


async def _show(picture: Picture, console: Console) -> None:
    """Draw: a live screen in a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            console.print(picture.line(), soft_wrap=True, markup=False, highlight=False)
    with Live(picture, console=console, auto_refresh=False) as live:
        while True:
            live.refresh()
            await asyncio.sleep(REFRESH_S)
