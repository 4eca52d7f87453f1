"""Which version of which model scores a language now, on each partition, and which only shadows it."""

import logging
from collections.abc import Mapping

from stream import metrics, smoke
from stream.connections import RedisClient
from stream.errors import ConfigurationError, FanpulseError
from stream.keys import Keys
from stream.model import Model
from stream.releases import Canary, Release, Releases
from stream.scorer import Scorer
from stream.text import Lang

log = logging.getLogger(__name__)


class Models:
    """The models in service. A version promoted at run time wins over the config's own.

    A version taken up while others serve must pass the smoke batch first; one that does not is left out.
    """

    def __init__(self, scorer: Scorer, redis: RedisClient, keys: Keys, names: Mapping[Lang, str]) -> None:
        self._scorer = scorer
        self._releases = Releases(redis, keys)
        self._names = names
        self._served: dict[str, Model] = {}
        self._canaries: dict[str, tuple[Canary, Model]] = {}
        self._routes: dict[int, Mapping[Lang, Model]] = {}
        self.shadows: dict[str, Model] = {}

    def at(self, partition: int) -> Mapping[Lang, Model]:
        """The model of each language on `partition`; a language that the settings do not name has none."""
        routes = self._routes.get(partition)
        if routes is None:
            routes = {lang: self._at(partition, name) for lang, name in self._names.items()}
            self._routes[partition] = routes
        return routes

    def in_service(self) -> list[Model]:
        """Every version whose scores are settled, on whatever partition."""
        return [*self._served.values(), *(model for _, model in self._canaries.values())]

    async def start(self) -> None:
        """Load every model named in the settings.

        Raises ConfigurationError where one cannot be used or does not know its language, Unavailable where
        Triton or Redis do not answer.
        """
        releases = await self._releases.read()
        for lang, name in self._names.items():
            model = await self._scorer.load(name, releases.get(name, Release()).version)
            if lang != "other" and lang not in model.languages:
                raise ConfigurationError(
                    f"FANPULSE_MODELS gives {lang!r} to {model}, which knows {', '.join(model.languages)}"
                )
            self._served[name] = model
        await self._follow(releases)
        log.info("models %s", ", ".join(sorted(map(str, self._served.values()))))

    async def answer(self) -> bool:
        """Whether every model answers an inference: a server that is up may have lost its backend."""
        try:
            for model in self.in_service():
                await self._scorer.probe(model)
        except FanpulseError:
            return False
        return bool(self._served)

    async def refresh(self) -> None:
        """Follow what was promoted, rolled back or put beside since; what cannot be read changes nothing."""
        try:
            releases = await self._releases.read()
        except FanpulseError as error:
            log.warning("promoted versions unknown: %s", error)
        else:
            await self._follow(releases)

    async def _follow(self, releases: Mapping[str, Release]) -> None:
        served, canaries, shadows = dict(self._served), dict(self._canaries), dict(self.shadows)
        for name, now in self._served.items():
            release = releases.get(name)
            if release is None:
                continue  # a Redis that forgot takes nothing back
            promoted = await self._checked(name, release.version)
            canary = await self._checked(name, release.canary.version if release.canary else None)
            shadow = await self._checked(name, release.shadow)
            if promoted and promoted != now:
                log.info("%s replaces %s", promoted, now)
                served[name] = promoted
            canaries.pop(name, None)
            if release.canary and canary:
                canaries[name] = release.canary, canary
            shadows.pop(name, None)
            if shadow:
                shadows[name] = shadow
        self._served, self._canaries, self.shadows = served, canaries, shadows
        self._routes = {}
        self._tell()

    async def _checked(self, name: str, version: str | None) -> Model | None:
        """A version that may score; None where it may not, or none is named."""
        if version is None:
            return None
        for model in [*self.in_service(), *self.shadows.values()]:
            if (model.name, model.version) == (name, version):
                return model
        try:
            return await smoke.passed(self._scorer, name, version, promised=self._served[name])
        except FanpulseError as error:
            log.error("%s/%s is left out: %s", name, version, error)
            return None

    def _at(self, partition: int, name: str) -> Model:
        if name in self._canaries:
            canary, model = self._canaries[name]
            if canary.takes(name, partition):
                return model
        return self._served[name]

    def _tell(self) -> None:
        metrics.IN_SERVICE.clear()
        for name, model in self._served.items():
            share = 0.0
            if name in self._canaries:
                canary, candidate = self._canaries[name]
                share = canary.share
                metrics.IN_SERVICE.labels(name, candidate.version, "canary").set(share)
            metrics.IN_SERVICE.labels(name, model.version, "served").set(1 - share)
        for name, model in self.shadows.items():
            metrics.IN_SERVICE.labels(name, model.version, "shadow").set(1)
