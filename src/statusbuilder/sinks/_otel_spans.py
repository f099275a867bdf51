"""Which spans an execution has: their ids, parents, times and attributes, computed from its snapshots alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from itertools import zip_longest
from typing import Any, Final

import attrs
from opentelemetry.trace import StatusCode

from ..agent.model import AgentSnapshot
from ..core.model.reading import read_enum
from ..core.model.times import parse_time, to_millis
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType

Nanos = int
Attributes = dict[str, str | int]

_MOST_OF_TEXT: Final = 1024
_SHORTEST: Final[Nanos] = 1_000
_OTHER: Final = "_OTHER"
"""What OpenTelemetry's conventions want as `error.type` where there is no name for it."""
_OPERATIONS: Final = {TaskType.TOOL_CALL: "execute_tool", TaskType.AGENT_INVOCATION: "invoke_agent"}
_CLASS: Final = re.compile(
    r"((?:\w+\.)*(?=[A-Z])\w*(?:Error|Exception|Exit|Group|Interrupt|Iteration|Warning|Timeout))(?=:|\s*\Z)"
)


@attrs.frozen
class Planned:
    """A span that can be made, because it has ended."""

    name: str
    span_id: int
    parent_id: int | None
    """None for the execution's own span, whose parent is not ours."""
    start: Nanos
    end: Nanos
    attributes: Attributes
    status: StatusCode = StatusCode.UNSET
    description: str | None = None
    link: int | None = None
    """The span of the attempt before."""
    events: tuple[tuple[str, Attributes, Nanos], ...] = ()


@attrs.frozen
class Attempt:
    """One attempt at a task, as its snapshot tells it."""

    number: int
    start: Nanos
    end: Nanos | None
    status: TaskStatus
    error: str | None


def trace_id(execution_id: str, started_at: datetime) -> int:
    """Return the id of an execution's trace, whoever reports it."""
    return _digest(16, execution_id, str(to_millis(started_at)))


def execution_span_id(execution_id: str, anew: int | None) -> int:
    """Return the id of an execution's own span; `anew` is the epoch in which it was begun anew."""
    return _digest(8, execution_id) if anew is None else _digest(8, execution_id, str(anew))


def attempt_span_id(execution_id: str, task_id: str, number: int) -> int:
    """Return the id of the span of an attempt at a task."""
    return _digest(8, execution_id, task_id, str(number))


def _digest(size: int, *parts: str) -> int:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=size, person=b"statusbuilder").digest(), "big") or 1


def attempts_of(task: Task) -> list[Attempt]:
    """Return what is known of the attempts at a task, in order; empty before the first."""
    if task.started_at is None:
        return []
    earlier = [attempt for one in task.attempts[:-1] if (attempt := _earlier(one)) is not None]
    number, started_at = task.retry_count + 1, task.started_at
    if task.attempts:
        present = task.attempts[-1]
        number, started_at = int(present["number"]), parse_time(present.get("started_at")) or started_at
        if "started_at" not in present:  # it waits for its next attempt
            return earlier
    end = nanos(task.completed_at) if task.completed_at is not None and task.status.is_terminal else None
    return [*earlier, Attempt(number, nanos(started_at), end, task.status, task.error)]


def _earlier(attempt: Mapping[str, Any]) -> Attempt | None:
    started, ended = parse_time(attempt.get("started_at")), parse_time(attempt.get("completed_at"))
    if started is None or ended is None:
        return None
    status, error = read_enum(TaskStatus, attempt.get("status"), TaskStatus.FAILED), attempt.get("error")
    error = error if isinstance(error, str) else None
    return Attempt(int(attempt["number"]), nanos(started), nanos(ended), status, error)


def nanos(time: datetime) -> Nanos:
    """Return nanoseconds since 1970."""
    return to_millis(time) * 1_000_000


@attrs.define(eq=False)
class Execution:
    """The spans of one execution, from the first snapshot to the last; it remembers only which are made."""

    execution_id: str
    started_at: datetime
    floor: Nanos
    """When it, or its present beginning, began: nothing begins before."""
    anew: int | None = None
    """The epoch in which it was begun anew, after an end; None otherwise."""
    name: Callable[[Task], str] | None = None
    epoch: int = -1
    blocks: tuple[tuple[Task, ...], ...] = ()
    made: dict[str, int] = attrs.Factory(dict)
    """By task: the number of the last attempt whose span is made, or is somebody else's to make."""

    @property
    def span_id(self) -> int:
        """The id of its own span."""
        return execution_span_id(self.execution_id, self.anew)

    def leave(self, snapshot: Snapshot, before: Nanos) -> None:
        """Take the attempts that had ended before as made: another process, or an earlier beginning, made them."""
        for task in snapshot.tasks:
            over = [one.number for one in attempts_of(task) if one.end is not None and one.end < before]
            if over:
                self.made[task.task_id] = max(over)

    def apply(self, snapshot: Snapshot) -> Iterator[Planned]:
        """Yield the spans of what has ended since the last snapshot."""
        self.epoch = snapshot.epoch
        for task in self._changed(snapshot):
            for attempt in attempts_of(task):
                if attempt.end is not None and attempt.number > self.made.get(task.task_id, 0):
                    self.made[task.task_id] = attempt.number
                    if not _is_event(task):
                        yield self._task(snapshot, task, attempt, attempt.end)
        if snapshot.is_terminal:
            end = self.floor if snapshot.completed_at is None else nanos(snapshot.completed_at)
            yield from self.abandon(snapshot, end)

    def abandon(self, snapshot: Snapshot, end: Nanos) -> Iterator[Planned]:
        """Yield the spans of what is open, with no status, because nobody follows it any further, and its own."""
        for task in snapshot.tasks:
            for attempt in attempts_of(task)[-1:]:
                if attempt.end is None and not task.status.is_terminal:
                    yield self._task(snapshot, task, attempt, end)
        yield self._own(snapshot, end)

    def present(self, snapshot: Snapshot, task_id: str) -> int:
        """Return the id of the span of the attempt at a task that goes on."""
        attempts = attempts_of(snapshot.task(task_id))
        return attempt_span_id(self.execution_id, task_id, attempts[-1].number if attempts else 1)

    def _changed(self, snapshot: Snapshot) -> Iterator[Task]:
        """The tasks that are other objects than before; without a look at those whose block is the same."""
        old, self.blocks = self.blocks, getattr(snapshot, "_blocks", (snapshot.tasks,))
        for block, before in zip_longest(self.blocks, old, fillvalue=()):
            if block is not before:
                yield from (task for task, one in zip_longest(block, before[: len(block)]) if task is not one)

    def _task(self, snapshot: Snapshot, task: Task, attempt: Attempt, end: Nanos) -> Planned:
        parent_id, start = self._parent(snapshot, task, attempt)
        code, description = _outcome(snapshot, task, attempt)
        facts: Attributes = {
            "statusbuilder.execution.id": self.execution_id,
            "statusbuilder.task.id": task.task_id,
            "statusbuilder.attempt": attempt.number,
            "statusbuilder.task.name": task.task_name,
            "statusbuilder.task.type": task.task_type.name,
            "statusbuilder.task.status": attempt.status.name,
            **_conventions(task),
        }
        if code is StatusCode.ERROR:
            facts["error.type"] = _error_type(attempt.error)
        name = _name(task) if self.name is None else str(self.name(task))
        own, before = (attempt_span_id(self.execution_id, task.task_id, attempt.number - back) for back in (0, 1))
        link = before if attempt.number > 1 else None
        return Planned(name, own, parent_id, start, max(end, start + _SHORTEST), facts, code, description, link)

    def _parent(self, snapshot: Snapshot, task: Task, attempt: Attempt) -> tuple[int, Nanos]:
        """Return the span that an attempt is below, and when it begins, not before that one."""
        floor, found, seen = self.floor, None, {task.task_id}
        child, start = task, attempt.start
        while child.parent_id is not None and child.parent_id not in seen:
            seen.add(child.parent_id)
            try:
                parent = snapshot.task(child.parent_id)
            except KeyError:
                break
            begun = [one for one in attempts_of(parent) if one.start <= start] or attempts_of(parent)[:1]
            if not begun or _is_event(parent):
                break
            if found is None:
                found = attempt_span_id(self.execution_id, parent.task_id, begun[-1].number)
            child, start = parent, begun[-1].start
            floor = max(floor, start)
        return self.span_id if found is None else found, max(attempt.start, floor)

    def _own(self, snapshot: Snapshot, end: Nanos) -> Planned:
        progress, is_agent = snapshot.progress, isinstance(snapshot, AgentSnapshot)
        facts: Attributes = {
            "statusbuilder.execution.id": self.execution_id,
            "statusbuilder.execution.phase": snapshot.phase.name,
            "statusbuilder.execution.epoch": snapshot.epoch,
            "statusbuilder.execution.revision": snapshot.revision,
            "statusbuilder.tasks.total": progress.total,
            "statusbuilder.tasks.failed": progress.failed,
        }
        if snapshot.temporal_workflow_id is not None:
            facts["temporalWorkflowID"] = snapshot.temporal_workflow_id  # as Temporal's own spans call it
        if is_agent:
            facts["gen_ai.operation.name"] = "invoke_agent"
            facts["gen_ai.agent.id"] = facts["gen_ai.conversation.id"] = self.execution_id
        code, description = StatusCode.UNSET, None
        if snapshot.phase is ExecutionPhase.FAILED:
            code, description = StatusCode.ERROR, _cut(snapshot.error)
            facts["error.type"] = _error_type(snapshot.error)
        elif snapshot.phase is ExecutionPhase.COMPLETED:
            code = StatusCode.OK
        name = "agent execution" if is_agent else "workflow execution"
        link = None if self.anew is None else execution_span_id(self.execution_id, None)
        skips = tuple(_skips(snapshot))
        end = max(end, self.floor + _SHORTEST)
        return Planned(name, self.span_id, None, self.floor, end, facts, code, description, link, skips)


def _is_event(task: Task) -> bool:
    """Whether a task was skipped without a start."""
    return task.status is TaskStatus.SKIPPED and task.started_at == task.completed_at


def _skips(snapshot: Snapshot) -> Iterator[tuple[str, Attributes, Nanos]]:
    for task in snapshot.tasks:
        if _is_event(task) and task.completed_at is not None:
            facts: Attributes = {"statusbuilder.task.id": task.task_id, "statusbuilder.task.name": task.task_name}
            yield "task skipped", facts, nanos(task.completed_at)


def _outcome(snapshot: Snapshot, task: Task, attempt: Attempt) -> tuple[StatusCode, str | None]:
    if attempt.status is TaskStatus.COMPLETED:
        return StatusCode.OK, None
    by_cancelling = task.cancelled or (
        snapshot.phase is ExecutionPhase.CANCELLED and task.completed_at == snapshot.completed_at
    )
    if attempt.status is not TaskStatus.FAILED or (by_cancelling and attempt.error == task.error):
        return StatusCode.UNSET, None
    return StatusCode.ERROR, _cut(attempt.error)


def _error_type(error: str | None) -> str:
    match = _CLASS.match(error or "")
    return _OTHER if match is None else match[1]


def _cut(error: str | None) -> str | None:
    if error is None or len(data := error.encode("utf-8", "replace")) <= _MOST_OF_TEXT:
        return error
    return data[: _MOST_OF_TEXT - 3].decode("utf-8", "ignore") + "…"


def _name(task: Task) -> str:
    operation = _OPERATIONS.get(task.task_type)
    return task.task_name if operation is None else f"{operation} {task.task_name}"


def _conventions(task: Task) -> Attributes:
    if task.task_type not in _OPERATIONS:
        return {}
    operation: Attributes = {"gen_ai.operation.name": _OPERATIONS[task.task_type]}
    if task.task_type is TaskType.AGENT_INVOCATION:
        return operation | {"gen_ai.agent.name": task.task_name}
    return operation | {"gen_ai.tool.name": task.task_name, "gen_ai.tool.call.id": task.task_id}
