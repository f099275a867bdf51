"""Which phase or task status may follow which: the two tables, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from .model.values import ExecutionPhase, TaskStatus

_S = TypeVar("_S", ExecutionPhase, TaskStatus)

NEXT_PHASES: Mapping[ExecutionPhase, tuple[ExecutionPhase, ...]] = {
    ExecutionPhase.PENDING: (
        ExecutionPhase.IN_PROGRESS,
        ExecutionPhase.COMPLETED,
        ExecutionPhase.FAILED,
        ExecutionPhase.CANCELLED,
    ),
    ExecutionPhase.IN_PROGRESS: (ExecutionPhase.COMPLETED, ExecutionPhase.FAILED, ExecutionPhase.CANCELLED),
    ExecutionPhase.COMPLETED: (),
    ExecutionPhase.FAILED: (),
    ExecutionPhase.CANCELLED: (),
}

NEXT_STATUSES: Mapping[TaskStatus, tuple[TaskStatus, ...]] = {
    TaskStatus.PENDING: (TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED),
    TaskStatus.IN_PROGRESS: (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED),
    TaskStatus.COMPLETED: (),
    TaskStatus.FAILED: (TaskStatus.IN_PROGRESS,),
    TaskStatus.SKIPPED: (),
}


def _masks(table: Mapping[_S, tuple[_S, ...]]) -> tuple[int, ...]:
    return (0, *(sum(1 << follower for follower in followers) for _, followers in sorted(table.items())))


# An enum's hash is computed in Python, at a tenth of the cost of a whole update; a shift is not.
PHASE_MASKS = _masks(NEXT_PHASES)
STATUS_MASKS = _masks(NEXT_STATUSES)


def remedy(current: ExecutionPhase | TaskStatus) -> str:
    """Say in words what may follow."""
    followers: tuple[ExecutionPhase | TaskStatus, ...] = (
        NEXT_PHASES[current] if isinstance(current, ExecutionPhase) else NEXT_STATUSES[current]
    )
    if not followers:
        return f"{current.name} is final."
    return f"Allowed next: {', '.join(follower.name for follower in followers)}."
