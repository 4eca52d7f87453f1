"""What programs downstream import: events, windows, history and alerts from Redis, typed.

Subscriptions (`events`, `windows`, `alerts`) outlive a Redis that is away for a while, questions raise
Unavailable; both raise ConfigurationError where Redis refuses this user or holds what this version cannot
read.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from itertools import chain
from math import ceil
from typing import Any, Literal, Self, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from redis.asyncio import Redis

from stream.alerts.alert import Alert
from stream.cluster import Cluster
from stream.errors import ConfigurationError
from stream.events import EmotionEvent
from stream.history import STEPS, Bucket, History, Kind
from stream.keys import Keys
from stream.rolling import Size, Window
from stream.settings import Settings
from stream.subscription import POLL_S, Entry, GroupReader, answered, patiently

T = TypeVar("T", bound=BaseModel)
_PAGE = 500


class Fanpulse:
    """A connection to one deployment; use it as `async with Fanpulse("redis://…") as fp`.

    `topic` and `prefix` are the worker's `FANPULSE_COMMENTS_TOPIC` and `FANPULSE_REDIS_PREFIX`. `options` go
    to redis-py (`ssl_ca_certs`, …). Everything but `events` needs no more than read access.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        topic: str = "comments",
        prefix: str = "fp",
        cluster: bool = False,
        timeout_s: float = 5.0,
        **options: Any,
    ) -> None:
        connect = Cluster.from_url if cluster else Redis.from_url
        self.redis: Any = connect(
            redis_url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, **options
        )
        self.keys = Keys(prefix)
        self.topic = topic
        self._history = History(self.redis, self.keys, topic)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The deployment that the settings name."""
        options = {"ssl_ca_certs": str(settings.redis_ca_file)} if settings.redis_ca_file else {}
        return cls(
            settings.redis_url.get_secret_value(),
            topic=settings.comments_topic,
            prefix=settings.redis_prefix,
            cluster=settings.redis_cluster,
            timeout_s=settings.redis_timeout_s,
            **options,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.redis.aclose()

    async def communities(self) -> dict[str, datetime]:
        """Every community seen, with the minute of its newest comment."""
        newest: dict[str, float] = {}
        with answered():
            partitions = await self._history.fences()
            pipe = self.redis.pipeline(transaction=False)
            for number in partitions:
                pipe.zrange(self.keys.partition(self.topic, number).communities, 0, -1, withscores=True)
            answers = await pipe.execute() if partitions else []
        for community, minute in chain.from_iterable(answers):
            newest[community.decode()] = max(newest.get(community.decode(), 0.0), minute)
        return {name: datetime.fromtimestamp(minute, UTC) for name, minute in newest.items()}

    async def fences(self) -> dict[int, int]:
        """Partition → first offset not yet settled."""
        with answered():
            return await self._history.fences()

    async def window(self, community: str, size: Size) -> Window | None:
        """The rolling window as last published; None where there is none."""
        with answered():
            found = await self.redis.hget(self.keys.window(community), size)
        return _read(Window, {b"window": found}, b"window") if found else None

    async def history(
        self, community: str, since: datetime, until: datetime, step: Literal["minute", "hour"] = "minute"
    ) -> list[Bucket]:
        """Buckets that begin in [since, until), oldest first, empty ones included.

        Minutes are kept for hours and hours for days (`FANPULSE_MINUTES_KEPT_S`, `FANPULSE_HOURS_KEPT_S`)."""
        kind: Kind = "m" if step == "minute" else "h"
        with answered():
            found = await self._history.buckets(community, since.timestamp(), until.timestamp(), kind)
        first = -int(-since.timestamp() // STEPS[kind]) * STEPS[kind]
        starts = range(first, ceil(until.timestamp()), STEPS[kind])
        return [Bucket.of(start, found.get(start, {})) for start in starts]

    async def recent(
        self, limit: int, community: str | None = None, *, look_at: int = 20_000
    ) -> list[EmotionEvent]:
        """The newest events, newest first; at most `look_at` entries of each partition are searched."""
        found: list[EmotionEvent] = []
        named = b"" if community is None else orjson.dumps(community)  # spares reading the others' events
        for number in sorted(await self.fences()):
            stream = self.keys.partition(self.topic, number).events
            before, looked, kept = "+", 0, 0
            while kept < limit and looked < look_at:
                with answered():
                    page = await self.redis.xrevrange(stream, max=before, count=_PAGE)
                likely = [fields for _, fields in page if named in fields.get(b"event", b"")]
                events = [_read(EmotionEvent, fields, b"event") for fields in likely]
                mine = [event for event in events if community is None or event.community == community]
                found += mine
                looked, kept = looked + len(page), kept + len(mine)
                if len(page) < _PAGE:
                    break
                before = f"({page[-1][0].decode()}"
        return sorted(found, key=lambda event: event.created_at, reverse=True)[:limit]

    async def recent_alerts(self, limit: int = 100) -> list[Alert]:
        """The newest changes of alerts, newest first."""
        with answered():
            page = await self.redis.xrevrange(self.keys.alerts, count=limit)
        return [_read(Alert, entry[1], b"alert") for entry in page]

    async def events(
        self,
        group: str,
        communities: Collection[str] | None = None,
        *,
        consumer: str | None = None,
        start: Literal["earliest", "latest"] = "latest",
        claim_after_s: float = 60.0,
    ) -> AsyncIterator[EmotionEvent]:
        """Every event, at least once per `group`, over all partitions; new partitions are found on the way.

        An event counts as handled when the loop asks for the next one: leave its body by an exception and it
        comes again. What a consumer took and did not handle within `claim_after_s` goes to another one, so a
        body must be quicker. `start`: where a new group begins. Close it with `contextlib.aclosing`.
        """
        reader = GroupReader(
            self.redis, self.keys, self.topic, group, consumer, start=start, claim_after_s=claim_after_s
        )
        handled: list[Entry] = []
        try:
            while True:
                for entry in await reader.read():
                    event = _read(EmotionEvent, entry.fields, b"event") if entry.fields else None
                    if event and (communities is None or event.community in communities):
                        yield event
                    handled.append(entry)
                await reader.acknowledge(handled)
                handled.clear()
        finally:
            await reader.leave(handled)

    async def tail(self, communities: Collection[str] | None = None) -> AsyncIterator[EmotionEvent]:
        """Events as they are settled from now on. No group: nothing is remembered, nothing written."""
        after: dict[int, str] = {}
        while True:
            quiet = True
            for number in sorted(await self.fences()):
                stream = self.keys.partition(self.topic, number).events
                with answered():
                    if number not in after:
                        last = await self.redis.xrevrange(stream, count=1)
                        after[number] = f"({last[0][0].decode()}" if last else "-"
                    page = await self.redis.xrange(stream, min=after[number], count=_PAGE)
                for entry_id, fields in page:
                    quiet, after[number] = False, f"({entry_id.decode()}"
                    event = _read(EmotionEvent, fields, b"event")
                    if communities is None or event.community in communities:
                        yield event
            if quiet:
                await asyncio.sleep(POLL_S)

    async def windows(self) -> AsyncIterator[Window]:
        """Windows as they are published from now on."""
        async for fields in self._follow(self.keys.windows, None):
            yield _read(Window, fields, b"window")

    async def alerts(self, since: datetime | None = None) -> AsyncIterator[Alert]:
        """Changes of alerts as they happen; with `since`, first those published since then."""
        async for fields in self._follow(self.keys.alerts, since):
            yield _read(Alert, fields, b"alert")

    async def _follow(self, stream: str, since: datetime | None) -> AsyncIterator[dict[bytes, bytes]]:
        @patiently
        async def entries(after: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
            with answered():
                return list(await self.redis.xrange(stream, min=after, count=_PAGE))

        @patiently
        async def newest() -> str:
            with answered():
                last = await self.redis.xrevrange(stream, count=1)
            return last[0][0].decode() if last else "0-0"

        after = f"{int(since.timestamp() * 1000)}-0" if since else f"({await newest()}"
        while True:
            page = await entries(after)
            for entry_id, fields in page:
                after = f"({entry_id.decode()}"
                yield fields
            if not page:
                await asyncio.sleep(POLL_S)


def _read(model: type[T], fields: Mapping[bytes, bytes], name: bytes) -> T:
    try:
        return model.model_validate_json(fields[name])
    except (KeyError, ValidationError) as error:
        kind = model.__name__
        raise ConfigurationError(
            f"an entry in Redis is no {kind} of schema 1; is the client of another version than the worker?"
        ) from error
