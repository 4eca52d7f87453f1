"""Plays the demo: tells the story to Kafka and notes what comes of it in Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.live import Live

from stream.client import Fanpulse
from stream.demo_seen import Seen
from stream.demo_view import Screen, line, summary
from stream.jobs import end
from stream.settings import Settings
from stream.storyline import COMMUNITIES, Turn, storyline

CALM_S, CALM_PARTS = 3 * 3600.0, 9  # as much as the board shows at first, ever livelier
CALM_RATES, LIVE_RATE = (0.05, 0.25), 2.0  # comments a second and community
TURN_AFTER_S = 6.0
TURN_LASTS_S = 1800.0
ALERTED_WITHIN_S = 100.0  # alerts come when a minute is over, and its first seconds do not show the turn yet
AFTERMATH_S = 5.0
REFRESH_S = 0.5
PLAIN_EVERY_S = 5.0

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def play(
    settings: Settings,
    console: Console,
    seconds: float,
    seed: int,
    *,
    when_calm: Callable[[], Awaitable[None]],
    guard: Callable[[], Awaitable[None]],
) -> None:
    """Return when the story is told and settled, having printed a summary; raise what `guard` raises.

    `when_calm` is called when the calm before the story is settled.
    """
    seen = Seen(COMMUNITIES, seconds)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_url.removeprefix("kafka://"))

    async def send(comment: dict[str, Any]) -> None:
        key = comment["community"].encode()
        await producer.send(settings.comments_topic, orjson.dumps(comment), key=key)
        seen.sent += 1

    async with Fanpulse.of(settings) as client, producer:
        jobs = [
            asyncio.ensure_future(job)
            for job in (
                _tell(send, seen, seconds, seed, when_calm),
                _listen(client, seen),
                _heed(client, seen, console),
                _look(client, seen),
                _show(seen, console),
                guard(),
            )
        ]
        try:
            # The story ends when it is told and settled; the others go on for ever.
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        finally:
            await end(jobs)
            console.print(summary(seen))


async def _tell(
    send: Send, seen: Seen, seconds: float, seed: int, when_calm: Callable[[], Awaitable[None]]
) -> None:
    """Send hours of calm at once and, when it is settled, the story at its own pace."""
    for comment in _calm(seed, time.time()):
        await send(comment)
    await seen.all_settled()
    await when_calm()
    now = time.time()
    turn = Turn("spike", COMMUNITIES[0], now + TURN_AFTER_S, TURN_LASTS_S)
    seen.begin(turn)
    lasts_s = max(seconds, ALERTED_WITHIN_S)
    for comment, _ in storyline(seed, COMMUNITIES, now, lasts_s, LIVE_RATE, [turn]):
        await asyncio.sleep(max(0.0, comment["created_at"] / 1000 - time.time()))
        if seen.played_s >= seconds and seen.warned_for_s >= AFTERMATH_S:
            break
        await send(comment)
    await seen.all_settled()
    await asyncio.sleep(2 * REFRESH_S)  # one more look at the windows


def _calm(seed: int, until: float) -> Iterator[dict[str, Any]]:
    lasts_s = CALM_S / CALM_PARTS
    slowest, quickest = CALM_RATES
    for part in range(CALM_PARTS):
        rate = slowest + (quickest - slowest) * part / (CALM_PARTS - 1)
        start = until - CALM_S + part * lasts_s
        for comment, _ in storyline(seed + 1 + part, COMMUNITIES, start, lasts_s, rate):
            yield comment


async def _listen(client: Fanpulse, seen: Seen) -> None:
    """Collect the newest negative comments."""
    async for event in client.tail():
        if event.negative:
            seen.hear(event)


async def _heed(client: Fanpulse, seen: Seen, console: Console) -> None:
    """Collect the alerts."""
    async for alert in client.alerts():
        seen.warn(alert)
        if not console.is_terminal:
            _print_line(console, f"ALERT {alert.rule}, {alert.state}: {alert.summary['en']}")


async def _look(client: Fanpulse, seen: Seen) -> None:
    """Read windows and progress, again and again."""
    while True:
        for community in seen.communities:
            for size in ("5m", "1h"):
                seen.see(await client.window(community, size))
        seen.settle(sum((await client.fences()).values()))
        await asyncio.sleep(REFRESH_S)


async def _show(seen: Seen, console: Console) -> None:
    """Draw: a live screen in a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            _print_line(console, line(seen))
    with Live(Screen(seen), console=console, auto_refresh=False) as live:
        while True:
            live.refresh()
            await asyncio.sleep(REFRESH_S)


def _print_line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)
