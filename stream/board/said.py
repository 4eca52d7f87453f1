"""A comment as the feed shows it, read from its event. It knows the event's JSON, and no client."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import orjson

from stream.board.entries import Entry, readable
from stream.keys import PartitionKeys

SHOWN_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Said:
    """A comment as the feed shows it; `key` names its stream entry."""

    key: str
    community: str
    text: str | None
    cut: bool
    at: float
    labels: tuple[str, ...]
    negativity: float
    negative: bool
    author: str | None
    post: str | None

    def matches(self, community: str | None, emotion: str | None) -> bool:
        """None matches all; the emotion `negative` matches every negative comment."""
        if community is not None and self.community != community:
            return False
        return emotion is None or (self.negative if emotion == "negative" else emotion in self.labels)


def comments(keys: PartitionKeys, entries: Iterable[Entry]) -> Iterator[Said]:
    return readable(entries, lambda entry: _said(keys, entry))


def _said(keys: PartitionKeys, entry: Entry) -> Said:
    event = orjson.loads(entry[1][b"event"])
    text = event["text"]
    return Said(
        key=f"{keys.events}#{entry[0]}",
        community=event["community"],
        text=text and text[:SHOWN_CHARACTERS],
        cut=bool(text) and len(text) > SHOWN_CHARACTERS,
        at=datetime.fromisoformat(event["created_at"]).timestamp(),
        labels=tuple(event["labels"]),
        negativity=event["negativity"],
        negative=event["negative"],
        author=event["author"] and event["author"][:8],
        post=event["post_id"],
    )
