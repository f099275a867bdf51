"""The numbers of the wire, and the words of receipts."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExecutionPhase(IntEnum):
    """How far an execution is; the numbers are those of the wire's `ExecutionPhase`."""

    PENDING = 1
    IN_PROGRESS = 2
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended in this phase."""
        return self >= ExecutionPhase.COMPLETED


class TaskStatus(IntEnum):
    """How far a task is; the numbers are those of the wire's `WorkflowTaskStatus`."""

    PENDING = 1
    IN_PROGRESS = 2
    COMPLETED = 3
    FAILED = 4
    SKIPPED = 5

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended in this status; a FAILED one may still be retried."""
        return self >= TaskStatus.COMPLETED


class TaskType(IntEnum):
    """What a task is; the numbers up to CUSTOM are those of the wire's `WorkflowTaskType`."""

    AGENT_INVOCATION = 1
    APPROVAL = 2
    API_CALL = 3
    CONDITIONAL = 4
    PARALLEL = 5
    TRANSFORM = 6
    CUSTOM = 7
    TOOL_CALL = 1000
    """An agent's tool call; CUSTOM on the workflow wire, which has no such type."""


class Outcome(StrEnum):
    """What became of the last snapshot that a sink was given."""

    DELIVERED = "delivered"
    """The sink took it."""
    CONFIRMED = "confirmed"
    """The sink took it, and showed it afterwards, when an earlier attempt could no longer overwrite it."""
    PENDING = "pending"
    """Delivery goes on in the background."""
    SPOOLED = "spooled"
    """Not delivered yet, but on disk: this or the next process that opens the spool delivers it."""
    SUPERSEDED = "superseded"
    """The backend holds something newer, from another builder of the execution."""
    CONFLICT = "conflict"
    """The backend took it but keeps showing something else: another writer is at work."""
    LOST = "lost"
    """It was not delivered and will not be; the reason says why."""
