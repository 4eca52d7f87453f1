"""An invented story, written into Redis as the worker would by the real sink and publisher, unscored."""

import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from faust.types import TP

from stream.alerts.alert import Alert, Explanation, Post, Representative, State, Term
from stream.buckets import HOUR, MINUTE, Settlement, settlement
from stream.connections import RedisClient
from stream.events import Event, dumps, pseudonym
from stream.keys import Keys
from stream.sink import Sink
from stream.storyline import EMOTIONS, Emotion, Turn, plan, storyline
from stream.windows import Publisher

TOPIC = "comments"
NEGATIVE = frozenset({"anger", "anxiety", "hate", "sorrow"})
_BATCH = 2000


class Told:
    """Settles what happened, each community in a partition of its own, and publishes windows when asked."""

    def __init__(self, redis: RedisClient, *, partitions: int = 2) -> None:
        keys = Keys()
        self.redis = redis
        self._sink = Sink(redis, keys, events_kept=100_000, minutes_kept_s=4 * HOUR, hours_kept_s=15 * 86_400)
        self._publisher = Publisher(redis, keys, topic=TOPIC)
        self._next = dict.fromkeys(range(partitions), 0)

    async def week(self, communities: Sequence[str], until: float, *, rate: float, seed: int = 1) -> None:
        """Hour buckets of the seven days up to `until`, as the story plans them; no comments."""
        start = (int(until) // HOUR - 168) * HOUR
        for community in communities:
            course = plan(seed, community, start, 168 * HOUR, rate, (), HOUR)
            increments = {
                f"h:{int(hour)}:{community}": _expected(comments, mood)
                for hour, comments, mood in zip(course.start, course.comments, course.mood, strict=True)
            }
            await self._settle(self._home(community), [], increments)

    async def story(
        self,
        communities: Sequence[str],
        start: float,
        until: float,
        *,
        rate: float,
        turns: Sequence[Turn] = (),
        seed: int = 1,
    ) -> None:
        """All comments of a stretch of time. `rate`: a second and community."""
        await self.said(storyline(seed, communities, start, until - start, rate, turns))

    async def said(self, comments: Iterable[tuple[dict[str, Any], Emotion]]) -> None:
        """Settle these comments, each with what it feels."""
        waiting: dict[int, list[Event]] = {partition: [] for partition in self._next}
        for comment, emotion in comments:
            partition = self._home(comment["community"])
            batch = waiting[partition]
            batch.append(event(comment, emotion, partition, self._next[partition] + len(batch)))
            if len(batch) == _BATCH:
                await self._settle(partition, batch)
                waiting[partition] = []
        for partition, batch in waiting.items():
            await self._settle(partition, batch)

    def batches(self, comments: Iterable[tuple[dict[str, Any], Emotion]]) -> dict[int, Settlement]:
        """Partition → a batch of these comments, to be settled `again` and again."""
        events: dict[int, list[Event]] = {partition: [] for partition in self._next}
        for comment, emotion in comments:
            partition = self._home(comment["community"])
            events[partition].append(event(comment, emotion, partition, 0))
        return {
            partition: settlement(0, len(of), ((one, dumps(one)) for one in of))
            for partition, of in events.items()
            if of
        }

    async def again(self, partition: int, batch: Settlement, now: float) -> None:
        """Settle a batch as if it had been said now (epoch s); its events keep the time they were made at."""
        starts = {"m": int(now) // MINUTE * MINUTE, "h": int(now) // HOUR * HOUR}

        def of_now(suffix: str) -> str:
            kind, _, community = suffix.split(":", 2)
            return f"{kind}:{starts[kind]}:{community}"

        position = self._next[partition]
        entries = [(position + number, content) for number, (_, content) in enumerate(batch.events)]
        await self._apply(
            partition,
            Settlement(
                position,
                position + len(entries),
                entries,
                {of_now(suffix): fields for suffix, fields in batch.increments.items()},
                {of_now(suffix): names for suffix, names in batch.authors.items()},
            ),
        )

    @property
    def settled(self) -> int:
        """Offsets settled so far."""
        return sum(self._next.values())

    async def publish(self) -> int:
        return await self._publisher.publish()

    async def _settle(
        self, partition: int, events: Sequence[Event], increments: dict[str, dict[str, int]] | None = None
    ) -> None:
        position = self._next[partition]
        end = position + max(len(events), 1)
        batch = settlement(position, end, ((one, dumps(one)) for one in events))
        if increments:
            batch = Settlement(position, end, [], increments, {})
        await self._apply(partition, batch)

    async def _apply(self, partition: int, batch: Settlement) -> None:
        await self._sink.open(TP(TOPIC, partition), 0)
        await self._sink.settle(TP(TOPIC, partition), batch)
        self._next[partition] = batch.end

    def _home(self, community: str) -> int:
        return zlib.crc32(community.encode()) % len(self._next)


def event(comment: dict[str, Any], emotion: Emotion, partition: int, offset: int) -> Event:
    """The event of a comment that was scored to feel just this."""
    doubt = 0.02
    scores = {label: 0.9 if label == emotion else doubt for label in EMOTIONS}
    author = comment.get("author")
    return {
        "schema": 1,
        "id": comment["id"],
        "community": comment["community"],
        "author": pseudonym(author, b"a key for tests only") if author else None,
        "post_id": comment.get("post_id"),
        "reply_to": comment.get("reply_to"),
        "lang": comment.get("lang", "zh"),
        "text": comment["text"],
        "created_at": datetime.fromtimestamp(comment["created_at"] / 1000, UTC),
        "scored_at": datetime.now(UTC),
        "scores": scores,
        "labels": [emotion],
        "negativity": 0.91 if emotion in NEGATIVE else 0.08,
        "negative": emotion in NEGATIVE,
        "tasks": {},
        "model": "told/1",
        "source": {"topic": TOPIC, "partition": partition, "offset": offset},
    }


def comments_now(
    community: str, text: str, count: int, emotion: Emotion = "joy"
) -> Iterator[tuple[dict[str, Any], Emotion]]:
    """The same text said `count` times just now."""
    now_ms = int(time.time() * 1000)
    for number in range(count):
        comment_id = f"{zlib.crc32(text.encode()):08x}-{now_ms}-{number}"
        yield (
            {
                "id": comment_id,
                "community": community,
                "text": text,
                "created_at": now_ms,
                "author": f"fan-{number}",
            },
            emotion,
        )


def _expected(comments: float, mood: "np.typing.NDArray[np.float64]") -> dict[str, int]:
    labels = {f"l:{emotion}": round(comments * share) for emotion, share in zip(EMOTIONS, mood, strict=True)}
    negative = sum(labels[f"l:{emotion}"] for emotion in NEGATIVE)
    return {"n": sum(labels.values()), "neg": negative, "negativity": negative * 1_000_000} | labels


async def raise_alert(redis: RedisClient, community: str, at: float, *, state: State = "firing") -> str:
    """Publish an alert with its reasons as the alert process would; `at` in epoch seconds. Returns its ID."""
    minute = int(at) // 60 * 60
    moment = datetime.fromtimestamp(minute, UTC)
    said: list[tuple[str, Emotion, int]] = [
        ("巡演名单改了三次还不道歉，气死我了", "anger", 41),
        ("主办方的回应让人恶心", "hate", 12),
        ("攒了半年的票钱，说换就换，难过", "sorrow", 1),
    ]
    alert = Alert(
        id=f"negative-spike/{community}/{minute}",
        rule="negative-spike",
        kind="spike",
        community=community,
        severity="critical",
        state=state,
        at=moment,
        since=moment,
        value=0.62,
        limit=0.3,
        baseline=0.18,
        summary={
            "zh": f"{community}：最近一小时 62% 的评论是负面的，平时为 18%。",
            "en": f"{community}: 62 % of the last hour's comments are negative, usually 18 %.",
        },
        numbers={},
        explanation=Explanation(
            comments=1840,
            negative=1141,
            terms=[
                Term(term=term, z=z, comments=n) for term, z, n in (("道歉", 9.1, 310), ("名单", 7.4, 222))
            ],
            posts=[Post(post_id="tour-list-3", comments=900, negative=610)],
            representatives=[
                Representative(
                    id=f"said-{number}",
                    text=text,
                    author=None,
                    created_at=moment,
                    labels=[emotion],
                    negativity=0.93,
                    copies=copies,
                )
                for number, (text, emotion, copies) in enumerate(said)
            ],
            by_few_authors=0.07,
            by_one_text=0.05,
        ),
        muted=False,
        link=None,
    )
    await redis.xadd(Keys().alerts, {"alert": alert.model_dump_json(by_alias=True)})
    return alert.id
