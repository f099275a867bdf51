"""Traces and metrics through OpenTelemetry, in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from otel_values import PATIENCE, Clock, at, seconds

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
from statusbuilder.sinks import MemorySink, otel
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
    """FAILED is ERROR with the error; a cancelled task says so; what was not finished fails with its execution."""
    status = StatusBuilder("wex_1", sinks=[traces.sink()], clock=traces.clock)
    status.add_task("a", status=TaskStatus.IN_PROGRESS)
    status.add_task("b", status=TaskStatus.IN_PROGRESS)
    status.update_task_status("b", TaskStatus.FAILED, "cancelled", metadata={"cancelled": True})
    traces.clock.seconds = 2
    status.with_error("out of paper")

    a, b, execution = traces.named("a"), traces.named("b"), traces.named("workflow execution")
    assert (execution.status.status_code, execution.status.description) == (StatusCode.ERROR, "out of paper")
    assert a.status.description == "the execution ended before this task finished"
    assert [(span.attributes or {})["error.type"] for span in (a, b, execution)] == ["_OTHER", "cancelled", "_OTHER"]
    assert (execution.attributes or {})["statusbuilder.tasks.failed"] == 2
    assert traces.times("a") == [(0, 2)]


def test_skipped_and_cancelled_are_no_errors(traces: Traces) -> None:
    """A skipped task and a cancelled execution have an unset status; a task that never began has no duration."""
    status = StatusBuilder("wex_1", sinks=[traces.sink()], clock=traces.clock)
    status.update_status(ExecutionPhase.IN_PROGRESS)
    status.add_task("later")
    assert traces.spans == ()
    traces.clock.seconds = 5
    status.update_status(ExecutionPhase.CANCELLED)
    assert {span.status.status_code for span in traces.spans} == {StatusCode.UNSET}
    assert (traces.named("later").attributes or {})["statusbuilder.task.status"] == "SKIPPED"
    assert traces.times("later") == [(5, 5)]


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
    assert "statusbuilder.task.retry_count" not in (first.attributes or {})
    assert (second.attributes or {})["statusbuilder.task.retry_count"] == 1
    assert not first.links
    (link,) = second.links
    assert link.context == first.context
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


def test_attempts_that_were_not_seen_leave_one_span(traces: Traces) -> None:
    """Where a task failed and began again between two snapshots, the attempts that were seen have spans."""
    sink, running = traces.sink(), ExecutionPhase.IN_PROGRESS
    first = Task("a", "a", status=TaskStatus.IN_PROGRESS, started_at=at(1), revision=1)
    again = attrs.evolve(first, metadata={"retry_count": 2}, revision=5)  # type: ignore[arg-type]
    sink.send(Snapshot("wex_1", 5, 1, running, (first,), started_at=at(0)))
    traces.clock.seconds = 4
    sink.send(Snapshot("wex_1", 5, 5, running, (again,), started_at=at(0)))
    sink.send(whole(done("a", 1, 7, retry_count=2)))
    assert traces.times("a") == [(1, 4), (4, 7)]
    assert [span.status.status_code for span in traces.spans[:2]] == [StatusCode.ERROR, StatusCode.OK]


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
    """Tasks that another process finished have no second span, and the execution's begins with this process."""
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
    assert traces.times("workflow execution") == [(60, 63)]
    assert traces.times("b")[-1] == (60, 63)


def test_a_restart_after_the_end_links_to_the_attempt_before(traces: Traces) -> None:
    """A new attempt at an execution that has ended is a new span, with a link to the old one."""
    sink, clock = traces.sink(), traces.clock
    status = StatusBuilder("wex_1", sinks=[sink], clock=clock).with_error("out of paper")
    clock.seconds = 9
    with StatusBuilder("wex_1", sinks=[sink], clock=clock, initial=status.snapshot(), restart=True):
        clock.seconds = 10
    first, second = traces.spans
    assert traces.times("workflow execution") == [(0, 0), (9, 10)]
    assert [link.context for link in second.links] == [first.context]


def test_the_same_end_twice_is_one_span(traces: Traces) -> None:
    """A delivery may send the last snapshot once more, also under a later epoch."""
    sink, last = traces.sink(), whole(done("a", 1, 2))
    for snapshot in (last, last, attrs.evolve(last, epoch=99)):
        sink.send(snapshot)
    assert len(traces.spans) == 2


def test_an_execution_that_begins_from_nothing_under_a_known_id_is_another_one(traces: Traces) -> None:
    """A builder that knows nothing of the open execution has spans of its own; the old ones end."""
    sink, clock = traces.sink(), traces.clock
    for seconds_ in (0, 5):
        clock.seconds = seconds_
        status = StatusBuilder("wex_1", sinks=[sink], clock=clock)
        status.add_task("a", status=TaskStatus.IN_PROGRESS)
    status.update_status(ExecutionPhase.FAILED)
    assert len({span_id(span) for span in traces.spans if span.name == "workflow execution"}) == 2
    assert [span.status.status_code for span in traces.spans[:2]] == [StatusCode.UNSET] * 2


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
        open_ = StatusBuilder("open", sinks=[delivery])
        open_.add_task("t", status=TaskStatus.IN_PROGRESS)
        assert open_.flush(PATIENCE)
        open_.close()
        assert len(traces.spans) == 80
    assert len(traces.spans) == 82
    assert sink._open == {}


def test_it_is_a_sink_in_every_respect(traces: Traces) -> None:
    """It passes what any sink has to."""
    check_sink(traces.sink())


def test_memory_is_bounded(traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of executions that fall silent the longest silent is let go, and its spans end."""
    monkeypatch.setattr(otel, "_MOST", 2)
    sink = traces.sink()
    for execution_id in ("a", "b", "a", "c"):
        sink.send(Snapshot(execution_id, 1, 1, ExecutionPhase.IN_PROGRESS, started_at=at(0)))
    assert list(sink._open) == ["a", "c"]
    assert [(span.attributes or {})["statusbuilder.execution.id"] for span in traces.spans] == ["b"]
    for execution_id in ("a", "c", "d"):
        sink.send(Snapshot(execution_id, 1, 2, ExecutionPhase.FAILED, started_at=at(0), completed_at=at(1)))
    assert (list(sink._open), list(sink._last)) == ([], ["c", "d"])


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
        after = readings(reader)
        other.close()
        del other
    names = {"sent", "superseded", "retried", "failed", "spooled", "lost", "bytes", "pending"}
    assert set(before) == names
    assert set(after) == names | {"last_success.age"}
    assert before["sent"] == {"Delivery": 0, "other": 0}
    stats = delivery.stats()
    assert after["sent"] == {"Delivery": stats.sent, "other": 0}
    assert stats.sent > 0
    assert after["last_success.age"]["Delivery"] >= 0
    assert readings(reader)["lost"] == {"Delivery": 0}
    provider.shutdown()


def test_only_what_delivers_can_be_observed() -> None:
    """A plain sink has no figures, which is said at once."""
    with pytest.raises(TypeError, match="wrap it: Delivery"):
        observe(MemorySink())  # type: ignore[arg-type]
