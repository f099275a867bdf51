"""The two backend services."""

from __future__ import annotations

from typing import Final

from ..agent.model import AgentSnapshot
from ..core.model.values import Snapshot
from . import _agent, _read_agent, _workflow
from ._contract import Contract, Format
from .wire import agent_pb2, workflow_pb2


def _contract(name: str, format: Format) -> Contract:
    service = f"/ai.stigmer.agentic.{name}execution.v1.{name.capitalize()}Execution"
    return Contract(
        name=name,
        update_path=f"{service}CommandController/updateStatus",
        get_path=f"{service}QueryController/get",
        list_path=f"{service}QueryController/list",
        subscribe_path=f"{service}QueryController/subscribe",
        format=format,
    )


WORKFLOW_EXECUTION: Final = _contract(
    "workflow",
    Format(
        request_type=workflow_pb2.WorkflowExecutionUpdateStatusInput,
        resource_type=workflow_pb2.WorkflowExecution,
        tracks=_workflow.tracks,
        fitting=_workflow.FITTING,
        read=_workflow.read_snapshot,
        statuses=_workflow.task_statuses,
        snapshot_type=Snapshot,
        list_name="tasks",
    ),
)
"""`WorkflowExecutionCommandController.updateStatus` and its query service."""

AGENT_EXECUTION: Final = _contract(
    "agent",
    Format(
        request_type=agent_pb2.AgentExecutionUpdateStatusInput,
        resource_type=agent_pb2.AgentExecution,
        tracks=_agent.tracks,
        fitting=_agent.FITTING,
        read=_read_agent.read_snapshot,
        statuses=_agent.call_statuses,
        snapshot_type=AgentSnapshot,
        list_name="tool_calls",
    ),
)
"""`AgentExecutionCommandController.updateStatus` and its query service."""
