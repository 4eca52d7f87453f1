"""Traces reach a real OTLP endpoint: a batch, linked to its records, with its stages and Triton's requests below."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiokafka import ConsumerRecord
from faust.types import TP
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from stream import tracing
from stream.positions import Batch
from tests.stream.deployment import Deployment, comment

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@dataclass
class Collector:
    """Takes what OTLP over HTTP brings."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list[Span]:
        return [
            span
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        return web.Response()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    collector.url = f"http://{host}:{port}/v1/traces"
    yield collector
    await runner.cleanup()


async def test_a_batch_is_a_trace_that_links_to_its_records(
    deployment: Deployment, collector: Collector
) -> None:
    header = [("traceparent", TRACEPARENT.encode())]
    for number, headers in enumerate((header, header, [("traceparent", b"\xff nonsense")], [])):
        value = comment(number, "今天怒，只说一次")
        await deployment.producer.send_and_wait(deployment.topic, value, partition=0, headers=headers)
    worker = await deployment.worker(traces_url=collector.url)
    await deployment.settled(4)
    assert await worker.stop() == 0  # and sends what it still has

    spans = collector.spans()
    batches = [span for span in spans if span.name == f"process {deployment.topic}"]
    links = {(link.trace_id.hex(), link.span_id.hex()) for batch in batches for link in batch.links}
    assert links == {(TRACE, PARENT)}
    batch = batches[0]
    below = {span.name: span for span in spans if span.parent_span_id == batch.span_id}
    assert below.keys() == {"decode", "score", "enrich", "settle"}
    request = next(span for span in spans if span.parent_span_id == below["score"].span_id)
    assert request.name.startswith("infer ")
    assert request.trace_id == batch.trace_id
    assert not any("只说一次".encode() in body for body in collector.bodies)


@given(st.lists(st.tuples(st.sampled_from(("traceparent", "tracestate", "b3")), st.none() | st.binary())))
@example([("traceparent", TRACEPARENT.encode()), ("tracestate", b"a=1,b=2")])
def test_no_header_stops_a_batch(headers: list[tuple[str, bytes | None]]) -> None:
    record = ConsumerRecord("t", 0, 0, 0, 0, None, b"", None, 0, 0, tuple(headers))
    with tracing.processing(Batch(TP("t", 0), 0, 1, [record], 0), "group"):
        pass


async def test_a_collector_that_is_away_costs_no_comment(deployment: Deployment) -> None:
    await deployment.send([comment(0)])
    worker = await deployment.worker(traces_url="http://127.0.0.1:1/v1/traces", drain_s=1)
    await deployment.settled(1)
    assert await worker.stop() == 0


async def test_a_replay_sends_its_trace_with_every_comment(
    deployment: Deployment, collector: Collector
) -> None:
    file = deployment.folder / "posts.csv"
    file.write_text("text,community\n今天好听,某团\n今天也好听,某团\n")
    replay = await deployment.worker(
        module=("stream", "replay", str(file), "--restamp"), traces_url=collector.url
    )
    assert await replay.process.wait() == 0
    [span] = collector.spans()
    assert span.name == f"send {deployment.topic}"
    expected = f"00-{span.trace_id.hex()}-{span.span_id.hex()}"
    records = await deployment.records()
    assert [dict(record.headers)["traceparent"].decode()[:-3] for record in records] == [expected] * 2
