"""One open page: what it asked for and has seen, and the frame that brings it up to date.

A slow viewer skips versions; nothing is ever queued for it."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from stream.board.reader import Reader, Step
from stream.board.said import Said
from stream.board.watch import SILENT_S, Course, Watch

COMMENTS_A_FRAME = 6
COMMENTS_AT_FIRST = 30
Feed = Literal["one", "all", "none"]


class Viewer:
    """`feed` chooses comments of the community in view, of all, or none; `emotion` narrows them further."""

    def __init__(self, community: str | None, step: Step, feed: Feed, emotion: str | None) -> None:
        self.course = Course(community, step) if community else None
        self._community = community if feed == "one" else None
        self._feed = feed
        self._emotion = emotion
        self._seen = 0
        self._comments_seen = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Viewer":
        """Read the address of a stream; raises ValueError where it makes no sense."""
        steps: dict[str, Step] = {"60": 60, "3600": 3600}
        feeds: dict[str, Feed] = {"one": "one", "all": "all", "none": "none"}
        try:
            step, feed = steps[query.get("step", "60")], feeds[query.get("feed", "one")]
        except KeyError:
            raise ValueError("step is 60 or 3600; feed is one, all or none") from None
        return cls(query.get("community"), step, feed, query.get("emotion"))

    @property
    def seen(self) -> int:
        return self._seen

    async def begin(self, reader: Reader, watch: Watch) -> list[Said]:
        """The newest comments that match, for a page just opened."""
        self._comments_seen = watch.version
        if self._feed == "none" or watch.away:
            return []
        return await reader.recent_comments(self._community, self._emotion, COMMENTS_AT_FIRST)

    def frame(self, watch: Watch, comments: list[Said] | None = None) -> dict[str, Any]:
        """All that changed since the last frame; the first one, and one after a reload, is `whole`."""
        whole = self._seen < watch.loaded
        since = 0 if whole else self._seen
        frame: dict[str, Any] = {
            "status": status(watch),
            "whole": whole,
            "rate": round(watch.rate, 1),
            "rows": watch.rows.since(since),
            "alerts": [alert for version, alert in watch.alerts.values() if version > since],
            "comments": [shown(said) for said in (self._new(watch) if comments is None else comments)],
        }
        if self.course and self.course in watch.points:
            frame["points"] = {"community": self.course.community, "points": watch.points[self.course]}
        self._seen = watch.version
        return frame

    def _new(self, watch: Watch) -> list[Said]:
        """The newest few that match among those read since the last frame, newest first."""
        new: list[Said] = []
        if self._feed == "none":
            return new
        for version, said in reversed(watch.comments):
            if version <= self._comments_seen or len(new) == COMMENTS_A_FRAME:
                break
            if said.matches(self._community, self._emotion):
                new.append(said)
        self._comments_seen = watch.version
        return new


def status(watch: Watch) -> dict[str, Any]:
    """How old the figures are, and why."""
    now = time.time()
    figures_at = watch.rows.as_of
    status: dict[str, Any] = {"at": now, "figures_at": figures_at}
    if watch.away:
        status["redis_away_since"] = watch.read_at
    elif figures_at is not None and now - figures_at > SILENT_S:
        status["silent"] = True
    return status


def shown(said: Said) -> dict[str, Any]:
    """A comment as the page takes it."""
    return asdict(said)
