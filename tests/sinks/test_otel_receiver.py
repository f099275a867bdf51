"""Traces and metrics over OTLP, from OpenTelemetry's own exporter to a real receiver."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
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
from otlp_receiver import Collector, received


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
    spans = received(collector)
    first, second, execution = spans
    nanos = [(span.start_time_unix_nano, span.end_time_unix_nano) for span in spans]
    assert [(seconds(begin), seconds(end)) for begin, end in nanos] == [(0, 2), (2, 3), (0, 3)]
    assert {first.parent_span_id, second.parent_span_id} == {execution.span_id}
    assert (first.status.code, first.status.message) == (2, "no answer")
    assert second.links[0].span_id == first.span_id


def _linked(span: Any) -> list[bytes]:
    return [link.span_id for link in span.links]


def told(spans: list[Any]) -> set[tuple[Any, ...]]:
    """What spans say, short of the epoch and revision of who exported them."""
    facts = ("name", "trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano")
    return {
        (
            *(getattr(span, fact) for fact in facts),
            span.status.SerializeToString(),
            *(one.span_id for one in span.links),
        )
        for span in spans
    }


@pytest.mark.parametrize("how", ["behind a delivery", "suspended and resumed", "from its last state"])
def test_an_execution_is_the_same_spans_however_it_is_reported(collector: Collector, how: str) -> None:
    """Spans, parents, ids and times are those of the same execution reported inline, and the snapshot's own."""

    def sink(provider: TracerProvider) -> OpenTelemetrySink:
        return OpenTelemetrySink(provider, clock=clock, parent=Context())

    def first(status: StatusBuilder) -> None:
        status.add_task("a", status=TaskStatus.IN_PROGRESS)
        clock.seconds = 1
        status.update_task_status("a", TaskStatus.FAILED, "ValueError: no answer")
        status.update_task_status("a", TaskStatus.IN_PROGRESS)
        clock.seconds = 2
        status.update_task_status("a", TaskStatus.COMPLETED)
        status.add_task("b", status=TaskStatus.IN_PROGRESS, parent_id="a")

    def second(status: StatusBuilder) -> None:
        clock.seconds = 3
        status.update_task_status("b", TaskStatus.COMPLETED)
        status.add_task("c", status=TaskStatus.SKIPPED)

    reports = []
    for mode in ("inline", how):
        clock, provider = Clock(), TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=collector.endpoint, insecure=True)))
        one: Any = sink(provider)
        given = {"behind a delivery": [Delivery(one)], "from its last state": []}.get(mode, [one])
        options: dict[str, Any] = {"clock": clock, "close_timeout": PATIENCE}
        with StatusBuilder("wex_1", sinks=given, **options) as status:
            first(status)
            if mode == "suspended and resumed":
                status.suspend()
            else:
                second(status)
        if mode == "suspended and resumed":
            other, clock.seconds = sink(provider), 2.5
            with StatusBuilder("wex_1", sinks=[other], initial=status.snapshot(), **options) as status:
                second(status)
        elif mode == "from its last state":
            one.send(status.snapshot())
        for delivery in given:
            delivery.close(PATIENCE)
        provider.shutdown()
        reports.append(told(received(collector)))
        times = {
            (span.name, seconds(span.start_time_unix_nano), seconds(span.end_time_unix_nano))
            for span in received(collector)
        }
        collector.spans.clear()
        assert times == {("a", 0, 1), ("a", 1, 2), ("b", 2, 3), ("workflow execution", 0, 3)}
    assert len(reports[0]) == 4
    assert reports[0] == reports[1]


def test_no_span_is_lost_behind_a_delivery(collector: Collector) -> None:
    """A snapshot with more ended tasks than a processor's queue holds arrives whole."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=collector.endpoint, insecure=True)))
    with Delivery(OpenTelemetrySink(provider)) as delivery:
        with StatusBuilder("wex_1", sinks=[delivery], close_timeout=PATIENCE) as status:
            for number in range(5_000):
                status.add_task(f"t{number}", status=TaskStatus.COMPLETED)
        assert delivery.flush(PATIENCE)
    assert provider.force_flush()
    provider.shutdown()
    assert len({span.span_id for span in received(collector)}) == 5_001


LIFE = """
import os, sys
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from statusbuilder import Snapshot, StatusBuilder
from statusbuilder.sinks.otel import OpenTelemetrySink

endpoint, path = sys.argv[1:]
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True)))
sink = OpenTelemetrySink(provider)
if not os.path.exists(path):
    status = StatusBuilder("wex_1", sinks=[sink])
    with status.task("first"):
        pass
    status.add_task("second", status="IN_PROGRESS")
    with open(path, "w") as file:
        file.write(status.snapshot().to_json())
    os.kill(os.getpid(), 9)
initial = Snapshot.from_dict(__import__("json").load(open(path)))
with StatusBuilder("wex_1", sinks=[sink], initial=initial, restart=True) as status:
    with status.task("second"):
        pass
provider.shutdown()
"""


def test_after_a_kill_the_next_process_goes_on_with_the_trace(collector: Collector, tmp_path: Path) -> None:
    """Of an execution that was killed and begun again there is one trace, no orphan and no duplicate."""
    command = [sys.executable, "-c", LIFE, collector.endpoint, str(tmp_path / "snapshot.json")]
    lives = [subprocess.run(command, capture_output=True, text=True, timeout=60) for _ in range(2)]
    assert [life.returncode for life in lives] == [-9, 0], lives[1].stderr
    spans = received(collector)
    assert len({span.trace_id for span in spans}) == 1
    assert sorted(span.name for span in spans) == ["first", "second", "second", "workflow execution"]
    own = next(span for span in spans if span.name == "workflow execution")
    assert {span.parent_span_id for span in spans if span is not own} == {own.span_id}
    assert len({span.span_id for span in spans}) == 4
    interrupted = next(span for span in spans if span.status.code == 2)
    assert interrupted.status.message == "interrupted by a restart"


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
