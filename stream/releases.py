"""Which versions of a model are in service by an operator's word: promoted, canary, shadow, and those before.

It is the only module that reads or writes `fp:models`. What a version is, and whether it works, it does not know.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from stream.connections import REDIS_ERRORS, RedisClient
from stream.errors import ConfigurationError
from stream.keys import Keys
from stream.sink import unavailable

VERSIONS_REMEMBERED = 10


@dataclass(frozen=True, slots=True)
class Canary:
    """A version that serves about `share` of the comment partitions."""

    version: str
    share: float

    def takes(self, model: str, partition: int) -> bool:
        """Whether `partition` is one of its own: the same everywhere and always, and still so at a larger share."""
        digest = hashlib.sha256(f"{model}/{self.version}:{partition}".encode()).digest()
        return int.from_bytes(digest[:8]) < self.share * 2**64


@dataclass(frozen=True, slots=True)
class Release:
    """One model's versions in service.

    Without a `version` the one of the model's config is served. `before` are those served earlier, the latest first.
    """

    version: str | None = None
    before: tuple[str, ...] = ()
    canary: Canary | None = None
    shadow: str | None = None

    def promoted(self, version: str, served: str) -> Self:
        """`version` for all partitions; `served` is what it replaces."""
        before = self.before if served == version else (served, *self.before)[:VERSIONS_REMEMBERED]
        shadow = None if self.shadow == version else self.shadow
        return replace(self, version=version, before=before, canary=None, shadow=shadow)

    def rolled_back(self) -> Self:
        """Without the canary or, where there is none, with the version before; without a shadow in any case.

        Raises ConfigurationError where there is nothing to take back.
        """
        if self.canary is None and self.before:
            return replace(self, version=self.before[0], before=self.before[1:], shadow=None)
        if self.canary is None and self.shadow is None:
            raise ConfigurationError(
                "nothing to roll back: no canary, no shadow, and no version served before"
            )
        return replace(self, canary=None, shadow=None)

    @classmethod
    def parse(cls, name: str, fields: Mapping[str, str]) -> Self:
        """Read the fields of one model. Raises ConfigurationError naming the one that cannot be read."""
        canary = None
        if text := fields.get(f"{name}:canary"):
            version, _, share = text.partition(" ")
            try:
                canary = Canary(version, float(share))
            except ValueError:
                raise ConfigurationError(f"field {name}:canary is {text!r}, not `version share`") from None
        before = tuple(filter(None, fields.get(f"{name}:before", "").split(",")))
        return cls(fields.get(name) or None, before, canary, fields.get(f"{name}:shadow") or None)

    def fields(self, name: str) -> dict[str, str]:
        """What stands in the hash; empty for what there is not, so that one HSET says it all."""
        return {
            name: self.version or "",
            f"{name}:before": ",".join(self.before),
            f"{name}:canary": f"{self.canary.version} {self.canary.share!r}" if self.canary else "",
            f"{name}:shadow": self.shadow or "",
        }


class Releases:
    """Reads and writes what is in service. Both raise Unavailable where Redis does not answer."""

    def __init__(self, redis: RedisClient, keys: Keys) -> None:
        self._redis = redis
        self._key = keys.models

    async def read(self) -> dict[str, Release]:
        """Every model of which something was ever said. Raises ConfigurationError for what cannot be read."""
        try:
            found = await self._redis.hgetall(self._key)
        except REDIS_ERRORS as error:
            raise unavailable(error) from error
        fields = {_text(field): _text(value) for field, value in found.items()}
        return {name: Release.parse(name, fields) for name in {field.partition(":")[0] for field in fields}}

    async def write(self, name: str, release: Release) -> None:
        """Put one model's versions in service, all at once; workers follow within seconds."""
        try:
            # redis-py types the keys of a mapping invariantly, as str or bytes
            await self._redis.hset(self._key, mapping=release.fields(name))  # type: ignore[arg-type]
        except REDIS_ERRORS as error:
            raise unavailable(error) from error


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
