"""One server process: started, awaited until it answers, stopped, killed, restarted where it was.

Knows nothing of what the server is; kafka.py, redis.py and triton.py say how each is launched and probed.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from deploy.local.ports import free_port, is_free

PROBE_EVERY_S = 0.05
PROBE_TIMEOUT_S = 10.0
LOOK_EVERY_S = 0.02
TAIL_LINES = 30
LEASH = (sys.executable, "-I", str(Path(__file__).with_name("leash.py")))


class ServiceError(Exception):
    """A service did not come up, or its files are not what they should be; the message says what to do."""


class Service(ABC):
    """A server with data and log in `folder`.

    `ports` gives ports by name; those not given are picked free, and all are kept over restarts.
    With `outlives_parent` it runs on when this process ends, otherwise it ends with it, even by SIGKILL.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]  # the first is the one clients connect to
    start_timeout_s: ClassVar[float] = 120.0
    stop_timeout_s: ClassVar[float] = 20.0

    def __init__(
        self, folder: Path, *, ports: Mapping[str, int] | None = None, outlives_parent: bool = False
    ) -> None:
        self.folder = folder.resolve()
        self.log = self.folder / f"{self.name}.log"
        self.ports = {name: free_port() for name in self.port_names} | dict(ports or {})
        self.outlives_parent = outlives_parent
        self.process: psutil.Process | None = None

    @property
    def port(self) -> int:
        """The port clients connect to."""
        return self.ports[self.port_names[0]]

    @property
    @abstractmethod
    def url(self) -> str:
        """Address in the form that the settings take."""

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    async def prepare(self) -> None:
        """Write what the process reads at start; called before every start."""

    @abstractmethod
    async def ready(self) -> bool:
        """Ask the server, which accepts connections already, whether it serves."""

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    @property
    def running(self) -> bool:
        return self.process is not None and alive(self.process)

    async def start(self) -> Self:
        """Launch and wait until it answers. Raises ServiceError, with the log's tail, if it does not."""
        await self.launch()
        try:
            await self.wait_until_ready()
        except BaseException:
            await self.kill()
            raise
        return self

    async def launch(self) -> None:
        """Start the process and return at once. Raises ServiceError when it runs or a port is taken."""
        if self.running:
            raise ServiceError(f"{self.name} is already running at {self.url}")
        for name, port in self.ports.items():
            if not is_free(port):
                raise ServiceError(
                    f"{self.name} cannot start: port {port} ({name}) is in use by another program"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.prepare()
        with self.log.open("ab") as log:
            self.process = psutil.Popen(
                self.command() if self.outlives_parent else [*LEASH, str(os.getpid()), *self.command()],
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal reaches the parent alone
            )

    async def wait_until_ready(self) -> None:
        """Probe until it answers. Raises ServiceError when it ends or `start_timeout_s` passes first."""
        try:
            async with asyncio.timeout(self.start_timeout_s):
                while not await self.answers():
                    if not self.running:
                        raise ServiceError(f"{self.name} ended before it was ready. {self.tail()}")
                    await asyncio.sleep(PROBE_EVERY_S)
        except TimeoutError:
            late = f"{self.name} was not ready at {self.url} within {self.start_timeout_s:g} s"
            raise ServiceError(f"{late}. {self.tail()}") from None

    async def answers(self) -> bool:
        """Whether one probe succeeds now."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()  # a refusal has ended it: clients would retry, or log an error each time
                return await self.ready()
        except OSError:  # TimeoutError is one
            return False

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL for what is left after `stop_timeout_s`. Does nothing when not running."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL, as a crash would be; returns once the processes are gone."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> Self:
        """Stop if running, then start on the same ports and folder."""
        await self.stop()
        return await self.start()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is not None:
            await asyncio.to_thread(end, process, how, self.stop_timeout_s)

    def tail(self) -> str:
        """The last lines of the log, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return f"The end of {self.log}:\n" + "\n".join(lines)


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended and only waits for its parent to notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(process: psutil.Process, how: signal.Signals, timeout_s: float) -> None:
    """Signal a process, wait for it and its descendants, SIGKILL those left. Never signals a reused pid."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family if how == signal.SIGKILL else family[:1]:
        _send(member, how)
    deadline = time.monotonic() + timeout_s
    while left := [member for member in family if alive(member)]:
        if time.monotonic() > deadline:
            for member in left:
                _send(member, signal.SIGKILL)
        time.sleep(LOOK_EVERY_S)
    if isinstance(process, psutil.Popen):
        process.wait()  # no zombie stays


def _send(process: psutil.Process, how: signal.Signals) -> None:
    try:
        process.send_signal(how)
    except psutil.NoSuchProcess:
        return
