"""Each fault of the wire does what it is called, and ends."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from deploy.local.ports import free_port
from tests.faults.proxy import Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1024):
            writer.write(chunk)
        writer.close()

    port = free_port()
    async with await asyncio.start_server(echo, "127.0.0.1", port), Proxy(port, free_port()) as proxy:
        yield proxy


async def connected(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    return reader, writer


async def test_a_reset_ends_connections_and_new_ones_are_served(proxy: Proxy) -> None:
    reader, _ = await connected(proxy)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    await connected(proxy)


async def test_a_half_closed_connection_says_no_more(proxy: Proxy) -> None:
    reader, _ = await connected(proxy)
    proxy.half_close()
    assert await reader.read() == b""


async def test_in_a_black_hole_bytes_wait_until_it_is_gone(proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    with proxy.black_hole():
        writer.write(b"lost?")
        answer = asyncio.create_task(reader.readexactly(5))
        done, _ = await asyncio.wait({answer}, timeout=0.2)
        assert not done
    assert await answer == b"lost?"


async def test_a_share_of_none_is_hit_by_nothing(proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    with proxy.black_hole(share=0.0):
        writer.write(b"fine!")
        assert await reader.readexactly(5) == b"fine!"


async def test_a_slow_wire_takes_at_least_its_latency_both_ways(proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    with proxy.slow(latency_s=0.2):
        begun = time.monotonic()
        writer.write(b"later")
        await reader.readexactly(5)
        assert time.monotonic() - begun >= 0.4


async def test_a_server_that_is_away_is_a_connection_that_ends() -> None:
    async with Proxy(free_port(), free_port()) as nowhere:
        reader, _ = await asyncio.open_connection("127.0.0.1", nowhere.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
