"""Build the status of a long execution in memory, and deliver it to those who watch."""

from ._builder import StatusBuilder
from ._model import (
    ExecutionPhase,
    Outcome,
    Progress,
    Receipt,
    Sink,
    Snapshot,
    Task,
    TaskStatus,
    TaskType,
)
from .delivery import Delivery
from .errors import (
    ContractMismatchError,
    DuplicateTaskError,
    ExecutionEndedError,
    InsecureChannelError,
    InvalidTransitionError,
    StatusBuilderError,
    UnknownTaskError,
)

__all__ = [
    "ContractMismatchError",
    "Delivery",
    "DuplicateTaskError",
    "ExecutionEndedError",
    "ExecutionPhase",
    "InsecureChannelError",
    "InvalidTransitionError",
    "Outcome",
    "Progress",
    "Receipt",
    "Sink",
    "Snapshot",
    "StatusBuilder",
    "StatusBuilderError",
    "Task",
    "TaskStatus",
    "TaskType",
    "UnknownTaskError",
]
