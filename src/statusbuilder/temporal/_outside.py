"""The end of workflows that were ended from outside, where no code of theirs runs any more."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
)

from ..core.builder import StatusBuilder
from ..core.model.times import to_millis
from ..core.model.values import ExecutionPhase, Receipt, Snapshot, TaskStatus
from ..core.state import FORGOTTEN
from ..delivery import Deliverer
from ._failures import describe_end
from ._names import MEMO, QUERY
from ._send import send_final

log = logging.getLogger("statusbuilder")

_QUERY_TIMEOUT = timedelta(seconds=5)
_PHASES = {
    WorkflowExecutionStatus.COMPLETED: ExecutionPhase.COMPLETED,
    WorkflowExecutionStatus.FAILED: ExecutionPhase.FAILED,
    WorkflowExecutionStatus.CANCELED: ExecutionPhase.CANCELLED,
    WorkflowExecutionStatus.TERMINATED: ExecutionPhase.FAILED,
    WorkflowExecutionStatus.TIMED_OUT: ExecutionPhase.FAILED,
}


async def close_status(
    client: Client,
    workflow_id: str,
    *,
    sink: Deliverer,
    run_id: str | None = None,
    execution_id: str | None = None,
    timeout: float = 30.0,
) -> Receipt | None:
    """End the status of a workflow that was terminated, or timed out, and deliver it.

    No code of such a workflow runs any more, so its status stays IN_PROGRESS until somebody outside calls this: who
    terminates workflows, right after it, or a job that looks at closed ones now and then. The run is described, its
    last state is asked for with the query `statusbuilder.status`, which a worker answers from the history, and ended
    as the run was: FAILED for a terminated or timed-out one. Where no worker answers, only the phase is known, and
    the tasks are left as the backend has them.

    It does no harm to a run that ended by itself, and may be called again.

    Args:
        client: A client of the workflow's namespace.
        workflow_id: The workflow.
        sink: Where the status goes: a `GrpcSink` or a `Delivery`.
        run_id: One run of it; by default the last one.
        execution_id: The backend's id, where the plugin was given a function for it and no worker may answer.
        timeout: Seconds to deliver at most.

    Returns:
        What became of it, or None: the run is still open, or goes on as a new one.
    """
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    description = await handle.describe()
    phase = None if description.status is None else _PHASES.get(description.status)
    if phase is None:
        return None
    handle = client.get_workflow_handle(workflow_id, run_id=description.run_id)
    event = await _closing_event(handle)
    if event is not None and _goes_on(event):
        return None
    last = await _last_state(handle)
    if last is None:
        last = Snapshot(
            execution_id or await _memo(description) or workflow_id,
            epoch=to_millis(description.start_time),
            temporal_workflow_id=workflow_id,
        )
    elif last.is_terminal:
        return await send_final(sink, last, timeout, patient=True)
    return await send_final(sink, await _ended(client, last, phase, event), timeout, patient=True)


async def _last_state(handle: WorkflowHandle[Any, Any]) -> Snapshot | None:
    try:
        return Snapshot.from_dict(await handle.query(QUERY, rpc_timeout=_QUERY_TIMEOUT))
    except Exception as error:
        log.info("No worker answers for workflow %r: %r", handle.id, error)
        return None


async def _memo(description: WorkflowExecutionDescription) -> str | None:
    value = (await description.memo()).get(MEMO)
    return value if isinstance(value, str) and value else None


async def _closing_event(handle: WorkflowHandle[Any, Any]) -> HistoryEvent | None:
    kind = WorkflowHistoryEventFilterType.CLOSE_EVENT
    async for event in handle.fetch_history_events(event_filter_type=kind):
        return event
    return None


def _goes_on(event: HistoryEvent) -> bool:
    """Whether a run was followed by another one, which its retry policy or schedule asks for."""
    attributes = event.WhichOneof("attributes")
    return bool(attributes and getattr(getattr(event, attributes), "new_execution_run_id", ""))


async def _ended(client: Client, last: Snapshot, phase: ExecutionPhase, event: HistoryEvent | None) -> Snapshot:
    """Return the last state as the closing event ended it; one epoch later, so that nothing of the run is newer."""
    builder = StatusBuilder(last.execution_id, initial=last, epoch=last.epoch + 1)
    if phase is ExecutionPhase.FAILED:
        builder.with_error(await _reason(client, event))
        return builder.snapshot()
    for task in last.current_tasks if phase is ExecutionPhase.COMPLETED else ():
        builder.update_task_status(task.task_id, TaskStatus.FAILED, FORGOTTEN)
    builder.update_status(phase)
    return builder.snapshot()


async def _reason(client: Client, event: HistoryEvent | None) -> str:
    if event is not None and event.HasField("workflow_execution_terminated_event_attributes"):
        reason = event.workflow_execution_terminated_event_attributes.reason
        return f"the workflow was terminated: {reason}" if reason else "the workflow was terminated"
    if event is not None and event.HasField("workflow_execution_failed_event_attributes"):
        failure = event.workflow_execution_failed_event_attributes.failure
        return describe_end(await client.data_converter.decode_failure(failure))
    return "the workflow timed out"
