"""Asks every worker's web port all the time, as Prometheus and Kubernetes do."""

import asyncio
from collections import Counter
from contextlib import suppress

import aiohttp

from tests.faults.fleet import Fleet

_EVERY_S = 1.0
_TIMEOUT = aiohttp.ClientTimeout(total=5)


async def probe(fleet: Fleet, answers: Counter[str]) -> None:
    """Count answers by path and status until cancelled; who does not answer, being dead or stopped, is passed."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        while True:
            for address in fleet.addresses():
                for path in ("/metrics", "/live", "/ready"):
                    with suppress(aiohttp.ClientError, TimeoutError):
                        async with session.get(address + path) as answer:
                            answers[f"{path} {answer.status}"] += 1
            await asyncio.sleep(_EVERY_S)
