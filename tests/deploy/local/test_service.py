"""What holds for every service, tried on the quickest one, and on stubborn ones made here."""

import signal
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local import Redis, Service, ServiceError
from deploy.local.service import alive

STARTER = """
import asyncio, pathlib, sys, time
from deploy.local import Redis

server = Redis(pathlib.Path(sys.argv[1]), outlives_parent=sys.argv[2] == "leave")
asyncio.run(server.start())
print(server.process.pid, flush=True)
time.sleep(600)
"""


class Stubborn(Service):
    """A process that a test writes; it is ready when it says so in its log."""

    name = "stubborn"
    port_names = ("clients",)
    stop_timeout_s = 0.2

    def __init__(self, folder: Path, program: str) -> None:
        super().__init__(folder)
        self.program = program

    @property
    def url(self) -> str:
        return f"stubborn://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-u", "-c", self.program]

    async def prepare(self) -> None:
        pass

    async def answers(self) -> bool:
        return await self.ready()

    async def ready(self) -> bool:
        return "ready" in self.log.read_text()


@pytest.fixture
async def server(tmp_path: Path):
    async with Redis(tmp_path) as server:
        yield server


async def test_a_killed_server_comes_back_on_its_port_with_its_data(server: Redis) -> None:
    async with server.connect() as client:
        await client.set("kept", "1")
    url = server.url
    await server.kill()
    assert not server.running
    await server.restart()
    assert server.url == url
    async with server.connect() as client:
        assert await client.get("kept") == b"1"


async def test_a_running_server_is_not_started_again(server: Redis) -> None:
    with pytest.raises(ServiceError, match="redis is already running at redis://"):
        await server.start()
    assert server.running


async def test_stopping_a_stopped_server_does_nothing(server: Redis) -> None:
    await server.stop()
    await server.stop()
    assert not server.running


async def test_a_port_in_use_is_named(server: Redis, tmp_path: Path) -> None:
    second = Redis(tmp_path / "second", ports={"clients": server.port})
    with pytest.raises(ServiceError, match=rf"port {server.port} \(clients\) is in use"):
        await second.start()
    assert not second.running
    assert await server.answers()


async def test_a_server_that_ends_at_once_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = Redis(tmp_path, config=["no-such-setting 1"])
    with pytest.raises(ServiceError, match=r"(?s)redis ended before it was ready.*no-such-setting"):
        await server.start()


async def test_a_server_that_never_answers_is_given_up_and_killed(tmp_path: Path) -> None:
    service = Stubborn(tmp_path, "import time; print('loading'); time.sleep(600)")
    service.start_timeout_s = 2.0
    await service.launch()
    process = service.process
    with pytest.raises(ServiceError, match=r"(?s)not ready at stubborn://.* within 2 s.*loading"):
        await service.wait_until_ready()
    await service.kill()
    assert process is not None
    assert not process.is_running()


async def test_a_server_deaf_to_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    child = "import time; time.sleep(600)"
    deaf = "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    service = Stubborn(
        tmp_path,
        f"{deaf}; subprocess.Popen([sys.executable, '-c', {child!r}]); print('ready'); time.sleep(600)",
    )
    await service.start()
    assert service.process is not None
    family = [service.process, *service.process.children()]
    assert len(family) == 2
    await service.stop()
    assert not any(alive(member) for member in family)


@pytest.mark.parametrize(("kind", "ends"), [("end", True), ("leave", False)])
async def test_a_server_ends_with_a_killed_parent_unless_it_may_outlive_it(
    tmp_path: Path, kind: str, ends: bool
) -> None:
    parent = psutil.Popen([sys.executable, "-c", STARTER, str(tmp_path), kind], stdout=-1, text=True)
    server = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    if ends:
        server.wait(timeout=60)
    else:
        assert server.is_running()
        server.kill()
        server.wait(timeout=60)
    assert not server.is_running()
