"""Carries out faults on the services, the workers and the wires between them; every fault heals itself.

It does not know what the system promises, nor whether it keeps it.
"""

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
from redis.asyncio import Redis as RedisClient
from redis.exceptions import RedisError
from tritonclient.grpc.aio import InferenceServerClient

from deploy.local import Kafka, Redis, Service, ServiceError, Triton
from tests.faults.fleet import Fleet
from tests.faults.liar import Liar, Lie
from tests.faults.models import Models
from tests.faults.plan import KINDS, Fault
from tests.faults.proxy import Proxy
from tests.faults.traffic import Traffic

CLOCK_STEP_S = 7200
PRODUCERS_OFF_S = (-5 * 3600, 50 * 60)  # a broker refuses what is an hour ahead
POISON_FLOOD = 400
_DISK_LEFT = 4096
_AGAIN_AFTER_S = 0.1


@dataclass
class Nemesis:
    """`wires` are the proxies by service; `promoted` is the Redis hash of promoted model versions.

    What Redis holds before a fault makes it forget is kept in `evidence`, for the verifier.
    """

    kafka: Kafka
    redis: Redis
    triton: Triton
    fleet: Fleet
    traffic: Traffic
    wires: Mapping[str, Proxy]
    liar: Liar
    models: Models
    promoted: str
    evidence: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        # One fault at a time on one service: two that undo each other would prove nothing.
        self._turns = {name: asyncio.Lock() for name in ("kafka", "redis", "triton", "worker", "clock")}
        self._wire_turns = {name: asyncio.Lock() for name in self.wires}
        self._acts: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "worker: SIGKILL": partial(self._bounce, how=signal.SIGKILL),
            "worker: SIGTERM": partial(self._bounce, how=signal.SIGTERM),
            "worker: SIGSTOP past its session": self._pause,
            "worker: SIGSTOP, awake in time": self._pause,
            "worker: one more": self._one_more,
            "worker: two rebalances at once": self._two_rebalances,
            "worker: all SIGKILLed": self._kill_all,
            "worker: clock two hours ahead": partial(self._step_clock, ahead_s=CLOCK_STEP_S),
            "worker: clock two hours behind": partial(self._step_clock, ahead_s=-CLOCK_STEP_S),
            "triton: SIGKILL": partial(self._crash, self.triton),
            "triton: backend SIGKILLed": self._kill_backend,
            "triton: slow": partial(self._lie, lie="slow"),
            "triton: silent": partial(self._lie, lie="silent"),
            "triton: NaN": partial(self._lie, lie="nan"),
            "triton: wrong shape": partial(self._lie, lie="shape"),
            "triton: internal error": partial(self._lie, lie="internal"),
            "triton: refuses all": partial(self._lie, lie="refuse"),
            "triton: overloaded": partial(self._lie, lie="overloaded"),
            "triton: other version promoted": self._promote,
            "triton: new version loaded and promoted": self._load_version,
            "redis: SIGKILL": partial(self._crash, self.redis),
            "redis: restored from an older copy": self._restore,
            "redis: FLUSHALL": self._flush,
            "redis: out of memory": partial(self._configured, sick="maxmemory 1", well="maxmemory 0"),
            "redis: read-only replica": self._replica,
            "redis: busy script": self._busy,
            "redis: disk full": self._disk_full,
            "redis: SIGSTOP": partial(self._freeze, self.redis),
            "kafka: SIGKILL": partial(self._crash, self.kafka),
            "kafka: SIGSTOP": partial(self._freeze, self.kafka),
            "kafka: SIGKILL, and a worker SIGTERMed": self._stop_without_kafka,
            "comments: flood of poison": self._flood,
            "comments: producers' clock off": self._producers_off,
        }
        for service in self.wires:
            self._acts |= {
                f"network: {service} reset": partial(self._cut, service),
                f"network: {service} half-closed": partial(self._half_close, service),
                f"network: {service} delayed": partial(self._slow, service, latency_s=0.3),
                f"network: {service} starved": partial(self._slow, service, bytes_a_second=30_000),
                f"network: {service} silent": partial(self._silence, service, share=1.0),
                f"network: {service} silent for some": partial(self._silence, service, share=0.5),
            }
        assert self._acts.keys() == KINDS.keys()

    async def strike(self, fault: Fault) -> None:
        """Do it, and undo it after `fault.lasts_s`."""
        service, _, rest = fault.kind.partition(": ")
        turns = self._wire_turns if service == "network" else self._turns
        turn = turns.get(rest.split()[0] if service == "network" else service)
        if turn is None:
            await self._acts[fault.kind](fault)
            return
        async with turn:
            await self._acts[fault.kind](fault)

    async def heal(self) -> None:
        """Start what does not run, after a fault that failed to undo itself."""
        for name, service in {"kafka": self.kafka, "redis": self.redis, "triton": self.triton}.items():
            async with self._turns[name]:
                if not service.running:
                    await (revive(self.redis) if service is self.redis else service.start())

    async def _bounce(self, fault: Fault, how: signal.Signals) -> None:
        await self.fleet.bounce(self.fleet.pick(fault.luck), how, fault.lasts_s)

    async def _pause(self, fault: Fault) -> None:
        await self.fleet.pause(self.fleet.pick(fault.luck), fault.lasts_s)

    async def _one_more(self, fault: Fault) -> None:
        seat = self.fleet.add()
        await asyncio.sleep(fault.lasts_s)
        await self.fleet.remove(seat)

    async def _two_rebalances(self, fault: Fault) -> None:
        first = asyncio.create_task(self._bounce(fault, signal.SIGKILL))
        seat = self.fleet.add()
        await asyncio.sleep(fault.lasts_s)
        await self.fleet.remove(seat)
        await first

    async def _kill_all(self, fault: Fault) -> None:
        seats = self.fleet.seated()
        await asyncio.gather(*(self.fleet.bounce(seat, signal.SIGKILL, fault.lasts_s) for seat in seats))

    async def _step_clock(self, fault: Fault, ahead_s: float) -> None:
        self.fleet.set_clock(ahead_s)
        await asyncio.sleep(fault.lasts_s)
        self.fleet.set_clock(0)

    async def _crash(self, service: Service, fault: Fault) -> None:
        await service.kill()
        await asyncio.sleep(fault.lasts_s)
        await service.start()

    async def _freeze(self, service: Service, fault: Fault) -> None:
        assert service.process is not None
        family = [service.process, *service.process.children(recursive=True)]
        for process in family:
            process.suspend()
        await asyncio.sleep(fault.lasts_s)
        for process in family:
            process.resume()

    async def _kill_backend(self, fault: Fault) -> None:
        """Triton does not start a dead backend again: whoever watches it has to restart the server."""
        assert self.triton.process is not None
        for child in self.triton.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        await asyncio.sleep(fault.lasts_s)
        await self.triton.restart()

    async def _lie(self, fault: Fault, lie: Lie) -> None:
        self.liar.lie = lie
        await asyncio.sleep(fault.lasts_s)
        self.liar.lie = None

    async def _promote(self, fault: Fault) -> None:
        versions = self.models.versions
        await self._serve(versions[int(fault.luck * len(versions))])
        await asyncio.sleep(fault.lasts_s)

    async def _load_version(self, fault: Fault) -> None:
        """Triton takes the model in again, with one more version as long as there is room for it."""
        await asyncio.to_thread(self.models.add)
        async with InferenceServerClient(f"127.0.0.1:{self.triton.port}") as client:
            await client.load_model(self.models.name)
        await self._serve(self.models.versions[-1])
        await asyncio.sleep(fault.lasts_s)

    async def _serve(self, version: str) -> None:
        async with self.redis.connect() as client:
            # Redis may be away or may refuse: then this is no promotion, and no harm.
            with suppress(RedisError, OSError):
                await client.hset(self.promoted, self.models.name, version)

    async def _restore(self, fault: Fault) -> None:
        files = self.redis.folder / "appendonlydir"
        async with self.redis.connect() as client:
            await _rewritten(client)
            copy = self.redis.folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)  # of a fault that could not be carried out
            await asyncio.to_thread(shutil.copytree, files, copy)
            await asyncio.sleep(fault.lasts_s)
            await self._keep_evidence(client)
        await self.redis.kill()
        shutil.rmtree(files)
        copy.rename(files)
        await self.redis.start()

    async def _flush(self, _: Fault) -> None:
        async with self.redis.connect() as client:
            await self._keep_evidence(client)
            await client.flushall()
            await _rewritten(client)

    async def _keep_evidence(self, client: RedisClient) -> None:
        """Save what Redis holds at one moment, before it is wiped: a rebuild would hide what is wrong in it."""
        await client.save()
        kept = self.redis.folder / f"evidence-{len(self.evidence)}.rdb"
        (self.redis.folder / "dump.rdb").rename(kept)
        self.evidence.append(kept)

    async def _configured(self, fault: Fault, sick: str, well: str) -> None:
        async with self.redis.connect() as client:
            await client.config_set(*sick.split())
            await asyncio.sleep(fault.lasts_s)
            await client.config_set(*well.split())

    async def _replica(self, fault: Fault) -> None:
        async with self.redis.connect() as client:
            await client.replicaof("127.0.0.1", "1")
            await asyncio.sleep(fault.lasts_s)
            await client.replicaof("NO", "ONE")

    async def _busy(self, fault: Fault) -> None:
        busy = asyncio.create_task(self._spin())
        await asyncio.sleep(fault.lasts_s)
        async with self.redis.connect() as client:
            while not busy.done():
                with suppress(RedisError):  # its script is not under way yet, or was killed already
                    await client.script_kill()
                await asyncio.sleep(_AGAIN_AFTER_S)

    async def _spin(self) -> None:
        client = RedisClient.from_url(self.redis.url, socket_timeout=None)
        async with client:
            with suppress(RedisError):
                await client.eval("while true do end", 0)

    async def _disk_full(self, fault: Fault) -> None:
        """The append-only file cannot grow: a limit on the size of files is a disk that is full."""
        assert self.redis.process is not None
        size = max(file.stat().st_size for file in (self.redis.folder / "appendonlydir").iterdir())
        self.redis.process.rlimit(psutil.RLIMIT_FSIZE, (size + _DISK_LEFT, psutil.RLIM_INFINITY))
        await asyncio.sleep(fault.lasts_s)
        self.redis.process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))

    async def _stop_without_kafka(self, fault: Fault) -> None:
        async with self._turns["worker"]:
            await self.kafka.kill()
            leaving = asyncio.create_task(self._bounce(fault, signal.SIGTERM))
            await asyncio.sleep(fault.lasts_s)
            await self.kafka.start()
            await leaving

    async def _flood(self, fault: Fault) -> None:
        await self.traffic.flood(POISON_FLOOD)
        await asyncio.sleep(fault.lasts_s)

    async def _producers_off(self, fault: Fault) -> None:
        self.traffic.clock_off_s = PRODUCERS_OFF_S[int(fault.luck * 2)]
        await asyncio.sleep(fault.lasts_s)
        self.traffic.clock_off_s = 0

    async def _cut(self, service: str, fault: Fault) -> None:
        self.wires[service].reset(share=0.5 + fault.luck)

    async def _half_close(self, service: str, fault: Fault) -> None:
        self.wires[service].half_close(share=0.5 + fault.luck)

    async def _slow(
        self, service: str, fault: Fault, latency_s: float = 0.0, bytes_a_second: int = 0
    ) -> None:
        with self.wires[service].slow(latency_s, bytes_a_second):
            await asyncio.sleep(fault.lasts_s)

    async def _silence(self, service: str, fault: Fault, share: float) -> None:
        with self.wires[service].black_hole(share):
            await asyncio.sleep(fault.lasts_s)


async def revive(redis: Redis) -> None:
    """Start a Redis, empty if it cannot read its own log any more, as its operator would in the end.

    Valkey leaves such a log when the disk fills soon after the log was rewritten.
    """
    try:
        await redis.start()
    except ServiceError:
        shutil.rmtree(redis.folder / "appendonlydir")
        await redis.start()


async def _rewritten(client: RedisClient) -> None:
    """Shorten the append-only file to what is held now, so that an hour's run can still be read back."""
    await client.bgrewriteaof()
    while True:
        state = await client.info("persistence")
        if not (state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]):
            return
        await asyncio.sleep(_AGAIN_AFTER_S)
