"""`fanpulse demo`: plays, ends and leaves nothing running."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

import psutil
import pytest

from tests.stream.deployment import until


async def demo(folder: Path, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "demo", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
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


async def test_a_short_demo_settles_everything_and_shows_the_turn(tmp_path: Path) -> None:
    process = await demo(tmp_path, "--seconds", "20")
    assert process.stdout is not None
    output = (await asyncio.wait_for(process.stdout.read(), 200)).decode()
    assert await process.wait() == 0, output
    assert "the board: http://127.0.0.1:" in output
    lines = [line for line in output.splitlines() if "comments settled, each once" in line]
    settled, sent = lines[0].split(" comments")[0].split(" of ")
    assert settled.strip() == sent.strip() != "0"
    assert left_running(tmp_path) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path, how: signal.Signals) -> None:
    process = await demo(tmp_path, "--no-board")

    async def worker_runs() -> bool:
        log = tmp_path / ".fanpulse/demo/worker.log"
        return log.exists() and "models" in log.read_text()

    await until(worker_runs, within_s=120, what="the demo's worker to run")
    process.send_signal(how)
    assert await asyncio.wait_for(process.wait(), 90) == 0
    assert left_running(tmp_path) == []
