"""`fanpulse demo` as a person starts it: everything real, the shipped model included."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

import psutil

from stream.storyline import COMMUNITIES
from tests.stream.deployment import until

SOUR = COMMUNITIES[0]


async def demo(folder: Path, *arguments: str, output: int = asyncio.subprocess.PIPE, **more: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "demo", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **more},
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
    )


def left_running(folder: Path) -> list[str]:
    """Processes that work in the folder."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        cwd = process.info["cwd"] or ""
        if cwd.startswith(str(folder)):
            found.append(" ".join(process.info["cmdline"] or []))
    return found


async def test_the_turn_is_plain_to_see_fires_a_default_rule_and_nothing_is_left_running(
    tmp_path: Path,
) -> None:
    process = await demo(tmp_path, "--seconds", "15")
    assert process.stdout is not None
    output = (await asyncio.wait_for(process.stdout.read(), 280)).decode()
    assert await process.wait() == 0, output
    assert re.search(r"the board: http://127\.0\.0\.1:\d+/", output)
    settled, sent = re.search(r"([\d,]+) of ([\d,]+) comments settled, each once", output).groups()
    assert settled == sent != "0"
    assert f"ALERT turning-sour, firing: {SOUR}" in output
    assert f"{SOUR} went sour at" in output
    assert "the alert came" in output
    (_, sour), *calm = (shares(output, community) for community in COMMUNITIES)
    assert all(share <= 0.35 for shares_of_one in calm for share in shares_of_one), output
    assert sour >= 0.15 + max(now for _, now in calm), output
    assert left_running(tmp_path) == []


def shares(summary: str, community: str) -> tuple[float, float]:
    """The community's negative share in the calm hour and in the last five minutes."""
    row = re.search(rf"{community} +[\d,]+ +(\d+)% +(\d+)%", summary)
    assert row, summary
    return int(row[1]) / 100, int(row[2]) / 100


async def test_a_demo_that_is_told_to_end_leaves_nothing_running(tmp_path: Path) -> None:
    process = await demo(tmp_path, "--no-board")

    async def worker_runs() -> bool:
        log = tmp_path / ".fanpulse/demo/worker.log"
        return log.exists() and "models" in log.read_text()

    await until(worker_runs, within_s=120, what="the demo's worker to run")
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 90) == 0
    assert left_running(tmp_path) == []


async def test_in_a_terminal_it_draws_a_live_screen_until_it_is_interrupted(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    process = await demo(tmp_path, "--no-board", output=theirs, TERM="xterm", COLUMNS="120", LINES="40")
    os.close(theirs)
    terminal, screen = asyncio.StreamReader(), b""
    with os.fdopen(ours, "rb", buffering=0) as pipe:
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(terminal), pipe
        )
        async with asyncio.timeout(150):
            while not (b"negative over 5 m" in screen and SOUR.encode() in screen):
                screen += await terminal.read(65_536)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # how a terminal says that its other end is closed
            async with asyncio.timeout(90):
                while rest := await terminal.read(65_536):
                    screen += rest
        assert await process.wait() == 0
    assert "stopped" in screen.decode(errors="replace")
    assert left_running(tmp_path) == []
