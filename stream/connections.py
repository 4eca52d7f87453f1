"""How to reach Kafka and Redis, from the settings: addresses, TLS and credentials in one place."""

import ssl
from typing import Any, TypeAlias

import redis.asyncio as redis
from aiokafka.helpers import create_ssl_context
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from stream.cluster import Cluster
from stream.settings import Settings

RedisClient: TypeAlias = "redis.Redis | RedisCluster"

DEFAULT_PORT = 6379

REDIS_ERRORS = (RedisError, RedisClusterException, OSError)
"""What a Redis client raises when Redis cannot be used; the cluster client's own exception is no RedisError."""


def connect_redis(settings: Settings) -> RedisClient:
    """A Redis client, not yet connected. Callers retry: they know what a repeat means and how long to wait.

    A cluster's client tries once more at once, for that is when it asks who its masters are now. Its own ten
    attempts without a pause would load the event loop just when a failover has given everyone more to do.
    """
    options: dict[str, Any] = {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "protocol": 3,
        "driver_info": None,  # CLIENT SETINFO would be one more right for the Redis user
    }
    if settings.redis_ca_file:
        options["ssl_ca_certs"] = str(settings.redis_ca_file)
    url = settings.redis_url.get_secret_value()
    if settings.redis_cluster:
        first, others = _nodes(url)
        return Cluster.from_url(first, startup_nodes=others, retry=Retry(NoBackoff(), 1), **options)
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)


def _nodes(url: str) -> tuple[str, list[ClusterNode]]:
    """The URL with its first node alone, and the nodes after it: a client gets in by any that lives."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    login, at, nodes = place.rpartition("@")
    first, *others = nodes.split(",")
    places = [parse_url(f"{scheme}://{node}") for node in others]
    found = [ClusterNode(one["host"], one.get("port", DEFAULT_PORT)) for one in places]
    return f"{scheme}://{login}{at}{first}{slash}{path}", found


def kafka_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of every aiokafka client."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_url.removeprefix("kafka://"),
        "security_protocol": settings.kafka_security,
    }
    if (context := kafka_ssl_context(settings)) is not None:
        options["ssl_context"] = context
    if settings.kafka_security.startswith("SASL") and settings.kafka_password:
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return options


def kafka_ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context for Kafka, or None where the settings ask for none."""
    if not settings.kafka_security.endswith("SSL"):
        return None
    context: ssl.SSLContext = create_ssl_context(
        cafile=settings.kafka_ca_file, certfile=settings.kafka_cert_file, keyfile=settings.kafka_key_file
    )
    return context
