"""`fanpulse worker` with a scorer that raises, or that answers only once it is let go.

usage: python -m tests.stream.staged raising | held FOLDER      (FANPULSE_ variables as for the worker)
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from stream.app import run_worker
from stream.cli import load_settings, log_to_stderr
from stream.comments import Rejected
from stream.model import Model
from stream.scorer import Scores
from tests.benchmarks.instant import InstantScorer


class RaisingScorer(InstantScorer):
    """Has a defect nobody thought of."""

    async def score(self, model: Model, texts: Sequence[str]) -> list[Scores | Rejected]:
        raise ZeroDivisionError("a defect nobody thought of")


class HeldScorer(InstantScorer):
    """Touches `FOLDER/asked`, then waits for `FOLDER/let-go`."""

    async def score(self, model: Model, texts: Sequence[str]) -> list[Scores | Rejected]:
        folder = Path(sys.argv[2])
        (folder / "asked").touch()
        while not (folder / "let-go").exists():  # noqa: ASYNC110 - the test is another process
            await asyncio.sleep(0.02)
        return await super().score(model, texts)


if __name__ == "__main__":
    settings = load_settings()
    log_to_stderr(settings)
    run_worker(settings, {"raising": RaisingScorer, "held": HeldScorer}[sys.argv[1]])
