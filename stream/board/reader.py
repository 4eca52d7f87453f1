"""All that the board reads of Redis. It writes nothing, so its user needs read commands on these keys alone.

It knows keys and their contents, not viewers or ranking."""

from collections.abc import AsyncIterator, Iterable, Sequence
from math import ceil
from typing import Any, Literal

import orjson

from stream.alerts.alert import Alert
from stream.board.entries import Entry, entries_of, readable
from stream.board.said import Said, comments
from stream.buckets import MINUTE
from stream.connections import RedisClient
from stream.history import History, Kind, Place
from stream.keys import Keys, PartitionKeys
from stream.rolling import Buckets, Size, Window

Step = Literal[60, 3600]
EMOTIONS = ("anger", "hate", "anxiety", "sorrow", "neutral", "surprise", "expect", "joy", "love")
_FIELDS = ("n", "neg", *(f"l:{emotion}" for emotion in EMOTIONS))
_PAGE = 500
_ALERTS = 500
_FOLLOWED = 5000

Point = tuple[int, ...]
"""Start second, comments, negative comments, then comments by emotion in the order of EMOTIONS."""


class Reader:
    """Reads through one client. Every method raises redis.RedisError or OSError when Redis is away."""

    def __init__(self, client: RedisClient, keys: Keys, topic: str) -> None:
        self._redis: Any = client  # redis-py's sync and async stubs overlap
        self._keys = keys
        self._topic = topic
        self._history = History(client, keys, topic)
        self._partitions: tuple[PartitionKeys, ...] = ()

    async def find_partitions(self) -> None:
        """Look for partitions that have settled something; call now and then, topics grow."""
        numbers = sorted(await self._history.fences())
        self._partitions = tuple(self._keys.partition(self._topic, number) for number in numbers)

    async def communities(self, since: float) -> set[str]:
        """Communities with a comment since then."""
        answers = await self._pipelined(
            ("ZRANGE", keys.communities, int(since), "+inf", "BYSCORE") for keys in self._partitions
        )
        return {name.decode() for names in answers for name in names if name}

    async def windows(self, communities: Sequence[str]) -> dict[str, dict[Size, Window]]:
        """Community → window size → the window as last published."""
        answers = await self._pipelined(("HGETALL", self._keys.window(name)) for name in communities)
        found = {}
        for name, fields in zip(communities, answers, strict=True):
            entries = [(self._keys.window(name), {b"window": content}) for content in fields.values()]
            found[name] = {window.size: window for window in readable(entries, _window)}
        return found

    async def published(self, after: str) -> tuple[str, list[Window]]:
        """Windows published after this entry of their stream, oldest first, and the newest entry."""
        entries = await self._follow(self._keys.windows, after)
        windows = list(readable(entries, _window))
        return (entries[-1][0] if entries else after), windows

    async def alerts(self, after: str | None) -> tuple[str, list[Alert]]:
        """Changes of alerts after this entry of their stream (None: the newest few), and the newest entry."""
        if after is None:
            entries = entries_of(await self._redis.xrevrange(self._keys.alerts, count=_ALERTS))[::-1]
        else:
            entries = await self._follow(self._keys.alerts, after)
        alerts = list(readable(entries, _alert))
        return (entries[-1][0] if entries else after or "0-0"), alerts

    async def newest_window(self) -> str:
        """The newest entry of the windows' stream."""
        entries = entries_of(await self._redis.xrevrange(self._keys.windows, count=1))
        return entries[0][0] if entries else "0-0"

    async def settled(self) -> int:
        """Offsets settled so far, over all partitions."""
        answers = await self._pipelined(("HGET", keys.fence, "next") for keys in self._partitions)
        return sum(int(answer or 0) for answer in answers)

    async def series(self, community: str, step: Step, since: float, until: float) -> list[Point]:
        """Buckets that overlap [since, until), epoch seconds; empty ones are left out."""
        kind: Kind = "m" if step == MINUTE else "h"
        starts = range(int(since) // step * step, ceil(until), step)
        found = await self._buckets([community], kind, starts)
        return [
            (start, *(fields.get(name, 0) for name in _FIELDS))
            for start, fields in sorted(found[community].items())
        ]

    async def past_hour(self, communities: Sequence[str], now: float) -> dict[str, Buckets]:
        """The minute buckets of the past hour and a little more."""
        last = int(now) // MINUTE * MINUTE
        return dict(await self._buckets(communities, "m", range(last - 65 * MINUTE, last, MINUTE)))

    async def _buckets(
        self, communities: Sequence[str], kind: Kind, at: range
    ) -> dict[str, dict[int, dict[str, int]]]:
        homes: dict[Place, list[int]] = {}
        for name in communities:
            partitions = [keys.partition for keys in await self._holders(name)]
            homes |= dict.fromkeys((Place(kind, start, name) for start in at), partitions)
        found: dict[str, dict[int, dict[str, int]]] = {name: {} for name in communities}
        for place, fields in (await self._history.fields(homes)).items():
            found[place.community][place.start] = fields
        return found

    async def new_comments(self, after: dict[str, str], most: int) -> list[Said]:
        """Comments since the last call, newest first; of many, the newest `most`. `after` remembers where."""
        if not self._partitions:
            return []
        count = max(1, most // len(self._partitions))
        answers = await self._pipelined(
            (
                "XREVRANGE",
                keys.events,
                "+",
                f"({after[keys.events]}" if keys.events in after else "-",
                "COUNT",
                count,
            )
            for keys in self._partitions
        )
        said = []
        for keys, answer in zip(self._partitions, answers, strict=True):
            entries = entries_of(answer)
            if entries:
                after[keys.events] = entries[0][0]
            said += list(comments(keys, entries))
        return sorted(said, key=lambda one: one.at, reverse=True)

    async def recent_comments(
        self, community: str | None, emotion: str | None, want: int, pages: int = 4
    ) -> list[Said]:
        """The newest comments that match, newest first; looks back `pages` pages of a partition."""
        found: list[Said] = []
        for keys in await self._holders(community):
            matching = 0
            async for entries in self._backwards(keys, "+", pages):
                said = [one for one in comments(keys, entries) if one.matches(community, emotion)]
                found += said
                matching += len(said)
                if matching >= want:
                    break
        return sorted(found, key=lambda one: one.at, reverse=True)[:want]

    async def comments_of(
        self, since: float, until: float, community: str | None, emotion: str | None, want: int
    ) -> list[Said]:
        """Matching comments made in [since, until), newest first, where their events are still kept."""
        found: list[Said] = []
        for keys in await self._holders(community):
            end = await self._entry_at(keys, until)
            async for entries in self._backwards(keys, end, pages=20):
                said = [one for one in comments(keys, entries) if since <= one.at < until]
                found += [one for one in said if one.matches(community, emotion)]
                if not said or len(found) >= want:
                    break
        return sorted(found, key=lambda one: one.at, reverse=True)[:want]

    async def text(self, key: str) -> str | None:
        """The whole text of one comment; None where it is not kept, or not one of ours."""
        stream, _, entry = key.rpartition("#")
        if (
            stream not in {keys.events for keys in self._partitions}
            or not entry.replace("-", "", 1).isdigit()
        ):
            return None
        entries = entries_of(await self._redis.execute_command("XRANGE", stream, entry, entry))
        return orjson.loads(entries[0][1][b"event"])["text"] if entries else None

    async def _holders(self, community: str | None) -> list[PartitionKeys]:
        """Partitions that have heard from the community; all of them for None."""
        if community is None:
            return list(self._partitions)
        scores = await self._pipelined(("ZSCORE", keys.communities, community) for keys in self._partitions)
        return [keys for keys, score in zip(self._partitions, scores, strict=True) if score is not None]

    async def _backwards(self, keys: PartitionKeys, end: str, pages: int) -> AsyncIterator[list[Entry]]:
        for _ in range(pages):
            answer = await self._redis.execute_command("XREVRANGE", keys.events, end, "-", "COUNT", _PAGE)
            entries = entries_of(answer)
            yield entries
            if len(entries) < _PAGE:
                return
            end = f"({entries[-1][0]}"

    async def _entry_at(self, keys: PartitionKeys, moment: float) -> str:
        """Bisect the stream, nearly in order of time, for the first entry made at `moment` or later."""
        ends = await self._pipelined(
            (command, keys.events, *span, "COUNT", 1)
            for command, span in (("XRANGE", ("-", "+")), ("XREVRANGE", ("+", "-")))
        )
        if not ends[0]:
            return "+"
        low, high = (int(entries_of(answer)[0][0].partition("-")[0]) for answer in ends)
        while low < high:
            middle = (low + high) // 2
            answer = await self._redis.execute_command("XRANGE", keys.events, f"{middle}-0", "+", "COUNT", 1)
            said = next(iter(comments(keys, entries_of(answer))), None)
            if said is not None and said.at < moment:
                low = middle + 1
            else:
                high = middle
        return f"{low}-1"

    async def _follow(self, stream: str, after: str) -> list[Entry]:
        return entries_of(await self._redis.xrange(stream, min=f"({after}", count=_FOLLOWED))

    async def _pipelined(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        empty = True
        for command in commands:
            pipeline.execute_command(*command)
            empty = False
        return [] if empty else await pipeline.execute()


def _window(entry: Entry) -> Window:
    return Window.model_validate_json(entry[1][b"window"])


def _alert(entry: Entry) -> Alert:
    return Alert.model_validate_json(entry[1][b"alert"])
