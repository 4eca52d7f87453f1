"""Who may look at the board: this machine, whoever knows the token, or whom a trusted proxy lets through.

It knows requests and settings, not what the board shows."""

import hashlib
import hmac
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import hdrs, web

from stream.errors import ConfigurationError
from stream.settings import Settings

COOKIE = "fanpulse_board"
SESSION_S = 12 * 3600
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Access:
    """Decides for each request. Raises ConfigurationError where the settings would let anybody in."""

    def __init__(self, settings: Settings) -> None:
        token = settings.board_token
        self._token = token.get_secret_value().encode() if token else b""
        self._header = settings.board_proxy_header
        self._proxies = settings.board_proxies
        if settings.board_host not in _LOOPBACK_NAMES and not (self._token or self._header):
            raise ConfigurationError(
                f"FANPULSE_BOARD_HOST is {settings.board_host}, which others can reach: set "
                "FANPULSE_BOARD_TOKEN, or FANPULSE_BOARD_PROXY_HEADER behind a proxy that authenticates"
            )

    @property
    def by_token(self) -> bool:
        """Whether a login form makes sense."""
        return bool(self._token)

    def allows(self, request: web.Request) -> bool:
        if self._header and _within(request.remote, self._proxies) and request.headers.get(self._header):
            return True
        if self._token:
            return self._bearer(request) or self._session(request)
        # Without a secret, only the Host header tells a web page that rebinds its DNS name to this machine.
        return not self._header and _host_name(request.host) in _LOOPBACK_NAMES

    def knows(self, token: str) -> bool:
        """Whether this is the token; takes as long for a near miss as for a far one."""
        return hmac.compare_digest(token.encode(), self._token)

    def open_session(self, response: web.StreamResponse, *, secure: bool) -> None:
        """Give the browser a cookie that proves, without holding it, that the token was known."""
        until = str(int(time.time()) + SESSION_S)
        response.set_cookie(
            COOKIE,
            f"{until}.{self._sign(until)}",
            max_age=SESSION_S,
            httponly=True,
            secure=secure,
            samesite="Strict",
        )

    def _bearer(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        return scheme.lower() == "bearer" and self.knows(token)

    def _session(self, request: web.Request) -> bool:
        until, _, signature = request.cookies.get(COOKIE, "").partition(".")
        signed = hmac.compare_digest(signature.encode(), self._sign(until).encode())
        return signed and int(until) > time.time()

    def _sign(self, until: str) -> str:
        return hmac.new(self._token, f"board session until {until}".encode(), hashlib.sha256).hexdigest()


def _within(address: str | None, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return address is not None and any(ip_address(address) in network for network in networks)


def _host_name(host: str) -> str:
    """`localhost` of `localhost:8080`, `::1` of `[::1]:8080`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
