"""Ports handed out for servers."""

import socket

from deploy.local.ports import EPHEMERAL, free_port, is_free


def test_ports_lie_below_those_of_outgoing_connections_and_never_repeat() -> None:
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == len(ports)
    assert max(ports) < int(EPHEMERAL.read_text().split()[0])


def test_a_port_listened_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
