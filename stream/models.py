"""Which version of which model scores a language now."""

import logging
from collections.abc import Mapping

from stream.connections import REDIS_ERRORS, RedisClient
from stream.errors import ConfigurationError, FanpulseError
from stream.keys import Keys
from stream.model import Model
from stream.scorer import Scorer
from stream.sink import unavailable
from stream.text import Lang

log = logging.getLogger(__name__)


class Models:
    """The models in service. A version promoted at run time (`fp:models`) wins over the config's own."""

    def __init__(self, scorer: Scorer, redis: RedisClient, keys: Keys, names: Mapping[Lang, str]) -> None:
        self._scorer = scorer
        self._redis = redis
        self._keys = keys
        self._names = names
        self._serving: dict[str, Model] = {}

    def for_language(self, lang: Lang) -> Model | None:
        """The model that scores `lang`, None where the settings name none."""
        name = self._names.get(lang)
        return self._serving[name] if name else None

    async def start(self) -> None:
        """Load every model named in the settings.

        Raises ConfigurationError where one cannot be used or does not know its language, Unavailable where
        Triton or Redis do not answer.
        """
        promoted = await self._promoted()
        for lang, name in self._names.items():
            model = await self._scorer.load(name, promoted.get(name))
            if lang != "other" and lang not in model.languages:
                raise ConfigurationError(
                    f"FANPULSE_MODELS gives {lang!r} to {model}, which knows {', '.join(model.languages)}"
                )
            self._serving[name] = model
        log.info("models %s", ", ".join(sorted(map(str, self._serving.values()))))

    async def answer(self) -> bool:
        """Whether every model answers an inference: a server that is up may have lost its backend."""
        try:
            for model in self._serving.values():
                await self._scorer.probe(model)
        except FanpulseError:
            return False
        return bool(self._serving)

    async def refresh(self) -> None:
        """Switch to newly promoted versions; one that cannot be used is left out and said so in the log."""
        try:
            promoted = await self._promoted()
        except FanpulseError as error:
            log.warning("promoted versions unknown: %s", error)
            return
        for name, model in self._serving.items():
            version = promoted.get(name)
            if version is None or version == model.version:
                continue
            try:
                self._serving[name] = await self._scorer.load(name, version)
            except FanpulseError as error:
                log.error("%s stays: version %s cannot serve: %s", model, version, error)
            else:
                log.info("%s replaces %s", self._serving[name], model)

    async def _promoted(self) -> dict[str, str]:
        try:
            found = await self._redis.hgetall(self._keys.models)
        except REDIS_ERRORS as error:
            raise unavailable(error) from error
        return {_text(name): _text(version) for name, version in found.items()}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
