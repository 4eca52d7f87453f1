"""Worker processes under supervision: one that exits unasked is started again, as an orchestrator would."""

import asyncio
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from deploy.local.service import LEASH

_LOOKED_AT_EVERY_S = 0.25
_LEAVES_WITHIN_S = 45.0
_HEAD, _TAIL = 64 * 1024, 4096  # bytes of a log: where the address stands, where the last line does


@dataclass(eq=False)
class _Seat:
    """A place in the fleet; processes come and go in it."""

    number: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    said_before: int = 0  # bytes in the log when the process began
    address: str | None = None

    def find_address(self) -> str | None:
        """Where its process serves its health, once the log says so."""
        if self.address is None:
            with self.log.open("rb") as log:
                log.seek(self.said_before)
                found = re.search(rb"health and metrics on (\S+)", log.read(_HEAD))
            self.address = found[1].decode() if found else None
        return self.address

    def last_line(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TAIL))
            return log.read().decode(errors="replace").strip().rpartition("\n")[2][:300]


@dataclass
class Fleet:
    """`size` processes of `command` with the environment `environment`; their logs and clocks in `folder`."""

    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    size: int
    exits: list[str] = field(default_factory=list)  # of processes that ended unasked

    def __post_init__(self) -> None:
        self._seats: list[_Seat] = []
        self.clock = self.folder / "clock"
        self._supervisor: asyncio.Task[None] | None = None

    async def published(self, since: float, within_s: float) -> None:
        """Return when one has published all windows in a pass begun after `since` (epoch s). Raises TimeoutError."""
        async with aiohttp.ClientSession() as session, asyncio.timeout(within_s):
            while True:
                for address in self.addresses():
                    with suppress(aiohttp.ClientError):
                        async with session.get(f"{address}/metrics") as answer:
                            found = re.search(
                                r"^fanpulse_windows_published_timestamp_seconds (\S+)",
                                await answer.text(),
                                re.M,
                            )
                        if found and float(found[1]) > since:
                            return
                await asyncio.sleep(_LOOKED_AT_EVERY_S)

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.set_clock(0)
        for _ in range(self.size):
            self.add()
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """SIGTERM all and wait; one that has to be killed counts among the exits."""
        assert self._supervisor is not None
        self._supervisor.cancel()
        await asyncio.gather(*(self.remove(number) for number in self.seated()))

    def set_clock(self, ahead_s: float) -> None:
        """Step the wall clock of all processes."""
        with self.clock.open("r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("<d", ahead_s))

    def seated(self) -> list[int]:
        """Seats that are meant to be taken."""
        return [seat.number for seat in self._seats if seat.wanted]

    def pick(self, luck: float) -> int:
        seats = self.seated()
        return seats[int(luck * len(seats))]

    def add(self) -> int:
        """Start one more; return its seat."""
        number = len(self._seats)
        seat = _Seat(number, self.folder / f"worker-{number}.log")
        self._seats.append(seat)
        self._start(seat)
        return number

    async def remove(self, number: int) -> None:
        """SIGTERM it for good, and wait until it is gone."""
        seat = self._seats[number]
        seat.wanted = False
        await self._end(seat, signal.SIGTERM)

    async def bounce(self, number: int, how: signal.Signals, down_s: float) -> None:
        """End it and start it again `down_s` later."""
        seat = self._seats[number]
        seat.wanted = False
        await self._end(seat, how)
        await asyncio.sleep(down_s)
        seat.wanted = True
        self._start(seat)

    async def pause(self, number: int, for_s: float) -> None:
        """SIGSTOP, and SIGCONT `for_s` later."""
        process = self._seats[number].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            process.send_signal(signal.SIGCONT)

    def processes(self) -> list[psutil.Process]:
        """Those that run."""
        running = [seat.process for seat in self._seats if seat.process and seat.process.poll() is None]
        return [psutil.Process(process.pid) for process in running]

    def addresses(self) -> list[str]:
        """Where the running ones serve their health."""
        return [address for seat in self._seats if seat.wanted and (address := seat.find_address())]

    def _start(self, seat: _Seat) -> None:
        with seat.log.open("ab") as log:
            seat.said_before, seat.address = log.tell(), None
            seat.process = subprocess.Popen(
                [*LEASH, str(os.getpid()), sys.executable, *self.command],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal reaches the harness alone
            )

    async def _end(self, seat: _Seat, how: signal.Signals) -> None:
        process = seat.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            code = await asyncio.to_thread(process.wait, _LEAVES_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.exits.append(
                f"worker-{seat.number} did not leave within {_LEAVES_WITHIN_S:g} s of {how.name}"
            )
            process.kill()
            process.wait()
        else:
            if how == signal.SIGTERM and code not in (0, -how):  # it may come before anyone handles it
                self.exits.append(f"worker-{seat.number} exited with {code} at SIGTERM")

    async def _supervise(self) -> None:
        while True:
            for seat in self._seats:
                code = seat.process.poll() if seat.process else None
                if seat.wanted and code is not None:
                    self.exits.append(f"worker-{seat.number} exited with {code}: {seat.last_line()}")
                    self._start(seat)
            await asyncio.sleep(_LOOKED_AT_EVERY_S)
