"""A replica of the alert process with a short lease and a fast clock that stops at the end.

`replica.py URL RULES BEGIN END STARTED`, times in epoch seconds, the last one in real time.
"""

import asyncio
import logging
import sys
import time
from pathlib import Path

from stream.alerts.service import Service
from stream.client import Fanpulse

LEASE_S = 2.0
SPEED = 240  # seconds of the clock in one real second


async def main(url: str, rules: str, begin: str, end: str, started: str) -> None:
    def clock() -> float:
        return min(float(end), float(begin) + SPEED * (time.time() - float(started)))

    async with Fanpulse(url) as fp:
        await Service(fp, Path(rules), clock=clock, lease_s=LEASE_S).run()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    asyncio.run(main(*sys.argv[1:6]))
