"""OpenTelemetry spans: one per batch, linked to the traces that its records came with, its stages below it.

Off until `start`; what is traced and how much is set by OpenTelemetry's own variables (OTEL_TRACES_SAMPLER, …). A span
never holds a comment's text.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice

from aiokafka import ConsumerRecord
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from stream.positions import Batch
from stream.settings import Settings

LINKS = 128  # of one span: what the SDK keeps by default

_tracer = trace.get_tracer("fanpulse")
_w3c = TraceContextTextMapPropagator()


def start(settings: Settings) -> Callable[[], None]:
    """Send spans to `traces_url` from now on; return what ends that and sends the rest."""
    if not settings.traces_url:
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "fanpulse"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.traces_url)))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def processing(batch: Batch, group: str) -> AbstractContextManager[Span]:
    """The span of one batch. Names: OpenTelemetry's semantic conventions for messaging and Kafka."""
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": batch.tp.topic,
        "messaging.destination.partition.id": str(batch.tp.partition),
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": len(batch.records),
        "messaging.kafka.offset": batch.position,
    }
    return _tracer.start_as_current_span(
        f"process {batch.tp.topic}",
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        links=list(islice(_links(batch.records), LINKS)),
    )


def stage(name: str) -> AbstractContextManager[Span]:
    """The span of one step within the current one."""
    return _tracer.start_as_current_span(name)


def asking(model: str, texts: int) -> AbstractContextManager[Span]:
    """The span of one request to Triton."""
    attributes: dict[str, str | int] = {"rpc.system": "grpc", "server.model": model, "server.texts": texts}
    return _tracer.start_as_current_span(f"infer {model}", kind=SpanKind.CLIENT, attributes=attributes)


def sending(topic: str) -> AbstractContextManager[Span]:
    """The span under which records are written to `topic`."""
    return _tracer.start_as_current_span(
        f"send {topic}",
        kind=SpanKind.PRODUCER,
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.operation.name": "send",
            "messaging.destination.name": topic,
        },
    )


def headers() -> dict[str, str]:
    """The current span for whoever is called, as W3C Trace Context says it; empty while tracing is off."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier


def record_headers() -> Sequence[tuple[str, bytes]]:
    """The same as headers of a Kafka record."""
    return [(name, value.encode()) for name, value in headers().items()]


def _links(records: Iterable[ConsumerRecord]) -> Iterator[Link]:
    """The spans that the records were sent under; each once, for a producer may send many under one."""
    seen = set()
    for record in records:
        if not record.headers:
            continue
        carrier = {name: value.decode(errors="replace") for name, value in record.headers if value}
        sent_under = trace.get_current_span(_w3c.extract(carrier)).get_span_context()
        name = sent_under.trace_id, sent_under.span_id
        if sent_under.is_valid and name not in seen:
            seen.add(name)
            yield Link(sent_under)
