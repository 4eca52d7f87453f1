"""A community whose comments a test writes minute by minute, settled as the worker does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faust.types import TP

from stream.buckets import MINUTE, settlement
from stream.client import Fanpulse
from stream.events import Event, dumps
from stream.keys import Keys
from stream.sink import Sink
from tests.stream.examples import NOON_MS, event, scores

NOON = NOON_MS // 1000
KEEP = {"events_kept": 100_000, "minutes_kept_s": 10_800, "hours_kept_s": 864_000}


@dataclass
class Town:
    """Writes into partition 0 of the comment topic; `write` may go back in time, as late comments do."""

    fp: Fanpulse
    offset: int = 0

    async def write(self, minute: int, negative: int, **about: Any) -> None:
        """Settle the comments of one minute (counted from NOON), the first `negative` of them angry."""
        await self.live(range(minute, minute + 1), negative, **about)

    async def live(
        self,
        minutes: range,
        negative: int,
        *,
        comments: int = 20,
        community: str = "starlight",
        author: str = "",
    ) -> None:
        """The same for many minutes at once."""
        made: list[Event] = []
        for minute in minutes:
            for n in range(comments):
                number = self.offset + len(made)
                angry = n < negative
                made.append(
                    event(
                        number,
                        scores(anger=0.9) if angry else scores(joy=0.9),
                        id=f"c{number}",
                        community=community,
                        created_at_ms=(NOON + minute * MINUTE) * 1000 + n,
                        text=f"退票退票，主办方道歉{n}" if angry else f"今天的舞台真好看{n}",
                        author=author or f"u{n}",
                        post_id="notice" if angry else "song",
                    )
                )
        await self._settle(made)

    async def _settle(self, made: Sequence[Event]) -> None:
        sink, tp = Sink(self.fp.redis, Keys(), **KEEP), TP("comments", 0)
        await sink.open(tp, self.offset)
        end = self.offset + len(made)
        await sink.settle(tp, settlement(self.offset, end, [(e, dumps(e)) for e in made]))
        self.offset = end


@dataclass
class Clock:
    """The alert process's clock: minutes and seconds after NOON."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return NOON + self.seconds

    def after(self, minute: int) -> None:
        """Let `minute` be over, and the wait for late comments too."""
        self.seconds = (minute + 1) * MINUTE + 15
