"""`fanpulse worker` with a scorer that answers at once: what the stream path alone can do.

usage: python -m tests.benchmarks.instant      (FANPULSE_ variables as for the worker)
"""

from collections.abc import Sequence

from stream.app import run_worker
from stream.cli import load_settings
from stream.comments import Rejected
from stream.logs import log_to_stderr
from stream.model import Model, Task
from stream.scorer import Scorer, Scores

LABELS = ("anger", "anxiety", "expect", "hate", "joy", "love", "sorrow", "surprise", "neutral")
MODEL = Model(
    "instant",
    "1",
    ("zh", "en"),
    (
        Task("emotion", "multilabel", LABELS, frozenset(("anger", "anxiety", "hate", "sorrow")), (0.5,) * 9),
        Task("sentiment", "multiclass", ("negative", "positive"), frozenset(("negative",))),
        Task("lovelorn", "multiclass", ("ordinary", "lovelorn"), frozenset()),
    ),
)
SCORES: Scores = {
    "emotion": (0.71, 0.02, 0.03, 0.12, 0.01, 0.02, 0.2, 0.05, 0.1),
    "sentiment": (0.9, 0.1),
    "lovelorn": (0.97, 0.03),
}


class InstantScorer(Scorer):
    """Gives every text the same scores without asking anybody."""

    async def load(self, name: str, version: str | None = None) -> Model:
        return MODEL

    async def probe(self, model: Model) -> None: ...

    async def score(self, model: Model, texts: Sequence[str]) -> list[Scores | Rejected]:
        return [SCORES] * len(texts)


if __name__ == "__main__":
    settings = load_settings()
    log_to_stderr(settings)
    run_worker(settings, InstantScorer)
