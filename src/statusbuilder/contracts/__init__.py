"""How a snapshot becomes one backend's request (`WORKFLOW_EXECUTION`, `AGENT_EXECUTION`), and the way back.

Importing this loads protobuf; `import statusbuilder` does not.
"""

from __future__ import annotations

from ..core.model.values import Snapshot
from ._contract import Contract, Encoder, State
from ._contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION

__all__ = ["AGENT_EXECUTION", "WORKFLOW_EXECUTION", "Contract", "Encoder", "State", "contract_for"]


def contract_for(snapshot: Snapshot) -> Contract:
    """Return the contract that fits a snapshot's type."""
    return AGENT_EXECUTION if isinstance(snapshot, AGENT_EXECUTION.snapshot_type) else WORKFLOW_EXECUTION
