"""Build the status of a long execution in memory, and deliver it to those who watch."""

from typing import TYPE_CHECKING

from .core.builder import StatusBuilder, TaskBlock
from .core.model.values import (
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
    UnknownMessageError,
    UnknownTaskError,
)
from .payload.redact import DEFAULT_SECRET_KEYS

__all__ = [
    "DEFAULT_SECRET_KEYS",
    "AgentSnapshot",
    "AgentStatusBuilder",
    "ContractMismatchError",
    "Delivery",
    "DuplicateTaskError",
    "ExecutionEndedError",
    "ExecutionPhase",
    "InsecureChannelError",
    "InvalidTransitionError",
    "Message",
    "MessageType",
    "Outcome",
    "Progress",
    "Receipt",
    "Sink",
    "Snapshot",
    "StatusBuilder",
    "StatusBuilderError",
    "Task",
    "TaskBlock",
    "TaskStatus",
    "TaskType",
    "Todo",
    "TodoStatus",
    "UnknownMessageError",
    "UnknownTaskError",
]

if TYPE_CHECKING:
    from .agent.builder import AgentSnapshot, AgentStatusBuilder, Message, MessageType, Todo, TodoStatus
    from .delivery import Delivery
else:
    # Deliveries and agents would double the time of the import; type checkers see the real imports above, and no other
    # name.
    def __getattr__(name):
        if name == "Delivery":
            from . import delivery as module
        elif name in __all__:
            from .agent import builder as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)
