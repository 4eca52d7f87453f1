"""Puts model versions in service and takes them back. Nothing serves that has not passed its smoke batch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self

from stream import smoke, topics
from stream.connections import connect_redis
from stream.errors import ConfigurationError
from stream.keys import Keys
from stream.model import Model
from stream.releases import Canary, Release, Releases
from stream.scorer import Scorer
from stream.settings import Settings


@dataclass(frozen=True, slots=True)
class Standing:
    """How one model stands: the version served, those that Triton has loaded, and what an operator said."""

    served: Model
    loaded: list[str]
    release: Release


class Promotion:
    """What an operator may do to the models that the settings name.

    Each method raises ConfigurationError where it cannot be done, SmokeFailed where a version must not serve,
    Unavailable where Triton or Redis do not answer. Nothing has changed then.
    """

    def __init__(self, settings: Settings, scorer: Scorer, releases: Releases) -> None:
        self._settings = settings
        self._scorer = scorer
        self._releases = releases

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: Settings) -> AsyncIterator[Self]:
        """With clients of its own."""
        redis, scorer = connect_redis(settings), Scorer.of(settings)
        try:
            yield cls(settings, scorer, Releases(redis, Keys(settings.redis_prefix)))
        finally:
            await scorer.close()
            await redis.aclose()

    async def standing(self, name: str) -> Standing:
        release = await self._release(name)
        served = await self._scorer.describe(name, release.version)
        return Standing(served, await self._scorer.versions(name), release)

    async def promote(self, name: str, version: str) -> Model:
        """Serve a version on all partitions; return the one it replaces."""
        release = await self._release(name)
        served = await self._try(name, version, release)
        await self._releases.write(name, release.promoted(version, served.version))
        return served

    async def canary(self, name: str, version: str, share: float) -> list[int]:
        """Serve a version on about `share` of the partitions; return which."""
        release = await self._release(name)
        canary = Canary(version, share)
        count = (await topics.partitions(self._settings)).get(self._settings.comments_topic, 0)
        taken = [partition for partition in range(count) if canary.takes(name, partition)]
        if not taken:
            raise ConfigurationError(
                f"a share of {share:g} reaches none of {count} partitions: take a larger one"
            )
        await self._try(name, version, release)
        await self._releases.write(name, replace(release, canary=canary))
        return taken

    async def shadow(self, name: str, version: str | None) -> None:
        """Have a version score beside the one served; None ends that."""
        release = await self._release(name)
        if version is not None:
            await self._try(name, version, release)
        await self._releases.write(name, replace(release, shadow=version))

    async def rollback(self, name: str) -> Model:
        """End a canary or, where there is none, serve the version before; end a shadow. Return what serves."""
        release = await self._release(name)
        earlier = release.rolled_back()
        if earlier.version and earlier.version != release.version:
            await smoke.passed(self._scorer, name, earlier.version)
        await self._releases.write(name, earlier)
        return await self._scorer.describe(name, earlier.version)

    async def _release(self, name: str) -> Release:
        if name not in self._settings.models.values():
            used = ", ".join(sorted(set(self._settings.models.values())))
            raise ConfigurationError(f"FANPULSE_MODELS names no model {name}, only {used}")
        return (await self._releases.read()).get(name, Release())

    async def _try(self, name: str, version: str, release: Release) -> Model:
        """Give a version its smoke batch, loading it first where Triton has not; return what serves now."""
        served = await self._scorer.describe(name, release.version)
        if version == served.version:
            raise ConfigurationError(f"{served} serves already")
        if version not in await self._scorer.versions(name):
            await self._scorer.reload(name)
            there = await self._scorer.versions(name)
            if version not in there:
                raise ConfigurationError(
                    f"Triton has no version {version} of {name}, only {', '.join(there)}"
                )
        await smoke.passed(self._scorer, name, version, promised=served)
        return served
