"""Traces and metrics over OTLP, from OpenTelemetry's own exporter to a real receiver."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_values import PATIENCE, Clock, seconds

from statusbuilder import Delivery, StatusBuilder, TaskStatus
from statusbuilder.sinks import MemorySink
from statusbuilder.sinks.otel import OpenTelemetrySink, observe

# Not there with the lowest versions that the library works with: the exporter asks for newer ones.
pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


class Collector(grpc.GenericRpcHandler):
    """A receiver of OTLP over gRPC."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self._server = grpc.server(ThreadPoolExecutor(2), handlers=[self])
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        traces, metrics = trace_service_pb2, metrics_service_pb2
        known = {
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export": (
                traces.ExportTraceServiceRequest,
                traces.ExportTraceServiceResponse,
                self.spans,
            ),
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": (
                metrics.ExportMetricsServiceRequest,
                metrics.ExportMetricsServiceResponse,
                self.metrics,
            ),
        }
        if details.method not in known:
            return None
        request, response, received = known[details.method]

        def export(message: Any, context: grpc.ServicerContext) -> Any:
            received.append(message)
            return response()

        return grpc.unary_unary_rpc_method_handler(
            export, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )

    def stop(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


def test_spans_reach_a_real_receiver(collector: Collector) -> None:
    """Through OpenTelemetry's own exporter a receiver gets the spans with times, parents, links and errors."""
    provider, clock = TracerProvider(), Clock()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=collector.endpoint, insecure=True)))
    with StatusBuilder("wex_1", sinks=[OpenTelemetrySink(provider, clock=clock)], clock=clock) as status:
        status.add_task("a", status=TaskStatus.IN_PROGRESS)
        clock.seconds = 2
        status.update_task_status("a", TaskStatus.FAILED, "no answer")
        with status.task("a"):
            clock.seconds = 3
    assert provider.force_flush()
    provider.shutdown()
    received = [
        span
        for message in collector.spans
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    first, second, execution = received
    nanos = [(span.start_time_unix_nano, span.end_time_unix_nano) for span in received]
    assert [(seconds(begin), seconds(end)) for begin, end in nanos] == [(0, 2), (2, 3), (0, 3)]
    assert {first.parent_span_id, second.parent_span_id} == {execution.span_id}
    assert (first.status.code, first.status.message) == (2, "no answer")
    assert second.links[0].span_id == first.span_id


def test_metrics_reach_a_real_receiver(collector: Collector) -> None:
    """Through OpenTelemetry's own exporter a receiver gets what the delivery counted."""
    exporter = OTLPMetricExporter(endpoint=collector.endpoint, insecure=True)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))])
    with Delivery(MemorySink()) as delivery:
        observe(delivery, provider)
        with StatusBuilder("wex_1", sinks=[delivery], close_timeout=PATIENCE):
            pass
        assert provider.force_flush()
    provider.shutdown()
    metrics = [
        metric
        for message in collector.metrics
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    sent = next(metric for metric in metrics if metric.name == "statusbuilder.delivery.sent")
    assert sent.sum.is_monotonic
    assert sent.sum.data_points[0].as_int == delivery.stats().sent
