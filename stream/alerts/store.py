"""The alert process's memory in Redis: tracks, status, what is to be delivered, and what could not be.

Every write carries the leader's token and happens only while the lease still bears it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal, NamedTuple

import ormsgpack

from stream.alerts.alert import Alert
from stream.alerts.lifecycle import Track
from stream.keys import Keys
from stream.subscription import answered

ALERTS_KEPT = 10_000
_PAGE = 200

_COMMIT = files("stream.alerts").joinpath("commit.lua").read_text()
# A message leaves the outbox for nowhere, or for the dead letters.
_DELIVERED = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('XDEL', KEYS[2], ARGV[2]) == 1 and ARGV[3] ~= '' then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*',
    'channel', ARGV[4], 'alert', ARGV[5], 'error', ARGV[3])
end
return 1
"""
_STATUS = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) end"
_REVIVE = """
if redis.call('XDEL', KEYS[1], ARGV[1]) == 1 then
  redis.call('XADD', KEYS[2], '*', 'channel', ARGV[2], 'alert', ARGV[3])
end
"""


class TrackKey(NamedTuple):
    rule: str
    community: str

    def __str__(self) -> str:
        return f"{self.rule}/{self.community}"  # a rule's name has no slash

    @classmethod
    def parse(cls, text: str) -> "TrackKey":
        rule, community = text.split("/", 1)
        return cls(rule, community)


@dataclass(slots=True)
class Changes:
    """What judging one or more minutes came to; `tracks`: None forgets."""

    tracks: dict[TrackKey, Track | None] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    outbox: list[tuple[str, Alert]] = field(default_factory=list)


class Message(NamedTuple):
    """An alert on its way to a channel, or one that never got there (then with the last error)."""

    id: str
    channel: str
    alert: Alert
    error: str = ""


class Store:
    """All methods raise Unavailable while Redis is away."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self._redis = redis
        root = keys.alert_root
        self._lease, self._tracks, self._status = root + "lease", root + "tracks", root + "status"
        self._alerts, self._outbox, self._dead = keys.alerts, root + "outbox", root + "dead"

    async def tracks(self) -> dict[TrackKey, Track]:
        with answered():
            found = await self._redis.hgetall(self._tracks)
        return {TrackKey.parse(key.decode()): Track.model_validate_json(json) for key, json in found.items()}

    async def status(self) -> dict[str, str]:
        """`minute` judged last (epoch s), `newest` event minute then seen, `missing_since`, `rules_error`."""
        with answered():
            found = await self._redis.hgetall(self._status)
        return {name.decode(): value.decode() for name, value in found.items()}

    async def commit(self, token: int, began_from: str, changes: Changes, status: Mapping[str, str]) -> bool:
        """Write it all at once; False where this replica leads no more, and then nothing was written."""
        packed = ormsgpack.packb(
            {
                "tracks": {str(key): _json(track) for key, track in changes.tracks.items()},
                "alerts": [alert.model_dump_json() for alert in changes.alerts],
                "outbox": [(channel, alert.model_dump_json()) for channel, alert in changes.outbox],
                "status": dict(status),
                "keep": ALERTS_KEPT,
            }
        )
        keys = (self._lease, self._tracks, self._status, self._alerts, self._outbox)
        with answered():
            return bool(await self._redis.eval(_COMMIT, len(keys), *keys, token, began_from, packed))

    async def note(self, token: int, name: str, value: str) -> None:
        """Show `value` in the status; the leader alone may."""
        with answered():
            await self._redis.eval(_STATUS, 2, self._lease, self._status, token, name, value)

    async def outbox(self) -> Sequence[Message]:
        """The oldest messages not delivered yet."""
        return await self._messages(self._outbox)

    async def dead(self) -> Sequence[Message]:
        """The oldest messages given up."""
        return await self._messages(self._dead)

    async def delivered(self, token: int, message: Message, error: str = "") -> bool:
        """Take the message from the outbox, with an `error` to the dead ones. False: another one leads."""
        with answered():
            return bool(
                await self._redis.eval(
                    _DELIVERED, 3, self._lease, self._outbox, self._dead,
                    token, message.id, error, message.channel, message.alert.model_dump_json(),
                )
            )  # fmt: skip

    async def revive(self, message: Message) -> None:
        """Send a dead message again."""
        with answered():
            await self._redis.eval(
                _REVIVE,
                2,
                self._dead,
                self._outbox,
                message.id,
                message.channel,
                message.alert.model_dump_json(),
            )

    async def _messages(self, stream: str) -> Sequence[Message]:
        with answered():
            page = await self._redis.xrange(stream, count=_PAGE)
        return [
            Message(
                entry_id.decode(),
                fields[b"channel"].decode(),
                Alert.model_validate_json(fields[b"alert"]),
                fields.get(b"error", b"").decode(),
            )
            for entry_id, fields in page
        ]


def _json(track: Track | None) -> str | Literal[False]:
    return track.model_dump_json() if track else False
