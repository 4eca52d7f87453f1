"""Free TCP ports on the loopback interface."""

import random
import socket
from pathlib import Path

LOWEST = 15_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

_handed_out: set[int] = set()


def free_port() -> int:
    """A port nobody listens on, different at every call of this process.

    Lies below the range the kernel gives to outgoing connections: a client that retries a port of that range
    while its server is down can be connected to itself, and then the server cannot come back.
    """
    highest = int(EPHEMERAL.read_text().split()[0]) - 1
    while True:
        port = random.randint(LOWEST, max(highest, LOWEST + 10_000))
        if port not in _handed_out and is_free(port):
            _handed_out.add(port)
            return port


def is_free(port: int) -> bool:
    """Whether a server could bind the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
