"""Ending background tasks for good."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_AFTER_S = 0.5


async def end(jobs: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `jobs` until all have ended; what they raise is not looked at.

    Once is not enough: on Python 3.11 asyncio.wait_for, and redis-py with it, can swallow a cancellation.
    """
    pending = set(jobs)
    while pending:
        for job in pending:
            job.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_AFTER_S)
