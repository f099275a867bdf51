"""What a snapshot is after it went over the wire, which carries less than the snapshot has."""

from __future__ import annotations

from .._model import Snapshot
from ..contracts import AGENT_EXECUTION, contract_for
from ..contracts.wire import agent_pb2, workflow_pb2


def through_the_wire(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot as a backend that shows it would be read back."""
    contract = contract_for(snapshot)
    agent = contract is AGENT_EXECUTION
    kind = agent_pb2.AgentExecutionUpdateStatusInput if agent else workflow_pb2.WorkflowExecutionUpdateStatusInput
    request = kind.FromString(contract.encode(snapshot))
    return contract.to_snapshot(request.status, snapshot.execution_id)
