"""`fanpulse up`, `down` and `status` as somebody types them, on real services."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.ports import free_port
from deploy.local.service import alive
from deploy.local.stack import Running, Stack

PATIENCE_S = 150


class Shell:
    """Types commands in an empty folder; its Triton serves no model, so that it is up at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "models").mkdir()
        self.env = folder / ".fanpulse" / "stack.env"
        self.memory = folder / ".fanpulse" / "stack.json"
        self._options = {
            "cwd": folder,
            "text": True,
            "env": {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        }

    def start(self, *words: str) -> psutil.Popen:
        program = "from deploy.local.cli import app; app()"
        command = [sys.executable, "-c", program, *words]
        return psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._options)

    def run(self, *words: str) -> tuple[int, str]:
        """Exit status and what was printed."""
        process = self.start(*words)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output

    def up(self) -> psutil.Popen:
        """`fanpulse up` in the foreground, its services ready."""
        process = self.start("up", "--models", "models")
        wait_until(lambda: self.env.exists() or process.poll() is not None)
        assert self.env.exists(), process.communicate()[0]
        return process

    def up_detached(self, *options: str) -> tuple[int, str]:
        return self.run("up", "--detach", "--models", "models", *options)

    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(p["pid"]) for p in json.loads(self.memory.read_text())["processes"].values()]


def wait_until(holds) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(alive(process) for process in processes)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    code, output = shell.run("down")
    assert code == 0 or "damaged" in output, output


def test_a_detached_stack_has_the_ports_asked_for_and_is_ended_by_down(shell: Shell) -> None:
    ports = {name: free_port() for name in ("kafka", "redis", "triton")}
    code, output = shell.up_detached(*(f"--{name}-port={port}" for name, port in ports.items()))
    assert code == 0, output
    settings = dict(line.split("=", 1) for line in shell.env.read_text().splitlines())
    assert settings == {
        "FANPULSE_KAFKA_URL": f"kafka://127.0.0.1:{ports['kafka']}",
        "FANPULSE_REDIS_URL": f"redis://127.0.0.1:{ports['redis']}/0",
        "FANPULSE_TRITON_URL": f"grpc://127.0.0.1:{ports['triton']}",
    }
    processes = shell.processes()

    code, output = shell.run("status")
    assert code == 0, output
    assert output.count(" ready ") == 3
    assert all(url in output for url in settings.values())

    code, output = shell.up_detached(f"--kafka-port={free_port()}")
    assert (code, "already up" in output, settings["FANPULSE_KAFKA_URL"] in output) == (0, True, True), output
    code, output = shell.run("up")
    assert (code, "`fanpulse down` ends them" in output) == (1, True), output
    assert len(shell.processes()) == 3

    assert shell.run("down") == (0, "ended kafka, redis, triton\n")
    assert gone(processes)
    assert not shell.env.exists()
    assert shell.run("down") == (0, "nothing was running\n")
    code, output = shell.run("status")
    assert (code, output.count(" ended")) == (1, 3), output


def test_a_half_started_stack_is_cleared_and_comes_back_at_its_addresses(shell: Shell) -> None:
    shell.up_detached()
    addresses = shell.env.read_text()
    old = shell.processes()
    old[1].kill()
    wait_until(lambda: gone(old[1:2]))
    code, output = shell.run("status")
    assert (code, output.count(" ended"), output.count(" ready ")) == (1, 1, 2), output

    code, output = shell.up_detached()
    assert code == 0, output
    assert "ending kafka, left over from an incomplete stack" in output
    assert gone(old)
    assert shell.env.read_text() == addresses
    assert shell.run("status")[0] == 0


def test_a_watched_stack_ends_on_ctrl_c(shell: Shell) -> None:
    up = shell.up()
    processes = shell.processes()
    code, output = shell.up_detached()
    assert (code, "another `fanpulse up` is at work" in output) == (1, True), output
    up.send_signal(signal.SIGINT)
    assert up.wait(PATIENCE_S) == 0
    assert gone(processes)
    assert not shell.env.exists()


def test_down_ends_a_watched_stack_and_who_watches_it(shell: Shell) -> None:
    up = shell.up()
    processes = shell.processes()
    assert shell.run("down") == (0, "ended kafka, redis, triton\n")
    assert up.wait(PATIENCE_S) == 0
    assert gone(processes)


def test_a_watched_stack_ends_with_a_killed_up_and_the_next_up_starts_anew(shell: Shell) -> None:
    up = shell.up()
    processes = shell.processes()
    up.kill()
    up.wait()
    wait_until(lambda: gone(processes))
    code, output = shell.up_detached()
    assert code == 0, output


def test_a_watched_stack_ends_when_one_service_dies(shell: Shell) -> None:
    up = shell.up()
    processes = shell.processes()
    processes[2].kill()
    output, _ = up.communicate(timeout=PATIENCE_S)
    assert up.returncode == 1
    assert "triton ended by itself, so the others were stopped" in output
    assert gone(processes)


def test_a_port_in_use_is_named_and_nothing_is_left_running(shell: Shell, redis_server) -> None:
    code, output = shell.up_detached(f"--redis-port={redis_server.port}")
    assert code == 1
    assert f"redis cannot start: port {redis_server.port} (clients) is in use" in output
    assert shell.processes() == []
    assert not shell.env.exists()


def test_down_leaves_a_stranger_alone_that_got_the_pid_of_a_service(shell: Shell) -> None:
    stranger = psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        recorded = Running(pid=stranger.pid, started=stranger.create_time() - 60)
        shell.memory.parent.mkdir()
        shell.memory.write_text(json.dumps({"processes": {"kafka": recorded.model_dump()}}))
        assert shell.run("down") == (0, "nothing was running\n")
        assert stranger.is_running()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_damaged_memory_is_named(shell: Shell) -> None:
    shell.memory.parent.mkdir()
    shell.memory.write_text('{"ports": ')
    code, output = shell.run("status")
    assert code == 1
    assert f"{shell.memory} is damaged" in output


def test_remembered_ports_that_somebody_took_are_replaced(tmp_path: Path, redis_server) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"ports": {"redis": {"clients": redis_server.port}}}))
    assert Stack(tmp_path).redis.port != redis_server.port


def test_a_folder_without_a_stack_has_nothing_to_show_or_end(shell: Shell) -> None:
    assert shell.run("down") == (0, "nothing was running\n")
    code, output = shell.run("status")
    assert (code, output.count(" ended")) == (1, 3), output
    assert "127.0.0.1" not in output
