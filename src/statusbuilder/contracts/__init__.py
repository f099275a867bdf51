"""How a snapshot becomes one backend's request (`WORKFLOW_EXECUTION`, `AGENT_EXECUTION`), and the way back.

Importing this loads protobuf; `import statusbuilder` does not.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from ..agent.model import AgentSnapshot
from ..core.model.values import Snapshot
from . import _agent, _encoder, _workflow
from ._contract import Contract, State
from ._encoder import Encoder, fit_dict
from ._message import settled
from .wire import agent_pb2, workflow_pb2

__all__ = [
    "AGENT_EXECUTION", "WORKFLOW_EXECUTION", "Contract", "Encoder", "State", "contract_for", "fit_dict", "settled",
    "to_status",
]  # fmt: skip

_Status = TypeVar("_Status")

WORKFLOW_EXECUTION: Final = Contract(
    "workflow", Snapshot, workflow_pb2, _workflow.STATUS, _encoder.workflow_encoder, _workflow.read_snapshot
)
"""`WorkflowExecutionCommandController.updateStatus` and its query service."""

AGENT_EXECUTION: Final = Contract(
    "agent", AgentSnapshot, agent_pb2, _agent.STATUS, _encoder.agent_encoder, _agent.read_snapshot
)
"""`AgentExecutionCommandController.updateStatus` and its query service."""


def contract_for(snapshot: Snapshot) -> Contract:
    """Return the contract that fits a snapshot's type."""
    return AGENT_EXECUTION if isinstance(snapshot, AgentSnapshot) else WORKFLOW_EXECUTION


def to_status(snapshot: Snapshot, status_type: type[_Status], max_bytes: int | None = None) -> _Status:
    """Return a snapshot as a backend's own status message, for those who send it themselves.

    Args:
        snapshot: of any builder.
        status_type: the backend's generated class of `WorkflowExecutionStatus` or `AgentExecutionStatus`.
        max_bytes: of the status as bytes; one that takes more is shortened as by `Encoder.encode`.

    Raises:
        ContractMismatchError: the class lacks or contradicts a field that is sent.
    """
    names: Any = getattr(getattr(status_type, "DESCRIPTOR", None), "fields_by_name", ())
    contract = AGENT_EXECUTION if "tool_calls" in names else WORKFLOW_EXECUTION
    contract.verify(status_type, status=True)
    made: _Status = status_type.FromString(contract.encode_status(snapshot, max_bytes))  # type: ignore[attr-defined]
    return made
