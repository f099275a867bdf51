"""Executions of Temporal workflows as traces, whichever worker reports them."""

from __future__ import annotations

import contextlib
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_kit import run, serving, stage
from temporalio.client import Client

# Not there with the lowest versions that the library works with: the exporter asks for newer ones.
pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanContext
from otlp_receiver import Collector, received
from temporalio.contrib.opentelemetry import TracingInterceptor

from statusbuilder.sinks.otel import OpenTelemetrySink


@pytest.fixture(scope="module")
def temporal() -> Iterator[str]:
    """A server for all tests of this module."""
    with serving() as target:
        yield target


def test_two_workers_without_a_cache_make_one_trace(temporal: str) -> None:
    """Workers that take turns, each with a sink of its own, make of each execution one trace, below its starter's span.

    What both of them export is equal, byte for byte.
    """
    collector = Collector()
    callers = TracerProvider()  # exported nowhere
    above: dict[str, SpanContext] = {}

    async def body() -> None:
        providers = [TracerProvider() for _ in range(2)]
        for provider in providers:
            exporter = OTLPSpanExporter(endpoint=collector.endpoint, insecure=True)
            provider.add_span_processor(SimpleSpanProcessor(exporter))
        queue, without_cache = f"q-{uuid.uuid4().hex[:12]}", {"max_cached_workflows": 0}
        tracer = callers.get_tracer("caller")
        client = await Client.connect(
            temporal, interceptors=[TracingInterceptor(tracer, always_create_workflow_spans=True)]
        )
        async with contextlib.AsyncExitStack() as stack:
            workers = [
                await stack.enter_async_context(
                    stage(
                        temporal,
                        [flows.Steps],
                        [flows.double],
                        client=await Client.connect(temporal),
                        sink=OpenTelemetrySink(provider),
                        queue=queue,
                        worker=without_cache,
                        reconcile=None,
                    )
                )
                for provider in providers
            ]
            handles = []
            for number in range(6):
                with tracer.start_as_current_span(f"request {number}") as span:
                    handle = await client.start_workflow(
                        flows.Steps.run, args=[4], id=workers[0].name(), task_queue=queue
                    )
                    above[handle.id] = span.get_span_context()
                handles.append(handle)
            for handle in handles:
                assert await handle.result() == {"total": 12}
        for provider in providers:
            provider.shutdown()

    run(body())
    collector.stop()
    by_execution: dict[str, list[Any]] = defaultdict(list)
    for span in received(collector):
        by_execution[_fact(span, "statusbuilder.execution.id")].append(span)
    assert set(by_execution) == set(above)
    for execution_id, spans in by_execution.items():
        _is_one_trace(spans, above[execution_id])


def _is_one_trace(spans: list[Any], above: SpanContext) -> None:
    by_id = {span.span_id: span for span in spans}
    assert {span.trace_id for span in spans} == {above.trace_id.to_bytes(16, "big")}
    assert sorted(span.name for span in by_id.values()) == ["double"] * 4 + ["workflow execution"]
    assert [span for span in spans if span.SerializeToString() != by_id[span.span_id].SerializeToString()] == []
    own = next(span for span in spans if span.name == "workflow execution")
    tasks = [span for span in by_id.values() if span is not own]
    assert {span.parent_span_id for span in tasks} == {own.span_id}
    assert {span.status.code for span in spans} == {1}
    assert all(own.start_time_unix_nano <= span.start_time_unix_nano for span in tasks)
    assert all(span.end_time_unix_nano <= own.end_time_unix_nano for span in tasks)


def _fact(span: Any, name: str) -> str:
    return next(str(fact.value.string_value) for fact in span.attributes if fact.key == name)
