"""The demo's processes: the embedded stack, a worker, a board and alerts, started in order and ended for sure."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

from rich.console import Console

from deploy.local.ports import free_port
from deploy.local.service import ServiceError
from deploy.local.stack import Stack
from stream import topics
from stream.alerts.rules_file import DEFAULT_RULES
from stream.cli import load_settings
from stream.demo_play import play

FOLDER = Path(".fanpulse/demo")
PARTITIONS = 3
LOOK_EVERY_S = 0.5
STOP_TIMEOUT_S = 30.0


async def perform(seconds: float, board: bool, seed: int) -> None:
    """The demo in this process's event loop; cancel it to end it early. Raises FanpulseError, ServiceError."""
    _clear_folder()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that starts refuses at first
    console = Console()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    stack = Stack(FOLDER)
    quick = {"FANPULSE_PUBLISH_EVERY_S": "0.5", "FANPULSE_BATCH_RECORDS": "256"}  # figures come sooner
    processes = Processes({**stack.settings(), **quick})
    try:
        with console.status("starting Kafka, Redis and Triton"):
            await stack.start()
        settings = load_settings(
            **{name.removeprefix("FANPULSE_").lower(): url for name, url in stack.settings().items()}
        )
        await topics.create(settings, PARTITIONS, 1)
        await processes.start("worker", FANPULSE_WEB_PORT=str(free_port()))
        address = None
        if board:
            port = str(free_port())
            address = f"http://127.0.0.1:{port}/"
            await processes.start("board", "--port", port)
            console.print(f"the board: {address}")

        async def start_alerts() -> None:
            await processes.start("alerts", "run", "--rules", str(_rules(address)))

        await play(settings, console, seconds, seed, when_calm=start_alerts, guard=processes.guard)
    except asyncio.CancelledError:
        console.print("stopped")
    finally:
        with console.status("stopping"):
            await processes.stop()
            await stack.stop()


class Processes:
    """`fanpulse` processes, each with a log of its name in the demo's folder."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self._running: dict[str, Process] = {}

    async def start(self, command: str, *arguments: str, **environment: str) -> None:
        with (FOLDER / f"{command}.log").open("wb") as log:
            self._running[command] = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "stream", command, *arguments),
                env=self._environment | environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others in order
            )

    async def guard(self) -> None:
        """Return never; raise ServiceError when one of them ends, and say why."""
        while True:
            for command, process in self._running.items():
                if process.returncode is not None:
                    last = (FOLDER / f"{command}.log").read_text().splitlines()[-1:]
                    raise ServiceError(f"{command} ended: {' '.join(last)}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def stop(self) -> None:
        """SIGTERM to all, then SIGKILL for what is left after a while."""
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await asyncio.gather(*map(_ended, self._running.values()))


async def _ended(process: Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _clear_folder() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)


def _rules(board: str | None) -> Path:
    """The default rules, with links to the board where there is one."""
    path = FOLDER / "rules.toml"
    address = f'board_url = "{board}"\n\n' if board else ""
    path.write_text(address + DEFAULT_RULES.read_text("utf-8"), "utf-8")
    return path
