"""Kafka, Redis and Triton together, remembered in a folder so that a later command can find and end them."""

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

from deploy.local.kafka import Kafka
from deploy.local.ports import is_free
from deploy.local.redis import Redis
from deploy.local.service import Service, ServiceError, alive, end
from deploy.local.triton import REPOSITORY, Triton

FOLDER = Path(".fanpulse")
SAME_START_S = 2.0  # slack in comparing start times, which follow the wall clock
SUPERVISOR_STOP_S = 90.0
CLIENT_PORTS = {kind.name: kind.port_names[0] for kind in (Kafka, Redis, Triton)}


class Running(BaseModel):
    """A process as a file can name it: its pid alone may since belong to another."""

    pid: int
    started: float  # epoch seconds

    @classmethod
    def of(cls, process: psutil.Process) -> "Running":
        return cls(pid=process.pid, started=process.create_time())

    def process(self) -> psutil.Process | None:
        """The process, or None if it has ended; a stranger that got its pid counts as ended."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_START_S
        except psutil.NoSuchProcess:
            return None
        return process if same and alive(process) else None


class Memory(BaseModel):
    """stack.json. Ports stay in it when the processes are gone, so that addresses last."""

    supervisor: Running | None = None  # the command that starts or watches the services
    processes: dict[str, Running] = {}
    ports: dict[str, dict[str, int]] = {}

    def ports_to_use(self, running: set[str]) -> dict[str, dict[str, int]]:
        """By service: those of a running one as they are, of another those that nobody took since."""
        return {
            service: {name: port for name, port in ports.items() if service in running or is_free(port)}
            for service, ports in self.ports.items()
        }


class Stack:
    """The three services of one folder; those that an earlier command left running are adopted.

    `ports` asks for client ports by service name; other ports are those of the last time where still free.
    """

    def __init__(
        self,
        folder: Path = FOLDER,
        *,
        ports: Mapping[str, int] | None = None,
        repository: Path = REPOSITORY,
        outlives_parent: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        self.env = self.folder / "stack.env"
        self._file = self.folder / "stack.json"
        memory = self._recall()
        self.supervisor = memory.supervisor and memory.supervisor.process()
        running = {name: process for name, p in memory.processes.items() if (process := p.process())}
        chosen = memory.ports_to_use(set(running))
        for name, port in (ports or {}).items():
            if name not in running:
                chosen.setdefault(name, {})[CLIENT_PORTS[name]] = port
        leave = outlives_parent
        self.kafka = Kafka(self.folder / "kafka", ports=chosen.get("kafka"), outlives_parent=leave)
        self.redis = Redis(self.folder / "redis", ports=chosen.get("redis"), outlives_parent=leave)
        self.triton = Triton(
            self.folder / "triton",
            repository=repository,
            ports=chosen.get("triton"),
            outlives_parent=leave,
        )
        self.services: tuple[Service, ...] = (self.kafka, self.redis, self.triton)
        for service in self.services:
            service.process = running.get(service.name)

    @property
    def running(self) -> list[Service]:
        return [service for service in self.services if service.running]

    async def start(self) -> None:
        """Start the three at once and write stack.env. On any failure stops all; raises ServiceError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.supervisor = psutil.Process()
        self._remember()
        try:
            async with asyncio.TaskGroup() as group:
                for service in self.services:
                    group.create_task(self._bring_up(service))
        except BaseException as failure:
            await self.stop()
            if isinstance(failure, ExceptionGroup):
                raise failure.exceptions[0] from None
            raise
        self.env.write_text("".join(f"{key}={value}\n" for key, value in self.settings().items()))

    def leave(self) -> None:
        """Nobody watches from here on."""
        self.supervisor = None
        self._remember()

    async def stop(self) -> None:
        """End what runs, a supervising command first, and forget the addresses in stack.env."""
        self.env.unlink(missing_ok=True)
        if self.supervisor and self.supervisor.pid != os.getpid():
            await asyncio.to_thread(end, self.supervisor, signal.SIGTERM, SUPERVISOR_STOP_S)
        await asyncio.gather(*(service.stop() for service in self.services))
        if self._file.exists():
            self.leave()

    def settings(self) -> dict[str, str]:
        """Environment variables that point fanpulse at this stack."""
        return {f"FANPULSE_{service.name.upper()}_URL": service.url for service in self.services}

    async def _bring_up(self, service: Service) -> None:
        await service.launch()
        self._remember()
        await service.wait_until_ready()

    def _recall(self) -> Memory:
        if not self._file.exists():
            return Memory()
        try:
            return Memory.model_validate_json(self._file.read_bytes())
        except ValidationError:
            raise ServiceError(
                f"{self._file} is damaged. End the services it named, if any, delete it and try again"
            ) from None

    def _remember(self) -> None:
        memory = Memory(
            supervisor=Running.of(self.supervisor) if self.supervisor else None,
            processes={s.name: Running.of(s.process) for s in self.running if s.process},
            ports={s.name: s.ports for s in self.services},
        )
        draft = self._file.with_suffix(".new")
        draft.write_text(memory.model_dump_json(indent=2))
        draft.replace(self._file)
