"""From the successive snapshots of one execution to spans: what began, what ended, and when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

import attrs
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from ..agent.model import AgentSnapshot
from ..core.model.times import to_millis
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType

_LINK: Final = {"statusbuilder.link": "previous attempt"}
_OTHER: Final = "_OTHER"
"""What OpenTelemetry's conventions want as `error.type` where there is no name for it."""

Millis = int
Ended = tuple[int, Millis, SpanContext]
"""The number of the last attempt that has ended, when it did, and its span."""


@attrs.define(eq=False)
class Execution:
    """The spans of one execution, from the first snapshot of a builder to the last."""

    tracer: Tracer
    clock: Callable[[], datetime]
    span: Span
    context: Context
    """With the execution's span."""
    started_at: datetime
    """As the snapshots say, which tells two builders' executions apart."""
    floor: Millis
    """Nothing that was over before this belongs here: another builder did it, and has its own spans."""
    epoch: int
    revision: int = -1
    blocks: tuple[tuple[Task, ...], ...] = ()
    running: dict[str, tuple[int, Millis, Span]] = attrs.Factory(dict)
    """By task: the number of the attempt, when it began, and its span."""
    ended: dict[str, Ended] = attrs.Factory(dict)

    @classmethod
    def begin(
        cls,
        tracer: Tracer,
        clock: Callable[[], datetime],
        snapshot: Snapshot,
        started_at: datetime,
        parent: Context | None,
        previous: SpanContext | None,
    ) -> Execution:
        """Start the span of an execution that has started."""
        agent = isinstance(snapshot, AgentSnapshot)
        started, now = to_millis(started_at), to_millis(clock())
        # A default epoch is the time at which its builder was made, which for one that goes on is later than the start.
        floor = max(started, snapshot.epoch) if snapshot.epoch <= now else started
        span = tracer.start_span(
            "agent execution" if agent else "workflow execution",
            parent,
            attributes={"statusbuilder.execution.id": snapshot.execution_id},
            links=() if previous is None else (Link(previous, _LINK),),
            start_time=_nanos(floor),
        )
        return cls(tracer, clock, span, set_span_in_context(span, parent), started_at, floor, snapshot.epoch)

    def goes_on(self, snapshot: Snapshot) -> bool:
        """Whether the snapshot is of the execution as it was begun here, perhaps by another builder."""
        return snapshot.epoch == self.epoch or snapshot.started_at == self.started_at

    def apply(self, snapshot: Snapshot) -> None:
        """Start and end the spans that this snapshot asks for."""
        if snapshot.epoch != self.epoch:  # another builder's revisions may have begun anywhere
            self.epoch, self.revision, self.blocks = snapshot.epoch, -1, ()
        changed = [task for task in self._changed(snapshot) if self._belongs(task, snapshot)]
        # All begin before any ends, because a parent may have ended in the same snapshot as its child.
        pending = {task.task_id: task for task in changed}
        while pending:
            self._start(pending.pop(next(iter(pending))), pending)
        for task in changed:
            if task.status.is_terminal:
                self._end(task)
        self.revision = snapshot.revision
        if snapshot.is_terminal:
            self._finish(snapshot)

    def abandon(self) -> None:
        """End what is open without saying how it went, because nobody follows it any further."""
        now = time.time_ns()
        for _, began, span in self.running.values():
            span.end(max(now, _nanos(began)))
        self.running.clear()
        self.span.end(max(now, _nanos(self.floor)))

    def _changed(self, snapshot: Snapshot) -> Iterator[Task]:
        """The tasks that changed; without a look at those whose block is the same object as before."""
        old = self.blocks
        blocks = getattr(snapshot, "_blocks", (snapshot.tasks,))
        self.blocks = blocks
        for index, block in enumerate(blocks):
            if index >= len(old) or old[index] is not block:
                yield from (task for task in block if task.revision > self.revision)

    def _belongs(self, task: Task, snapshot: Snapshot) -> bool:
        if task.started_at is None or task.status is TaskStatus.PENDING:
            return False
        ended = self.ended.get(task.task_id)
        if ended is not None:
            return _attempt(task) > ended[0]
        if task.task_id in self.running or self.revision >= 0 or task.revision == snapshot.revision:
            return True
        return task.completed_at is None or to_millis(task.completed_at) >= self.floor

    def _start(self, task: Task, pending: dict[str, Task]) -> None:
        """Start the span of a task after that of its parent, which `pending` may have."""
        attempt, running = _attempt(task), self.running.get(task.task_id)
        if running is not None and running[0] == attempt:
            return
        parent_id = task.metadata.get("parent_id")
        parent = pending.pop(parent_id, None) if isinstance(parent_id, str) else None
        if parent is not None:
            self._start(parent, pending)
        if running is not None:  # it failed and began again between two snapshots
            self._end_unseen(task, *running)
        ended = self.ended.get(task.task_id)
        began = self._beginning(task, self.floor if ended is None else ended[1])
        span = self.tracer.start_span(
            _name(task),
            self._parent_context(parent_id),
            attributes=_attributes(task, attempt),
            links=() if ended is None else (Link(ended[2], _LINK),),
            start_time=_nanos(began),
        )
        self.running[task.task_id] = (attempt, began, span)

    def _beginning(self, task: Task, floor: Millis) -> Millis:
        """When this attempt began; a task keeps the time of its first one."""
        started = 0 if task.started_at is None else to_millis(task.started_at)
        if started >= floor or task.completed_at is not None:
            return max(started, floor)
        return max(floor, to_millis(self.clock()))

    def _parent_context(self, parent_id: Any) -> Context:
        running = self.running.get(parent_id) if isinstance(parent_id, str) else None
        if running is not None:
            return set_span_in_context(running[2], self.context)
        ended = self.ended.get(parent_id) if isinstance(parent_id, str) else None
        return self.context if ended is None else set_span_in_context(NonRecordingSpan(ended[2]), self.context)

    def _end(self, task: Task) -> None:
        attempt, began, span = self.running.pop(task.task_id)
        span.set_attribute("statusbuilder.task.status", task.status.name)
        if task.status is TaskStatus.FAILED:
            _fail(span, task.error, "cancelled" if task.metadata.get("cancelled") is True else _OTHER)
        elif task.status is TaskStatus.COMPLETED:
            span.set_status(Status(StatusCode.OK))
        over = began if task.completed_at is None else max(began, to_millis(task.completed_at))
        span.end(_nanos(over))
        self.ended[task.task_id] = (attempt, over, span.get_span_context())

    def _end_unseen(self, task: Task, attempt: int, began: Millis, span: Span) -> None:
        """End an attempt of which only is known that it failed, and that another one began."""
        _fail(span, None, _OTHER)
        span.set_attribute("statusbuilder.task.status", TaskStatus.FAILED.name)
        over = max(began, to_millis(self.clock()) if task.completed_at is None else began)
        span.end(_nanos(over))
        self.ended[task.task_id] = (attempt, over, span.get_span_context())

    def _finish(self, snapshot: Snapshot) -> None:
        over = self.floor if snapshot.completed_at is None else max(self.floor, to_millis(snapshot.completed_at))
        for _, began, span in self.running.values():  # only in a snapshot that no builder of ours made
            span.end(_nanos(max(began, over)))
        self.running.clear()
        self.span.set_attributes(dict(_facts(snapshot)))
        if snapshot.phase is ExecutionPhase.FAILED:
            _fail(self.span, snapshot.error, _OTHER)
        elif snapshot.phase is ExecutionPhase.COMPLETED:
            self.span.set_status(Status(StatusCode.OK))
        self.span.end(_nanos(over))


def _facts(snapshot: Snapshot) -> Iterable[tuple[str, str | int]]:
    progress = snapshot.progress
    yield "statusbuilder.execution.phase", snapshot.phase.name
    yield "statusbuilder.execution.epoch", snapshot.epoch
    yield "statusbuilder.execution.revision", snapshot.revision
    yield "statusbuilder.tasks.total", progress.total
    yield "statusbuilder.tasks.failed", progress.failed
    if snapshot.temporal_workflow_id is not None:
        yield "temporalWorkflowID", snapshot.temporal_workflow_id  # as Temporal's own spans call it


def _fail(span: Span, error: str | None, kind: str) -> None:
    span.set_status(Status(StatusCode.ERROR, error))
    span.set_attribute("error.type", kind)
    if error is not None:
        span.set_attribute("error.message", error)


def _attempt(task: Task) -> int:
    count = task.metadata.get("retry_count")
    return int(count) if isinstance(count, (int, float)) else 0


def _name(task: Task) -> str:
    if task.task_type is TaskType.TOOL_CALL:
        return f"execute_tool {task.task_name}"
    if task.task_type is TaskType.AGENT_INVOCATION:
        return f"invoke_agent {task.task_name}"
    return task.task_name


def _attributes(task: Task, attempt: int) -> dict[str, str | int]:
    facts: dict[str, str | int] = {
        "statusbuilder.task.id": task.task_id,
        "statusbuilder.task.name": task.task_name,
        "statusbuilder.task.type": task.task_type.name,
    }
    if attempt:
        facts["statusbuilder.task.retry_count"] = attempt
    if task.task_type is TaskType.TOOL_CALL:
        facts["gen_ai.operation.name"] = "execute_tool"
        facts["gen_ai.tool.name"] = task.task_name
        facts["gen_ai.tool.call.id"] = task.task_id
    elif task.task_type is TaskType.AGENT_INVOCATION:
        facts["gen_ai.operation.name"] = "invoke_agent"
        facts["gen_ai.agent.name"] = task.task_name
    return facts


def _nanos(millis: Millis) -> int:
    return millis * 1_000_000
