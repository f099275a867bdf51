"""Traces and metrics through OpenTelemetry, in memory."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import attrs
import pytest
from memory import living
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from otel_values import PATIENCE, Clock, at, seconds
from spool_kit import until

from statusbuilder import (
    AgentStatusBuilder,
    Delivery,
    ExecutionPhase,
    Snapshot,
    StatusBuilder,
    Task,
    TaskStatus,
    TaskType,
)
from statusbuilder.core.model.times import format_time
from statusbuilder.sinks import MemorySink
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.sinks.otel import OpenTelemetrySink, observe
from statusbuilder.testing import check_sink


@attrs.define
class Traces:
    """A tracer provider, and what its spans became."""

    exporter: InMemorySpanExporter = attrs.Factory(InMemorySpanExporter)
    provider: TracerProvider = attrs.Factory(TracerProvider)
    clock: Clock = attrs.Factory(Clock)

    def __attrs_post_init__(self) -> None:
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def sink(self, **options: Any) -> OpenTelemetrySink:
        return OpenTelemetrySink(self.provider, clock=self.clock, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def times(self, name: str) -> list[tuple[float, float]]:
        """When the spans of this name began and ended, in seconds after `START`."""
        return [(seconds(span.start_time), seconds(span.end_time)) for span in self.spans if span.name == name]


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.provider.shutdown()


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def parent_id(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def test_an_execution_and_its_tasks_become_spans_with_their_own_times(traces: Traces) -> None:
    """The span of each task lies in that of the execution, with the snapshot's times, ids, statuses and kinds."""
    clock = traces.clock
    status = StatusBuilder("wex_1", sinks=[traces.sink()], clock=clock, temporal_workflow_id="wf-7")
    status.update_status(ExecutionPhase.IN_PROGRESS)
    clock.seconds = 1
    status.add_task("fetch", "Fetch the orders", TaskStatus.IN_PROGRESS, task_type=TaskType.API_CALL)
    clock.seconds = 3
    status.update_task_status("fetch", TaskStatus.COMPLETED, output={"rows": 2})
    clock.seconds = 4
    status.update_status(ExecutionPhase.COMPLETED)

    task, execution = traces.spans
    assert (task.name, execution.name) == ("Fetch the orders", "workflow execution")
    assert traces.times("Fetch the orders") == [(1, 3)]
    assert traces.times("workflow execution") == [(0, 4)]
    assert parent_id(task) == span_id(execution)
    assert execution.parent is None
    assert dict(task.attributes or {}) == {
        "statusbuilder.execution.id": "wex_1",
        "statusbuilder.attempt": 1,
        "statusbuilder.task.id": "fetch",
        "statusbuilder.task.name": "Fetch the orders",
        "statusbuilder.task.type": "API_CALL",
        "statusbuilder.task.status": "COMPLETED",
    }
    snapshot = status.snapshot()
    assert dict(execution.attributes or {}) == {
        "statusbuilder.execution.id": "wex_1",
        "statusbuilder.execution.phase": "COMPLETED",
        "statusbuilder.execution.epoch": snapshot.epoch,
        "statusbuilder.execution.revision": snapshot.revision,
        "statusbuilder.tasks.total": 1,
        "statusbuilder.tasks.failed": 0,
        "temporalWorkflowID": "wf-7",
    }
    assert {task.status.status_code, execution.status.status_code} == {StatusCode.OK}
    assert {task.kind, execution.kind} == {SpanKind.INTERNAL}


def test_failures_are_errors_with_their_text(traces: Traces) -> None:
    """FAILED is ERROR with the error and its class; what was cancelled is unset; what was open fails, too."""
    status = StatusBuilder("wex_1", sinks=[traces.sink()], clock=traces.clock)
    status.add_task("a", status=TaskStatus.IN_PROGRESS)
    status.add_task("b", status=TaskStatus.IN_PROGRESS)
    status.update_task_status("b", TaskStatus.FAILED, "cancelled", metadata={"cancelled": True})
    traces.clock.seconds = 2
    status.with_error(TimeoutError("out of paper"))

    a, b, execution = traces.named("a"), traces.named("b"), traces.named("workflow execution")
    assert (execution.status.status_code, execution.status.description) == (
        StatusCode.ERROR,
        "TimeoutError: out of paper",
    )
    assert a.status.description == "the execution ended before this task finished"
    types = [(span.attributes or {}).get("error.type") for span in (a, b, execution)]
    assert types == ["_OTHER", None, "TimeoutError"]
    assert b.status.status_code is StatusCode.UNSET
    assert (execution.attributes or {})["statusbuilder.tasks.failed"] == 2
    assert traces.times("a") == [(0, 2)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Exception("boom"), "Exception"),
        (type("Error", (Exception,), {})("boom"), "Error"),
        (BlockingIOError(1, "x"), "BlockingIOError"),
        (StopIteration(), "StopIteration"),
        ("Errors were found: 3", "_OTHER"),
        ("no Error: here", "_OTHER"),
    ],
)
def test_the_type_of_an_error_is_what_its_text_begins_with(
    traces: Traces, error: str | BaseException, kind: str
) -> None:
    """It is the exception's class; a sentence is none."""
    StatusBuilder("wex_1", sinks=[traces.sink()]).with_error(error)
    assert (traces.named("workflow execution").attributes or {})["error.type"] == kind


def test_what_is_open_as_the_sink_closes_is_exported_unless_somebody_goes_on(traces: Traces) -> None:
    """A builder that was dropped is nobody's any more, one that was closed may go on elsewhere; skips are told, too."""
    sink = traces.sink()
    dropped, closed = (StatusBuilder(name, sinks=[sink]) for name in ("wex_dropped", "wex_closed"))
    for status in (dropped, closed):
        status.add_task("a", status=TaskStatus.IN_PROGRESS)
        status.add_task("b", status=TaskStatus.SKIPPED)
    closed.close()
    del dropped, closed, status
    gc.collect()
    sink.close()
    execution = traces.named("workflow execution")
    assert (execution.attributes or {})["statusbuilder.execution.id"] == "wex_dropped"
    assert execution.status.status_code is StatusCode.UNSET
    assert [event.name for event in execution.events] == ["task skipped"]
    assert traces.named("a").status.status_code is StatusCode.UNSET


def test_a_sink_that_is_dropped_leaves_no_hook_behind() -> None:
    """What closes a sink at exit goes with it."""
    before = living("partial")
    for _ in range(20):
        OpenTelemetrySink()
    assert living("partial") < before + 20


def test_skipped_and_cancelled_are_no_errors(traces: Traces) -> None:
    """What a cancelling ends has an unset status; a task that was skipped before it began is an event."""
    status = StatusBuilder("wex_1", sinks=[traces.sink()], clock=traces.clock)
    status.add_task("now", status=TaskStatus.IN_PROGRESS)
    status.add_task("later")
    assert traces.spans == ()
    traces.clock.seconds = 5
    status.update_status(ExecutionPhase.CANCELLED)
    assert [span.name for span in traces.spans] == ["now", "workflow execution"]
    assert {span.status.status_code for span in traces.spans} == {StatusCode.UNSET}
    (event,) = traces.named("workflow execution").events
    assert (event.name, dict(event.attributes or {})["statusbuilder.task.id"]) == ("task skipped", "later")
    assert seconds(event.timestamp) == 5


def test_a_retry_is_a_span_of_its_own_linked_to_the_attempt_before(traces: Traces) -> None:
    """Each attempt has its own begin, end and status; the later one links to the earlier."""
    clock = traces.clock
    status = StatusBuilder("wex_1", sinks=[traces.sink()], clock=clock)
    status.add_task("a", status=TaskStatus.IN_PROGRESS)
    clock.seconds = 1
    status.update_task_status("a", TaskStatus.FAILED, "no answer")
    clock.seconds = 5
    status.update_task_status("a", TaskStatus.IN_PROGRESS)
    clock.seconds = 6
    status.update_task_status("a", TaskStatus.COMPLETED)
    status.update_task_status("a", TaskStatus.COMPLETED, "all good")  # no new span
    status.update_status(ExecutionPhase.COMPLETED)

    first, second, _ = traces.spans
    assert traces.times("a") == [(0, 1), (5, 6)]
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.OK)
    assert [(span.attributes or {})["statusbuilder.attempt"] for span in (first, second)] == [1, 2]
    assert not first.links
    (link,) = second.links
    assert first.context is not None
    assert (link.context.trace_id, link.context.span_id) == (first.context.trace_id, first.context.span_id)
    assert dict(link.attributes or {}) == {"statusbuilder.link": "previous attempt"}


def test_tool_calls_and_sub_agents_are_children_of_their_parent(traces: Traces) -> None:
    """Spans of agents nest as the calls do, under the names of OpenTelemetry's conventions for them."""
    with AgentStatusBuilder("aex_1", sinks=[traces.sink()]) as status:
        status.start_sub_agent("s", "researcher")
        status.start_tool_call("t1", "search", {"q": "x"}, parent_id="s")
        status.start_tool_call("t2", "read", parent_id="s")
        status.update_task_status("t1", TaskStatus.COMPLETED, output="found")
        status.update_task_status("s", TaskStatus.COMPLETED, output="done")
        status.start_tool_call("t3", "late", parent_id="s")

    agent, execution = traces.named("invoke_agent researcher"), traces.named("agent execution")
    tools = [traces.named(f"execute_tool {name}") for name in ("search", "read", "late")]
    assert {parent_id(tool) for tool in tools} == {span_id(agent)}
    assert parent_id(agent) == span_id(execution)
    facts = tools[0].attributes or {}
    assert (facts["gen_ai.operation.name"], facts["gen_ai.tool.name"], facts["gen_ai.tool.call.id"]) == (
        "execute_tool",
        "search",
        "t1",
    )
    assert (agent.attributes or {})["gen_ai.agent.name"] == "researcher"
    assert not any("found" in str(span.attributes) for span in traces.spans)


def whole(*tasks: Task, **more: Any) -> Snapshot:
    return Snapshot("wex_1", 5, 9, ExecutionPhase.COMPLETED, tasks, started_at=at(0), completed_at=at(9), **more)


def done(task_id: str, begin: float, end: float, revision: int = 9, **metadata: Any) -> Task:
    status = TaskStatus.COMPLETED
    return Task(
        task_id,
        task_id,
        status=status,
        metadata=metadata,  # type: ignore[arg-type]
        started_at=at(begin),
        completed_at=at(end),
        revision=revision,
    )


def test_one_last_snapshot_is_enough(traces: Traces) -> None:
    """From a snapshot that skipped everything in between come all spans, also where a child is listed first."""
    sink = traces.sink()
    sink.send(whole(done("child", 2, 3, parent_id="top"), done("top", 1, 4), done("odd", 1, 2, parent_id=["top"])))
    assert traces.times("child") == [(2, 3)]
    assert parent_id(traces.named("child")) == span_id(traces.named("top"))
    assert parent_id(traces.named("odd")) == span_id(traces.named("workflow execution"))


def test_a_task_that_nobody_ended_ends_with_its_execution(traces: Traces) -> None:
    """A backend's snapshot may have ended with a task that still runs."""
    traces.sink().send(whole(Task("a", "a", status=TaskStatus.IN_PROGRESS, started_at=at(1), revision=9)))
    assert traces.named("a").status.status_code is StatusCode.UNSET
    assert seconds(traces.named("a").end_time) == 9


def test_parents_that_name_each_other_end(traces: Traces) -> None:
    """A circle of parents is no endless loop."""
    traces.sink().send(whole(done("a", 1, 2, parent_id="b"), done("b", 1, 2, parent_id="a")))
    assert {span.name for span in traces.spans} == {"a", "b", "workflow execution"}


def test_attempts_that_nobody_saw_have_spans(traces: Traces) -> None:
    """From one last snapshot come all attempts that it tells of, each with its times, and linked."""
    at_ = lambda second: format_time(at(second))  # noqa: E731
    attempts = [
        {"number": 1, "started_at": at_(1), "completed_at": at_(2), "status": "FAILED", "error": "OSError: no answer"},
        {"number": 2, "started_at": at_(4)},
    ]
    traces.sink().send(whole(done("a", 1, 7, attempts=attempts, retry_count=1)))
    assert traces.times("a") == [(1, 2), (4, 7)]
    first, second = traces.spans[:2]
    assert [first.status.description, second.status.status_code] == ["OSError: no answer", StatusCode.OK]
    assert second.links[0].context.span_id == span_id(first)


def test_another_builder_goes_on_with_the_spans_that_are_open(traces: Traces) -> None:
    """In one process an execution that goes on keeps its span, and nothing is reported twice."""
    sink, clock = traces.sink(), traces.clock
    with StatusBuilder("wex_1", sinks=[sink], clock=clock) as status:
        status.add_task("a", status=TaskStatus.IN_PROGRESS)
        status.update_task_status("a", TaskStatus.COMPLETED)
        status.suspend()
    assert [span.name for span in traces.spans] == ["a"]
    clock.seconds = 60
    with StatusBuilder("wex_1", sinks=[sink], clock=clock, initial=status.snapshot()) as status:
        status.add_task("b", status=TaskStatus.COMPLETED)
    assert [span.name for span in traces.spans] == ["a", "b", "workflow execution"]
    assert traces.times("workflow execution") == [(0, 60)]


def test_a_process_that_goes_on_reports_only_its_own_part(traces: Traces) -> None:
    """Tasks that another process finished have no second span; the execution's own begins where it began."""
    earlier = Clock()
    with StatusBuilder("wex_1", clock=earlier) as status:
        status.add_task("a", status=TaskStatus.COMPLETED)
        status.add_task("b", status=TaskStatus.IN_PROGRESS)
        earlier.seconds = 2
        status.suspend()
    clock = traces.clock
    clock.seconds = 60
    builder = StatusBuilder("wex_1", sinks=[traces.sink()], clock=clock, initial=status.snapshot(), restart=True)
    with builder, builder.task("b"):
        clock.seconds = 63
    assert {span.name for span in traces.spans} == {"b", "workflow execution"}
    assert traces.times("workflow execution") == [(0, 63)]
    assert traces.times("b")[-1] == (60, 63)


def test_a_restart_after_the_end_links_to_the_attempt_before(traces: Traces) -> None:
    """A new attempt at an execution that has ended is a new span, with a link to the old one."""
    sink, clock = traces.sink(), traces.clock
    status = StatusBuilder("wex_1", sinks=[sink], clock=clock).with_error("out of paper")
    clock.seconds = 9
    with StatusBuilder("wex_1", sinks=[sink], clock=clock, initial=status.snapshot(), restart=True):
        clock.seconds = 10
    first, second = traces.spans
    assert [(round(begin), round(end)) for begin, end in traces.times("workflow execution")] == [(0, 0), (9, 10)]
    assert [link.context.span_id for link in second.links] == [span_id(first)] != [span_id(second)]
    assert trace_id(first) == trace_id(second)


def test_the_same_end_twice_is_one_span(traces: Traces) -> None:
    """A delivery may send the last snapshot once more, also under a later epoch."""
    sink, last = traces.sink(), whole(done("a", 1, 2))
    for snapshot in (last, last, attrs.evolve(last, epoch=99)):
        sink.send(snapshot)
    assert len(traces.spans) == 2


def test_a_state_that_comes_after_the_end_is_no_new_beginning(traces: Traces) -> None:
    """Where two of a worker's runs of one execution report it, an older state may come last, and makes no span."""
    sink, states = traces.sink(), MemorySink()
    with StatusBuilder("wex_1", sinks=[states], clock=traces.clock) as status, status.task("a"):
        pass
    for snapshot in (states.snapshots[-1], *states.snapshots[:-1]):
        sink.send(snapshot)
    sink.close()
    assert [span.name for span in traces.spans] == ["a", "workflow execution"]


def test_an_execution_that_begins_from_nothing_under_a_known_id_is_another_one(traces: Traces) -> None:
    """A builder that knows nothing of the open execution has spans of its own; the old ones end."""
    sink, clock = traces.sink(), traces.clock
    for seconds_ in (0, 5):
        clock.seconds = seconds_
        status = StatusBuilder("wex_1", sinks=[sink], clock=clock)
        status.add_task("a", status=TaskStatus.IN_PROGRESS)
    status.update_status(ExecutionPhase.FAILED)
    assert len({trace_id(span) for span in traces.spans if span.name == "workflow execution"}) == 2
    assert [span.status.status_code for span in traces.spans[:2]] == [StatusCode.UNSET] * 2


def test_another_beginning_that_only_snapshots_tell_of_has_each_span_once(traces: Traces) -> None:
    """Where no builder was made here, a snapshot of another beginning ends the old one, and is followed on."""
    sink, last = traces.sink(), whole(done("a", 5, 6), done("b", 5, 7))
    earlier = Snapshot("wex_1", 4, 1, ExecutionPhase.IN_PROGRESS, started_at=at(-9))
    for snapshot in (earlier, attrs.evolve(earlier, epoch=5, started_at=at(0), tasks=last.tasks[:1]), last):
        sink.send(snapshot)
    assert [span.name for span in traces.spans] == ["workflow execution", "a", "b", "workflow execution"]


def test_spans_belong_to_the_runners_own_trace(traces: Traces) -> None:
    """Inline, an execution is part of the trace of the span that is current; `parent` says otherwise."""
    tracer = traces.provider.get_tracer("runner")
    remote = Context()
    with tracer.start_as_current_span("request") as request:
        for number, options in enumerate(({}, {"parent": remote}, {"parent": lambda snapshot: Context()})):
            with StatusBuilder(f"wex_{number}", sinks=[traces.sink(**options)]):
                pass
    inside, *outside = (span for span in traces.spans if span.name == "workflow execution")
    assert parent_id(inside) == request.get_span_context().span_id
    assert [span.parent for span in outside] == [None, None]


def test_behind_a_delivery_the_last_state_has_its_spans(traces: Traces) -> None:
    """The sink may stand behind a delivery, which skips what it likes but not the end, and closes it."""
    sink = traces.sink()
    with Delivery(sink, min_interval=0.01) as delivery:
        for number in range(20):
            with StatusBuilder(f"wex_{number}", sinks=[delivery], close_timeout=PATIENCE) as status:
                for task in range(3):
                    status.add_task(f"t{task}", status=TaskStatus.IN_PROGRESS)
                    status.update_task_status(f"t{task}", TaskStatus.COMPLETED)
        opened = [StatusBuilder(f"open_{number}", sinks=[delivery]) for number in range(2)]
        for status in opened:
            status.add_task("t", status=TaskStatus.IN_PROGRESS)
            assert status.flush(PATIENCE)
        opened[0].close()  # somebody else goes on with it
        assert len(traces.spans) == 80
    assert {str((span.attributes or {})["statusbuilder.execution.id"]) for span in traces.spans[80:]} == {"open_1"}
    assert len(traces.spans) == 82
    opened[1].close()


def test_it_is_a_sink_in_every_respect(traces: Traces) -> None:
    """It passes what any sink has to."""
    check_sink(traces.sink())


def test_what_is_exported_twice_is_equal() -> None:
    """Two processes that report one execution, as two Temporal workers do, make the same trace of the same spans."""
    reports = []
    for _ in range(2):
        traces = Traces()
        snapshot = whole(done("top", 1, 4), done("child", 2, 3, parent_id="top"))
        traces.sink().send(snapshot)
        reports.append(
            {(span.name, trace_id(span), span_id(span), parent_id(span), span.start_time) for span in traces.spans}
        )
        traces.provider.shutdown()
    assert reports[0] == reports[1]
    assert len(reports[0]) == 3


def test_a_run_that_goes_on_elsewhere_is_one_trace() -> None:
    """What a suspended run's process exported is below the span that the next process exports."""
    first, second = Traces(), Traces()
    second.clock.seconds = 2
    with StatusBuilder("wex_1", sinks=[first.sink()], clock=first.clock) as status:
        status.add_task("a", status=TaskStatus.IN_PROGRESS)
        first.clock.seconds = 1
        status.update_task_status("a", TaskStatus.COMPLETED)
        status.suspend()
    with StatusBuilder("wex_1", sinks=[second.sink()], clock=second.clock, initial=status.snapshot()) as status:
        status.add_task("b", status=TaskStatus.IN_PROGRESS)
        status.update_task_status("b", TaskStatus.COMPLETED)
    (a,), (b, execution) = first.spans, second.spans
    assert {trace_id(span) for span in (a, b, execution)} == {trace_id(a)}
    assert {parent_id(a), parent_id(b)} == {span_id(execution)}


def test_inside_a_block_the_tasks_span_is_the_current_one(traces: Traces) -> None:
    """What a block records is below its task, also behind a delivery, and after it the context is as before."""
    tracer = traces.provider.get_tracer("runner")
    with Delivery(traces.sink()) as delivery:
        for number, sink in enumerate((traces.sink(), delivery)):
            before = get_current_span()
            status = StatusBuilder(f"wex_{number}", sinks=[sink], clock=traces.clock, close_timeout=PATIENCE)
            with status, status.task(f"task {number}"), tracer.start_as_current_span(f"call {number}"):
                pass
            assert get_current_span() is before
        delivery.flush(PATIENCE)
    for number in range(2):
        assert parent_id(traces.named(f"call {number}")) == span_id(traces.named(f"task {number}"))
        assert trace_id(traces.named(f"call {number}")) == trace_id(traces.named(f"task {number}"))


def test_behind_a_delivery_the_caller_is_the_parent(traces: Traces) -> None:
    """The context is taken where the builder is made, whichever thread makes the spans."""
    with Delivery(traces.sink()) as delivery:
        with traces.provider.get_tracer("runner").start_as_current_span("request") as request:
            status = StatusBuilder("wex_1", sinks=[delivery])
        with status:
            pass
    execution = traces.named("workflow execution")
    assert parent_id(execution) == request.get_span_context().span_id
    assert (execution.start_time or 0) >= (traces.named("request").start_time or 0)


def test_a_span_has_a_length_and_lies_in_its_parents_beginning(traces: Traces) -> None:
    """No span is shorter than a microsecond, or begins before the one that it is below."""
    traces.sink().send(whole(done("top", 3, 3), done("child", 1, 1, parent_id="top"), done("early", -5, -4)))
    starts = {span_id(span): span.start_time or 0 for span in traces.spans}
    for span in traces.spans:
        assert (span.end_time or 0) - (span.start_time or 0) >= 1000
        if span.parent is not None:
            assert (span.start_time or 0) >= starts[span.parent.span_id]


def test_long_errors_are_cut_and_sent_once(traces: Traces) -> None:
    """An error of 100 kB is 1 KiB in its span's description, and stands nowhere else."""
    with (
        pytest.raises(ValueError, match="é"),
        StatusBuilder("wex_1", sinks=[traces.sink()]) as status,
        status.task("a"),
    ):
        raise ValueError("é" * 100_000)
    for span in traces.spans:
        assert len((span.status.description or "").encode()) <= 1024
        assert (span.attributes or {})["error.type"] == "ValueError"
        assert max(len(str(value)) for value in (span.attributes or {}).values()) < 100


def test_names_can_be_few(traces: Traces) -> None:
    """`name=` decides what tasks' spans are called; their own names stay in the attributes."""
    with StatusBuilder("wex_1", sinks=[traces.sink(name=lambda task: task.task_type.name)]) as status:
        for number in range(3):
            with status.task(f"page {number}"):
                pass
    assert [span.name for span in traces.spans] == ["CUSTOM"] * 3 + ["workflow execution"]


def test_a_processor_that_raises_holds_nothing_up(traces: Traces) -> None:
    """After a processor's error the sink goes on with other executions, and does not take that one for open."""

    class Broken(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise ValueError("broken")

    traces.provider.add_span_processor(Broken())
    sink = traces.sink()
    with StatusBuilder("wex_1", sinks=[sink]):
        pass
    sink.close()
    with StatusBuilder("wex_2", sinks=[sink]):
        pass
    assert [(span.attributes or {})["statusbuilder.execution.id"] for span in traces.spans] == ["wex_1", "wex_2"]


def test_the_scope_has_a_version_and_a_schema(traces: Traces) -> None:
    """Receivers know which release made a span, and by which conventions."""
    traces.sink().send(whole())
    scope = traces.spans[0].instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("statusbuilder", version("statusbuilder"))
    assert str(scope.schema_url).startswith("https://opentelemetry.io/schemas/")


def test_an_agents_execution_follows_the_conventions(traces: Traces) -> None:
    """Its own span says that an agent was invoked, and which conversation it is."""
    with AgentStatusBuilder("aex_1", sinks=[traces.sink()]):
        pass
    facts = traces.named("agent execution").attributes or {}
    assert (facts["gen_ai.operation.name"], facts["gen_ai.conversation.id"]) == ("invoke_agent", "aex_1")


FORK = """
import os, sys, threading
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from statusbuilder import StatusBuilder
from statusbuilder.sinks.otel import OpenTelemetrySink

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
sink = OpenTelemetrySink(provider)
stop = threading.Event()

def work(number):
    count = 0
    while not stop.is_set():
        count += 1
        with StatusBuilder(f"parent_{number}_{count}", sinks=[sink]) as status, status.task("t"):
            pass

threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
held = StatusBuilder("held", sinks=[sink])
held.add_task("t", status="IN_PROGRESS")
good = 0
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        provider._active_span_processor._span_processors = ()
        provider.add_span_processor(SimpleSpanProcessor(mine := InMemorySpanExporter()))
        with StatusBuilder("child", sinks=[sink]) as status, status.task("t"):
            pass
        sink.close()
        ids = {span.attributes["statusbuilder.execution.id"] for span in mine.get_finished_spans()}
        os._exit(0 if ids == {"child"} else 1)
    good += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
stop.set()
print(good)
os._exit(0)
"""


def test_a_fork_under_load_has_nothing_of_its_parent() -> None:
    """While other threads make spans, a child's changes make its own, and its close exports none of the parent's."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-u", "-c", FORK]
    done_ = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done_.stdout == "20\n", done_.stderr


EXIT = """
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from statusbuilder import StatusBuilder
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.sinks.otel import OpenTelemetrySink, observe

traces = TracerProvider()
traces.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
meters = MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter(), export_interval_millis=3_600_000)])

def main():
    sink = GrpcSink("127.0.0.1:1", close_timeout=0.2)
    observe(sink, meters)
    status = StatusBuilder("wex_1", sinks=[OpenTelemetrySink(traces), sink])
    status.add_task("t", status="IN_PROGRESS")
    return status

kept = main()
"""


DELIVERED_EXIT = """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from statusbuilder import Delivery, StatusBuilder
from statusbuilder.sinks.otel import OpenTelemetrySink

traces = TracerProvider()
traces.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
sinks = [Delivery(OpenTelemetrySink(traces))]
kept = [StatusBuilder(name, sinks=sinks) for name in ("wex_open", "wex_done")]
for status in kept:
    status.update_status("IN_PROGRESS")
kept[1].update_status("COMPLETED")
"""


def test_a_delivery_ends_before_a_provider_that_was_made_before_it() -> None:
    """All spans are exported behind a delivery, too, although its module was imported before the provider was made."""
    command = [sys.executable, "-W", "ignore", "-c", DELIVERED_EXIT]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert [name in shown for name in ('"wex_open"', '"wex_done"')] == [True, True]
    assert shown.count('"workflow execution"') == 2


def test_a_process_that_ends_exports_what_is_open_and_what_is_lost() -> None:
    """An execution that is open at the exit has a span with an unset status; `lost` is in the last metrics."""
    command = [sys.executable, "-c", EXIT]
    done_ = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert '"statusbuilder.execution.id": "wex_1"' in done_.stdout
    lost = done_.stdout.partition('"name": "statusbuilder.delivery.lost"')[2]
    value = re.search(r'"value": (\d+)', lost)
    assert value is not None, done_.stderr
    assert value[1] == "1"


def test_executions_of_several_threads_do_not_mix(traces: Traces) -> None:
    """One sink serves all executions of a process."""
    sink = traces.sink()
    begin = threading.Barrier(8)

    def work(number: int) -> None:
        begin.wait(PATIENCE)
        with StatusBuilder(f"wex_{number}", sinks=[sink]) as status:
            for task in range(50):
                with status.task(f"{number}-{task}"):
                    pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    executions = {
        span_id(span): str((span.attributes or {})["statusbuilder.execution.id"])
        for span in traces.spans
        if span.name == "workflow execution"
    }
    tasks = [span for span in traces.spans if span.name != "workflow execution"]
    assert len(tasks) == 400
    assert all(executions[parent_id(span) or 0] == f"wex_{span.name.partition('-')[0]}" for span in tasks)


# Metrics


def readings(reader: InMemoryMetricReader) -> dict[str, dict[str, Any]]:
    """The values of all metrics, by name and by the sink they are of."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name.removeprefix("statusbuilder.delivery."): {
            str((point.attributes or {})["statusbuilder.sink"]): getattr(point, "value", None)
            for point in metric.data.data_points
        }
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.startswith("statusbuilder.delivery.")
    }


def test_a_deliverys_figures_are_metrics() -> None:
    """Every figure of `stats()` is an instrument; several sinks share them, and one that is gone reports no more."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with Delivery(MemorySink()) as delivery:
        observe(delivery, provider)
        other = Delivery(MemorySink())
        observe(other, provider, attributes={"statusbuilder.sink": "other"})
        before = readings(reader)
        with StatusBuilder("wex_1", sinks=[delivery], close_timeout=PATIENCE):
            pass
        until(lambda: "attempt.duration" in readings(reader))
        after = readings(reader)
        other.close()
        del other
    names = {"sent", "superseded", "retried", "spooled", "lost", "conflicts", "bytes", "cpu.time"}
    names |= {"pending", "waiting", "rows", "pending.age", "last_success.age"}
    assert set(before) - {"failed"} == names
    assert set(after) - {"failed"} == names | {"attempt.duration"}
    assert before["sent"] == {"Delivery": 0, "other": 0}
    stats = delivery.stats()
    assert after["sent"] == {"Delivery": stats.sent, "other": 0}
    assert stats.sent > 0
    assert min(before["last_success.age"].values()) >= 0
    assert set(readings(reader)["lost"]) == {"Delivery", "other"}
    provider.shutdown()


@pytest.mark.parametrize("attributes", [None, {"server.address": "127.0.0.1", "server.port": "1"}])
def test_two_sinks_of_one_target_are_two_series(attributes: dict[str, str] | None) -> None:
    """A healthy sink does not hide a dead one; the target's host and port are attributes of their own."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    sinks = [GrpcSink("127.0.0.1:1", close_timeout=0.0) for _ in range(2)]
    for sink in sinks:
        observe(sink, provider, attributes=attributes)
    with StatusBuilder("wex_1", sinks=sinks[:1], close_timeout=PATIENCE):
        pass
    data = reader.get_metrics_data()
    assert data is not None
    points = [
        dict(point.attributes or {})
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "statusbuilder.delivery.lost"
        for point in metric.data.data_points
    ]
    assert {(point["server.address"], point["server.port"]) for point in points} == {("127.0.0.1", "1")}
    assert len({point.get("statusbuilder.sink.number") for point in points}) == 2
    for sink in sinks:
        sink.close(0.0)
    provider.shutdown()


def test_only_what_delivers_can_be_observed() -> None:
    """A plain sink has no figures, which is said at once."""
    with pytest.raises(TypeError, match="wrap it: Delivery"):
        observe(MemorySink())  # type: ignore[arg-type]
