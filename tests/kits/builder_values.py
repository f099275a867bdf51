"""What the tests of the builder share: a clock that they set, and short ways to a builder in a given state."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder, TaskStatus

START = datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)

TO_STATUS: dict[TaskStatus, tuple[TaskStatus, ...]] = {
    TaskStatus.PENDING: (TaskStatus.PENDING,),
    TaskStatus.IN_PROGRESS: (TaskStatus.IN_PROGRESS,),
    TaskStatus.COMPLETED: (TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED),
    TaskStatus.FAILED: (TaskStatus.IN_PROGRESS, TaskStatus.FAILED),
    TaskStatus.SKIPPED: (TaskStatus.PENDING, TaskStatus.SKIPPED),
}
"""The calls that bring a task to a status."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, time: datetime = START) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time

    def tick(self, seconds: float = 1.0) -> datetime:
        """Move on; return the new time."""
        self.time += timedelta(seconds=seconds)
        return self.time


def at(seconds: float) -> datetime:
    """The time so many seconds after the start."""
    return START + timedelta(seconds=seconds)


def make(**options: Any) -> StatusBuilder:
    """A builder whose clock stands at START."""
    return StatusBuilder("wex_01", **{"clock": Clock(), **options})


def with_task(status: TaskStatus, task_id: str = "a", **options: Any) -> StatusBuilder:
    """A builder with one task in a status that it came to step by step."""
    builder = make(**options)
    first, *others = TO_STATUS[status]
    builder.add_task(task_id, status=first)
    for other in others:
        builder.update_task_status(task_id, other)
    return builder


def in_phase(phase: ExecutionPhase, **options: Any) -> StatusBuilder:
    """A builder whose execution is in a phase, without tasks."""
    builder = make(**options)
    if phase is not ExecutionPhase.PENDING:
        builder.update_status(phase)
    return builder


def revisions(snapshots: list[Snapshot]) -> list[int]:
    """The revisions of snapshots."""
    return [snapshot.revision for snapshot in snapshots]
