"""Settings are checked at start, and the variable at fault is named without its value."""

import pytest
from pydantic import ValidationError

from stream.errors import ConfigurationError
from stream.settings import Settings, load


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("kafka_url", "localhost:9092", "FANPULSE_KAFKA_URL: must begin with kafka://"),
        ("redis_url", "http://u:s3cret@h", "FANPULSE_REDIS_URL: must begin with redis:// or rediss://"),
        ("triton_url", "http://h:8000", "FANPULSE_TRITON_URL: must begin with grpc:// or grpcs://"),
        ("redis_url", "redis://u:s3cret@h:port", "FANPULSE_REDIS_URL: must name host:port"),
        (
            "redis_url",
            "redis://h:1,i:2",
            "FANPULSE_REDIS_URL names several nodes, but FANPULSE_REDIS_CLUSTER",
        ),
        ("kafka_url", "kafka://h:9092,", "FANPULSE_KAFKA_URL: must name host:port"),
        (
            "kafka_ca_file",
            __file__,
            "FANPULSE_KAFKA_CA_FILE is set, but FANPULSE_KAFKA_SECURITY asks for no TLS",
        ),
        ("redis_ca_file", __file__, "FANPULSE_REDIS_CA_FILE is set, but FANPULSE_REDIS_URL asks for no TLS"),
        (
            "triton_ca_file",
            __file__,
            "FANPULSE_TRITON_CA_FILE is set, but FANPULSE_TRITON_URL asks for no TLS",
        ),
        ("redis_prefix", "a b", "FANPULSE_REDIS_PREFIX"),
        ("batch_records", 0, "FANPULSE_BATCH_RECORDS"),
        ("models", {}, "FANPULSE_MODELS names no model"),
        ("models", {"de": "x"}, "FANPULSE_MODELS"),
        ("pseudonym_key", "short", "FANPULSE_PSEUDONYM_KEY is shorter"),
        ("profile", "production", "FANPULSE_PSEUDONYM_KEY must be set in production"),
        ("kafka_security", "SASL_SSL", "FANPULSE_KAFKA_USERNAME and FANPULSE_KAFKA_PASSWORD"),
        ("kafka_ca_file", "no/such/file", "FANPULSE_KAFKA_CA_FILE"),
        ("board_proxies", ["10.0.0.0/33"], "FANPULSE_BOARD_PROXIES.0: Input is not a valid IPv4 network"),
    ],
)
def test_what_cannot_work_is_named(name: str, value: object, said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(**{name: value})
    assert said in str(error.value)
    assert "s3cret" not in str(error.value)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANPULSE_BATCH_RECORDS", "77")
    monkeypatch.setenv("FANPULSE_MODELS", '{"zh": "another"}')
    settings = load()
    assert (settings.batch_records, settings.models) == (77, {"zh": "another"})


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().group = "other"


def test_secrets_do_not_show() -> None:
    settings = load(redis_url="redis://user:s3cret@h:1/0", pseudonym_key="k" * 32)
    assert "s3cret" not in repr(settings)
    assert "kkkk" not in repr(settings)
