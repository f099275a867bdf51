"""What one run of a workflow started, one by one, and how that becomes tasks."""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import datetime
from time import monotonic
from typing import Any

import attrs
from temporalio.exceptions import is_cancelled_exception

from ..core.model.frozen import JsonObject
from ..core.model.times import format_time
from ..core.model.values import Task, TaskStatus, TaskType
from ..payload.policy import PayloadPolicy
from ._failures import describe
from ._settings import Reading

LEFT = "left running on its own"
CONTINUED = "not finished when the workflow continued as new"
LONGEST_ERROR = 256
"""Bytes that are kept of the error of an attempt before the last one."""


@attrs.define(kw_only=True)
class Step:
    """An activity, a child workflow, or what else a workflow waits for; times are those of the history."""

    kind: str
    """Its type, by which it is numbered."""
    name: str
    started_at: datetime
    event_id: int
    """Of the last event that told of it."""
    order: int | None = None
    """Its place among activities in the order in which the workflow's code started them, where that is known."""
    activity_id: str = ""
    """By which the server names it, where it is an activity."""
    queue: str = ""
    """The task queue of an activity."""
    input: JsonObject | None = None
    status: TaskStatus = TaskStatus.IN_PROGRESS
    output: JsonObject | None = None
    error: str | None = None
    completed_at: datetime | None = None
    metadata: dict[str, Any] = attrs.Factory(dict)
    outlives: bool = False
    """Whether it goes on when the workflow ends."""
    cancel_requested_at: datetime | None = None
    task_id: str = ""
    """Of the task that shows it, once there is one."""
    since: float = attrs.Factory(monotonic)
    """When it was read, in `time.monotonic` seconds."""

    @property
    def is_open(self) -> bool:
        """Whether nothing has told of its end."""
        return not self.status.is_terminal

    def end(self, status: TaskStatus, at: datetime, event_id: int, error: str | None = None) -> None:
        """Take note of the end."""
        self.status, self.error, self.event_id = status, error, event_id
        self.completed_at = max(at, self.started_at)

    def fail(self, error: BaseException, at: datetime, event_id: int, policy: PayloadPolicy) -> None:
        """Take note of a failure, or of a cancellation."""
        cancelled = is_cancelled_exception(error)
        self.end(TaskStatus.FAILED, at, event_id, "cancelled" if cancelled else policy.error(describe(error)))
        if cancelled:
            self.metadata["cancelled"] = True

    def close(
        self, at: datetime, event_id: int, policy: PayloadPolicy, output: Any, error: BaseException | None = None
    ) -> None:
        """Take note of what it gave, or of what it failed with."""
        if error is not None:
            self.fail(error, at, event_id, policy)
        else:
            self.end(TaskStatus.COMPLETED, at, event_id)
            self.output = output

    def leave(self, reason: str, at: datetime, event_id: int) -> None:
        """Take note that the run ended before it."""
        if self.outlives:
            self.end(TaskStatus.SKIPPED, at, event_id, None)
            self.metadata.setdefault("message", LEFT)
        elif self.cancel_requested_at is not None:
            self.end(TaskStatus.FAILED, self.cancel_requested_at, event_id, "cancelled")
            self.metadata["cancelled"] = True
        else:
            self.end(TaskStatus.FAILED, at, event_id, reason)

    def note_attempt(self, attempt: int, at: datetime | None = None, last_error: str | None = None) -> None:
        """Take note of which attempt was the last one, and of why the one before it failed."""
        if attempt < 2:
            return
        self.metadata["retry_count"] = attempt - 1
        if at is None and last_error is None:
            return
        present = {"number": attempt} if at is None else {"number": attempt, "started_at": format_time(at)}
        self.metadata["attempts"] = [present]
        if last_error is not None:
            self.metadata["last_error"] = last_error
            cut = last_error.encode()[:LONGEST_ERROR].decode(errors="ignore")
            before = {"number": attempt - 1, "status": TaskStatus.FAILED.name, "error": cut}
            self.metadata["attempts"] = [before, present]


def insert(steps: list[Step], step: Step) -> None:
    """Put a step that only its end told of where it was started: before those that were started after it."""
    place = len(steps)
    for back in range(len(steps) - 1, -1, -1):
        order = steps[back].order
        if order is not None and step.order is not None:
            if order < step.order:
                break
            place = back
    steps.insert(place, step)


def number(kind: str, numbers: dict[str, int], taken: Container[str]) -> str:
    """Return the id of the next task of a kind, and count it."""
    numbers[kind] = numbers.get(kind, 0) + 1
    while (task_id := f"{kind}-{numbers[kind]}") in taken:
        numbers[kind] += 1
    return task_id


def make_tasks(
    steps: Iterable[Step], taken: Iterable[str], reading: Reading, unit: int, parent_id: str | None
) -> list[Task]:
    """Make the tasks of a run, numbered by kind as the run itself numbers them.

    Args:
        steps: What it started, in order.
        taken: Ids that the runs before it have given away.
        reading: How tasks are made.
        unit: Revisions that stand for one event.
        parent_id: The workflow that the run is a child of.
    """
    ids, numbers, tasks = set(taken), dict[str, int](), list[Task]()
    above = {} if parent_id is None else {"parent_id": parent_id}
    for step in steps:
        tasks.append(
            Task(
                number(step.kind, numbers, ids),
                step.name,
                reading.task_types.get(step.kind, TaskType.CUSTOM),
                step.status,
                step.input,
                step.output,
                step.error,
                JsonObject({**reading.policy.payload(step.metadata), **above}),
                step.started_at,
                step.completed_at,
                step.event_id * unit,
            )
        )
    return tasks
