"""The rules file: read whole or refused, and read again when it changes."""

import logging
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stream.alerts.rules import Rules
from stream.errors import ConfigurationError

DEFAULT_RULES = Path(__file__).with_name("default_rules.toml")

log = logging.getLogger(__name__)


class RulesFile:
    """`content` is what was read last without a fault; `error` says what is wrong with the file now.

    Raises ConfigurationError where there is nothing to begin with.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed_at = 0.0
        self.content = load(path)
        self.error = ""

    def reload(self) -> None:
        """Take a changed file; if it is broken the old rules go on."""
        error = self.error
        try:
            changed_at = self._path.stat().st_mtime
            if changed_at != self._changed_at:
                self._changed_at = changed_at
                self.content = load(self._path)
                error = ""
        except (OSError, ConfigurationError) as broken:
            error = str(broken)
        if error and error != self.error:
            log.error("%s; the rules read before go on", error)
        self.error = error


def load(path: Path, environment: Mapping[str, str] | None = os.environ) -> Rules:
    """Read and check a rules file; without an `environment` it may lack the channels' secrets.

    Raises ConfigurationError naming the file and every rule and field at fault.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        rules = Rules.model_validate(content)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except ValidationError as error:
        faults = "; ".join(_explain(fault["loc"], fault["msg"], content) for fault in error.errors())
        raise ConfigurationError(f"{path}: {faults}") from None
    for channel in rules.channel:
        variable = {"webhook": "secret_env", "apprise": "url_env"}.get(channel.kind)
        if variable and environment is not None and not environment.get(name := getattr(channel, variable)):
            raise ConfigurationError(f"{path}: channel {channel.name!r}: {variable}: {name} is not set")
    return rules


def _explain(place: tuple[int | str, ...], message: str, content: Mapping[str, Any]) -> str:
    message = message.removeprefix("Value error, ")
    match place:
        case (("rule" | "channel") as table, int(number), *rest):
            name = content[table][number].get("name", f"number {number + 1}")
            field = ".".join(map(str, rest[1:] if len(rest) > 1 else rest))
            return f"{table} {name!r}: {field}: {message}" if field else f"{table} {name!r}: {message}"
        case ():
            return message
        case _:
            return f"{'.'.join(map(str, place))}: {message}"
