"""The Faust application as the settings ask for it. It knows no agent and no other part of the worker."""

import tempfile
from pathlib import Path

import faust

from stream import connections
from stream.batches import BatchApp, Fences
from stream.settings import Settings


def faust_app(settings: Settings, fences: Fences) -> BatchApp:
    """The application, not yet started; `fences` says where an assigned partition is read from."""
    return BatchApp(
        settings.group,
        fences=fences,
        broker=settings.kafka_url.replace(",", ";kafka://"),
        broker_credentials=_credentials(settings),
        broker_session_timeout=settings.kafka_session_timeout_s,
        broker_heartbeat_interval=settings.kafka_session_timeout_s / 5,
        # Faust also bounds the seek after an assignment by this, and that waits for Redis.
        broker_request_timeout=settings.give_up_after_s + settings.kafka_session_timeout_s,
        broker_commit_interval=1.0,
        broker_max_poll_records=settings.batch_records,
        stream_buffer_maxsize=2,  # batches, per partition
        store="memory://",
        datadir=Path(tempfile.gettempdir()) / "fanpulse-faust",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )


def _credentials(settings: Settings) -> faust.SSLCredentials | faust.SASLCredentials | None:
    context = connections.kafka_ssl_context(settings)
    if settings.kafka_security.startswith("SASL") and settings.kafka_password:
        return faust.SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context else None
