"""Build the status of a long execution in memory, and deliver it to those who watch."""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from .delivery import Delivery
else:
    # Deliveries bring threads, futures and logging, which would double the time of the import; type checkers see the
    # real import above, and no other name.
    def __getattr__(name):
        if name != "Delivery":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .delivery import Delivery

        return Delivery
