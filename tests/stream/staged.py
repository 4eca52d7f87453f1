"""`fanpulse worker` whose scorer raises, blocks or answers only once it is let go, or which stops fetching.

usage: python -m tests.stream.staged raising | clinging | held | blocking | stalled FOLDER   (FANPULSE_ variables
as for the worker)
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from faust.types import TP, ConsumerMessage

from stream.app import run_worker
from stream.batches import BatchConsumer, BatchTransport
from stream.cli import load_settings
from stream.comments import Rejected
from stream.logs import log_to_stderr
from stream.model import Model
from stream.scorer import Scores
from tests.benchmarks.instant import InstantScorer


class RaisingScorer(InstantScorer):
    """Has a defect nobody thought of."""

    async def score(self, model: Model, texts: Sequence[str]) -> list[Scores | Rejected]:
        raise ZeroDivisionError("a defect nobody thought of")


class ClingingScorer(RaisingScorer):
    """Cannot be closed either."""

    async def close(self) -> None:
        await asyncio.Event().wait()


class HeldScorer(InstantScorer):
    """Touches `FOLDER/asked`, then waits for `FOLDER/let-go`."""

    async def score(self, model: Model, texts: Sequence[str]) -> list[Scores | Rejected]:
        folder = Path(sys.argv[2])
        (folder / "asked").touch()
        while not (folder / "let-go").exists():  # noqa: ASYNC110 - the test is another process
            await asyncio.sleep(0.02)
        return await super().score(model, texts)


class BlockingScorer(InstantScorer):
    """Never gives the event loop back."""

    async def score(self, model: Model, texts: Sequence[str]) -> list[Scores | Rejected]:
        while True:
            time.sleep(60)  # noqa: ASYNC251


class StalledConsumer(BatchConsumer):
    """Fetches nothing more once it has something."""

    fetched = False

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109
        if self.fetched:
            await asyncio.Event().wait()
        async for message in super().getmany(timeout):
            self.fetched = True
            yield message


SCORERS = {
    "raising": RaisingScorer,
    "clinging": ClingingScorer,
    "held": HeldScorer,
    "blocking": BlockingScorer,
    "stalled": InstantScorer,
}

if __name__ == "__main__":
    settings = load_settings()
    log_to_stderr(settings)
    if sys.argv[1] == "stalled":
        BatchTransport.Consumer = StalledConsumer
    run_worker(settings, SCORERS[sys.argv[1]])
