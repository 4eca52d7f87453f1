"""Everything that can be set, read once from the environment (`FANPULSE_…`) and validated at start."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, FilePath, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream.errors import ConfigurationError

INSECURE_PSEUDONYM_KEY = "fanpulse-development-only"
STACK_ENV = Path(".fanpulse/stack.env")


def _scheme(*schemes: str) -> AfterValidator:
    def check(url: str | SecretStr) -> str | SecretStr:
        text = url.get_secret_value() if isinstance(url, SecretStr) else url
        if not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError("must begin with " + " or ".join(f"{scheme}://" for scheme in schemes))
        for place in text.partition("://")[2].partition("/")[0].rpartition("@")[2].split(","):
            if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]+)(:[0-9]{1,5})?", place):
                raise ValueError("must name host:port, or several by commas")
        return url

    return AfterValidator(check)


class Settings(BaseSettings):
    """The settings of one process; immutable. Only app.py and the command line read the environment."""

    model_config = SettingsConfigDict(
        env_prefix="FANPULSE_", env_file=STACK_ENV, env_ignore_empty=True, extra="ignore", frozen=True
    )

    profile: Literal["development", "production"] = Field(
        "development", description="`production` refuses the default pseudonym key"
    )

    kafka_url: Annotated[str, _scheme("kafka")] = Field(
        "kafka://127.0.0.1:9092", description="brokers, `kafka://host:port[,host:port…]`"
    )
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to connect to Kafka"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="for `SASL_…` security"
    )
    kafka_username: str | None = Field(None, description="SASL user")
    kafka_password: SecretStr | None = Field(None, description="SASL password")
    kafka_ca_file: FilePath | None = Field(None, description="CA certificates that sign the brokers'")
    kafka_cert_file: FilePath | None = Field(None, description="client certificate, for mutual TLS")
    kafka_key_file: FilePath | None = Field(None, description="key of the client certificate")
    kafka_session_timeout_s: float = Field(
        20.0, ge=1, le=300, description="a worker silent for this long loses its partitions"
    )
    group: str = Field("fanpulse", min_length=1, description="consumer group")
    comments_topic: str = Field("comments", min_length=1, description="topic read")
    rejected_topic: str = Field("comments.rejected", min_length=1, description="dead letters; compacted")
    start_from: Literal["earliest", "latest"] = Field(
        "earliest", description="where a partition without a fence begins"
    )

    redis_url: Annotated[SecretStr, _scheme("redis", "rediss")] = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="`redis://` or, with TLS, `rediss://[user:password@]host:port/db`;"
        " of a cluster `host:port,host:port…`, any nodes",
    )
    redis_cluster: bool = Field(False, description="the URL names nodes of a Redis Cluster")
    redis_ca_file: FilePath | None = Field(None, description="CA certificates that sign the Redis server's")
    redis_prefix: str = Field("fp", pattern=r"^[^{}\s]+$", description="first part of every key")
    redis_timeout_s: float = Field(5.0, gt=0, description="deadline of one Redis call")
    events_kept: int = Field(100_000, ge=0, description="events kept per partition, about; 0 keeps none")
    minutes_kept_s: int = Field(3 * 3600, ge=2 * 3600 + 120, description="life of a minute bucket")
    hours_kept_s: int = Field(15 * 86400, ge=8 * 86400, description="life of an hour bucket")

    triton_url: Annotated[str, _scheme("grpc", "grpcs")] = Field(
        "grpc://127.0.0.1:8001", description="`grpc://host:port`, with TLS `grpcs://`"
    )
    triton_ca_file: FilePath | None = Field(None, description="CA certificates that sign Triton's")
    triton_timeout_s: float = Field(10.0, gt=0, description="deadline of one request")
    models: Mapping[Literal["zh", "en", "other"], str] = Field(
        {"zh": "emotion_zh", "en": "emotion_en"},
        description="language to model, as JSON; a comment in a language not named is rejected",
    )
    default_lang: Literal["zh", "en"] = Field("zh", description="language of comments without letters")
    request_texts: int = Field(128, ge=1, le=1024, description="texts in one request to Triton")
    requests_in_flight: int = Field(4, ge=1, le=64, description="requests to Triton at a time, per process")
    cached_texts: int = Field(50_000, ge=0, description="scores remembered by model version and text")

    batch_records: int = Field(1024, ge=1, le=16384, description="records settled at once, at most")
    record_bytes: int = Field(262_144, ge=1024, description="a larger record is rejected unread")
    include_text: bool = Field(True, description="keep the comment's text in its event")
    pseudonym_key: SecretStr = Field(
        SecretStr(INSECURE_PSEUDONYM_KEY),
        description="key of the authors' pseudonyms; secret, at least 16 characters",
    )
    publish_every_s: float = Field(2.0, gt=0, le=60, description="how often changed windows are published")

    give_up_after_s: float = Field(
        900.0, gt=0, description="a worker that can settle nothing for this long ends"
    )
    live_within_s: float = Field(
        60.0, gt=0, description="/live fails when work waits and nothing has moved for this long"
    )
    drain_s: float = Field(
        20.0, gt=0, description="a stopping worker settles what is in flight for this long"
    )
    web_host: str = Field("127.0.0.1", description="address of /metrics, /live and /ready")
    web_port: int = Field(6066, ge=0, le=65535, description="their port; 0 takes a free one")
    traces_url: str | None = Field(
        None,
        pattern=r"^https?://[^/]+/",
        description="where OpenTelemetry spans go, OTLP over HTTP: `http://host:4318/v1/traces`",
    )
    board_host: str = Field(
        "127.0.0.1", description="address of the board; others than loopback need a token or a proxy"
    )
    board_port: int = Field(8080, ge=0, le=65535, description="its port; 0 takes a free one")
    board_token: SecretStr | None = Field(
        None, min_length=16, description="who knows it may see the board; at least 16 characters"
    )
    board_proxy_header: str | None = Field(
        None, description="header in which a proxy names the user it let through, e.g. `X-Forwarded-User`"
    )
    board_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        description="networks, as JSON, from which that header is believed",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="what is logged")

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        key = self.pseudonym_key.get_secret_value()
        if len(key) < 16:
            raise ValueError("FANPULSE_PSEUDONYM_KEY is shorter than 16 characters")
        if self.profile == "production" and key == INSECURE_PSEUDONYM_KEY:
            raise ValueError("FANPULSE_PSEUDONYM_KEY must be set in production: the default is public")
        if self.kafka_security.startswith("SASL") and not (self.kafka_username and self.kafka_password):
            raise ValueError(
                f"FANPULSE_KAFKA_USERNAME and FANPULSE_KAFKA_PASSWORD are needed with {self.kafka_security}"
            )
        for variable, encrypted in (
            ("kafka_security", self.kafka_security.endswith("SSL")),
            ("redis_url", self.redis_url.get_secret_value().startswith("rediss://")),
            ("triton_url", self.triton_url.startswith("grpcs://")),
        ):
            ca_file = f"{variable.partition('_')[0]}_ca_file"
            if getattr(self, ca_file) and not encrypted:
                raise ValueError(
                    f"FANPULSE_{ca_file.upper()} is set, but FANPULSE_{variable.upper()} asks for no TLS"
                )
        if "," in self.redis_url.get_secret_value() and not self.redis_cluster:
            raise ValueError("FANPULSE_REDIS_URL names several nodes, but FANPULSE_REDIS_CLUSTER is false")
        if bool(self.kafka_cert_file) != bool(self.kafka_key_file):
            raise ValueError("FANPULSE_KAFKA_CERT_FILE and FANPULSE_KAFKA_KEY_FILE go together")
        if not self.models:
            raise ValueError("FANPULSE_MODELS names no model")
        return self


def load(**overrides: object) -> Settings:
    """Read the settings; `overrides` (command-line options) win over the environment.

    Raises ConfigurationError naming each variable that cannot work, never its value.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        said = dict.fromkeys(_explain(dict(e)) for e in error.errors())
        raise ConfigurationError("; ".join(said)) from None


def _explain(error: dict[str, object]) -> str:
    place = error["loc"]
    message = str(error["msg"]).removeprefix("Value error, ")
    if not isinstance(place, tuple) or not place:
        return message
    named = [str(part) for part in place if str(part).isalnum() or part == place[0]]  # no branch of a union
    return f"FANPULSE_{'.'.join(named).upper()}: {message}"
