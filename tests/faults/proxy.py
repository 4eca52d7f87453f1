"""A TCP proxy on loopback whose connections can be slowed, starved, silenced, half closed or reset.

It forwards bytes and knows nothing of what they mean.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024


@dataclass(eq=False)
class _Connection:
    """One client's way to the server and back; `luck` decides which faults of some connections hit it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    luck: float = field(default_factory=random.random)

    def reset(self) -> None:
        for side in (self.client, self.server):
            _reset(side)

    def half_close(self) -> None:
        """The server's answers end here; what the client says still arrives."""
        with suppress(OSError, RuntimeError):
            self.client.write_eof()


class Proxy:
    """Listens on a port of its own, stable over faults, and connects each client to `upstream`.

    Faults hold while their context lasts and hit a `share` of the connections, those made meanwhile included.
    """

    def __init__(self, upstream: int, port: int) -> None:
        self.port = port
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._latency_s = 0.0
        self._bytes_a_second = 0
        self._share = 1.0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._flows.set()
        self.reset()

    def reset(self, share: float = 1.0) -> None:
        """Reset connections, once."""
        for connection in self._hit(share):
            connection.reset()

    def half_close(self, share: float = 1.0) -> None:
        """Close one direction of connections, once."""
        for connection in self._hit(share):
            connection.half_close()

    @contextmanager
    def black_hole(self, share: float = 1.0) -> Iterator[None]:
        """Bytes wait in the proxy and new connections go unanswered: nobody is told."""
        self._share = share
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    @contextmanager
    def slow(self, latency_s: float = 0.0, bytes_a_second: int = 0, share: float = 1.0) -> Iterator[None]:
        """Every chunk is held back for `latency_s`, or as long as it takes at so many bytes a second."""
        self._latency_s, self._bytes_a_second, self._share = latency_s, bytes_a_second, share
        try:
            yield
        finally:
            self._latency_s, self._bytes_a_second = 0.0, 0

    def _hit(self, share: float) -> list[_Connection]:
        return [connection for connection in self._connections if connection.luck < share]

    async def _accept(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            _reset(to_client)
            return
        connection = _Connection(to_client, to_server)
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(from_client, to_server, connection), self._pump(from_server, to_client, connection)
            )
        finally:
            self._connections.discard(connection)
            connection.reset()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        with suppress(OSError, RuntimeError):  # either end went away, or its direction was closed
            while chunk := await source.read(CHUNK):
                await self._hold(connection, len(chunk))
                sink.write(chunk)
                await sink.drain()
            sink.write_eof()

    async def _hold(self, connection: _Connection, size: int) -> None:
        if connection.luck >= self._share:
            return
        await self._flows.wait()
        await asyncio.sleep(self._latency_s + (size / self._bytes_a_second if self._bytes_a_second else 0.0))


def _reset(side: asyncio.StreamWriter) -> None:
    """Close with a TCP reset: what lies unsent is lost and the other end hears of it as an error."""
    connection = side.get_extra_info("socket")
    with suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.transport.abort()
