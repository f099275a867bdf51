"""What only the server knows of a workflow's activities, and what a tracing interceptor told of its start."""

from __future__ import annotations

import temporal_workflows as flows
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporal_kit import Shelf, run, stage
from temporalio.client import Client
from temporalio.contrib.opentelemetry import TracingInterceptor

from statusbuilder.delivery import Delivery
from statusbuilder.sinks.otel import OpenTelemetrySink

pytest_plugins = ["temporal_server"]


def test_an_activity_that_nobody_takes_says_so(temporal: str) -> None:
    """A task waits for a worker of its queue, as the server's description tells, and no event tells of it."""

    async def body() -> None:
        async with stage(temporal, [flows.Elsewhere], progress_interval=0.1) as at:
            handle = await at.start(flows.Elsewhere.run, "nobody-here")
            waiting = await at.shelf.until(lambda one: bool(one.tasks) and "waiting_for" in one.tasks[0].metadata)
            assert waiting.tasks[0].metadata["waiting_for"] == "a worker of queue nobody-here"
            await handle.terminate()

    run(body())


def test_a_run_belongs_to_the_trace_that_started_it(temporal: str) -> None:
    """The spans of an execution hang below the context that a tracing interceptor put into the run's header."""

    async def body() -> None:
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracing = TracingInterceptor(provider.get_tracer("test"))
        client = await Client.connect(temporal, interceptors=[tracing])
        shelf = Shelf()
        with Delivery(OpenTelemetrySink(provider)) as traced:
            async with stage(temporal, [flows.Steps], [flows.double], client=client, sink=[traced, shelf]) as at:
                handle = await at.start(flows.Steps.run, 2)
                await handle.result()
                await shelf.end(handle.id)
        spans = {span.name: span for span in exporter.get_finished_spans()}
        started = spans["StartWorkflow:Steps"].context
        own = [
            span for span in exporter.get_finished_spans() if (span.attributes or {}).get("statusbuilder.execution.id")
        ]
        assert started is not None
        assert len(own) == 3
        assert {span.context.trace_id for span in own if span.context} == {started.trace_id}
        assert started.span_id in {span.parent.span_id for span in own if span.parent}

    run(body())
