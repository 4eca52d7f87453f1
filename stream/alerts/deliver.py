"""Takes alerts from the outbox to their channels, at least once; what is refused becomes a dead letter.

Webhooks carry the change's key as idempotency key, so a receiver can drop what a crash made us send again.
"""

import asyncio
import hashlib
import hmac
import logging
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, assert_never
from urllib.parse import quote

import apprise
import httpx
import orjson
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from stream.alerts.alert import Alert
from stream.alerts.rules import Alertmanager, Apprise, Channel, Rules, Webhook
from stream.alerts.store import Message, Store
from stream.errors import Unavailable

log = logging.getLogger(__name__)

_PASSING = frozenset((408, 425, 429))
_ALERTMANAGER_KEEPS = timedelta(days=7)


class Undeliverable(Exception):
    """The channel refuses this message; sending it again is useless."""


class Courier:
    """Delivers for as long as `token` is the leader's; each channel in order and for itself."""

    def __init__(
        self, store: Store, *, attempts: int = 6, longest_wait_s: float = 60.0, timeout_s: float = 10.0,
        environment: Mapping[str, str] = os.environ,
    ) -> None:  # fmt: skip
        self._store = store
        self._environment = environment
        self._retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_random_exponential(multiplier=0.5, max=longest_wait_s),
            stop=stop_after_attempt(attempts),
            reraise=True,
        )
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._client = httpx.AsyncClient(timeout=timeout_s)

    async def deliver(self, token: int, rules: Rules) -> None:
        """Start on what waits, channel by channel; returns without waiting for slow ones."""
        waiting: dict[str, list[Message]] = defaultdict(list)
        for message in await self._store.outbox():
            waiting[message.channel].append(message)
        self._busy = {name: task for name, task in self._busy.items() if not task.done()}
        for name, messages in waiting.items():
            if name not in self._busy:
                channel = next((one for one in rules.channel if one.name == name), None)
                self._busy[name] = asyncio.create_task(self._deliver(token, channel, messages))

    async def close(self) -> None:
        """Break off for good."""
        await self.stop()
        await self._client.aclose()

    async def stop(self) -> None:
        """Break off; what is not delivered waits in the outbox."""
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        self._busy.clear()

    async def _deliver(self, token: int, channel: Channel | None, messages: list[Message]) -> None:
        for message in messages:
            error = ""
            try:
                if channel is None:
                    raise Undeliverable("the rules file has no such channel")
                await self._retrying(self._send, channel, message.alert)
            except Exception as failure:  # whatever it is, the messages behind must not wait for it
                error = str(failure) if isinstance(failure, Undeliverable | Unavailable) else repr(failure)
                log.error("alert %s not delivered to %s: %s", message.alert.key, message.channel, error)
            try:
                if not await self._store.delivered(token, message, error):
                    return
            except Unavailable as failure:
                log.warning("%s; alert %s will be delivered again", failure, message.alert.key)
                return

    async def _send(self, channel: Channel, alert: Alert) -> None:
        match channel:
            case Webhook():
                body = alert.model_dump_json().encode()
                secret = self._environment[channel.secret_env]
                headers = {
                    "Idempotency-Key": quote(alert.key),
                    "X-Fanpulse-Signature": sign(body, secret, time.time()),
                }
                await self._post(str(channel.url), body, headers)
            case Alertmanager():
                url = str(channel.url).rstrip("/") + "/api/v2/alerts"
                await self._post(url, orjson.dumps([alertmanager_alert(alert)]), {})
            case Apprise():
                await self._notify(self._environment[channel.url_env], alert, channel)
            case _:
                assert_never(channel)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        host = httpx.URL(url).host
        try:
            answer = await self._client.post(
                url, content=body, headers={"Content-Type": "application/json", **headers}
            )
        except httpx.HTTPError as error:
            raise Unavailable(host, type(error).__name__) from error
        if answer.is_server_error or answer.status_code in _PASSING:
            raise Unavailable(host, f"HTTP {answer.status_code}")
        if not answer.is_success:
            raise Undeliverable(f"{host} answered HTTP {answer.status_code}")

    async def _notify(self, url: str, alert: Alert, channel: Apprise) -> None:
        messenger = apprise.Apprise()
        if not messenger.add(url):
            raise Undeliverable(f"{channel.url_env} holds no URL that apprise knows")
        title = f"[{alert.severity}] {alert.community or 'fanpulse'}: {alert.state}"
        if not await messenger.async_notify(title=title, body=plain(alert, channel.language)):
            raise Unavailable(channel.name, "apprise could not deliver")


def sign(body: bytes, secret: str, at: float) -> str:
    """`t=<epoch s>,v1=<hex>`: HMAC-SHA256 of `<t>.<body>`; receivers refuse what is old or does not match."""
    signed = hmac.new(secret.encode(), f"{int(at)}.".encode() + body, hashlib.sha256)
    return f"t={int(at)},v1={signed.hexdigest()}"


def alertmanager_alert(alert: Alert) -> dict[str, Any]:
    """The alert for POST /api/v2/alerts. A firing one ends far ahead: Alertmanager would otherwise resolve it
    by itself after minutes without a repeat."""
    ends = alert.at if alert.state == "resolved" else alert.at + _ALERTMANAGER_KEEPS
    return {
        "labels": {
            "alertname": alert.rule,
            "community": alert.community,
            "severity": alert.severity,
            "kind": alert.kind,
            "fanpulse_id": alert.id,
        },
        "annotations": {"summary": alert.summary["en"], "summary_zh": alert.summary["zh"]},
        "startsAt": alert.since.isoformat(),
        "endsAt": ends.isoformat(),
        **({"generatorURL": alert.link} if alert.link else {}),
    }


def plain(alert: Alert, language: Literal["zh", "en"]) -> str:
    """The alert as a chat message."""
    lines = [alert.summary[language]]
    if why := alert.explanation:
        lines.append(" · ".join(term.term for term in why.terms))
        lines += [
            f"「{one.text}」" + (f" ×{one.copies}" if one.copies > 1 else "") for one in why.representatives
        ]
    return "\n".join([*filter(None, lines), *([alert.link] if alert.link else [])])
