"""Which events of a history begin and end a step of its workflow: two tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs
from temporalio import exceptions
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ParentClosePolicy
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from ..core.model.times import from_nanos
from ._payloads import error_of, given, value_of
from ._steps import Step

LOCAL_ACTIVITY = "core_local_activity"
"""The name of the markers that tell of local activities."""


def time_of(stamp: Any) -> datetime:
    """Return a time of the server's, which is a protobuf timestamp."""
    return from_nanos(stamp.ToNanoseconds())


# What begins


def _activity(told: Any, event: HistoryEvent) -> Step:
    number = told.activity_id
    order = int(number) if number.isascii() and number.isdigit() else None
    queue = told.task_queue.name
    return _step(event, told.activity_type.name, order=order, input=given(told.input), activity_id=number, queue=queue)


def _child(told: Any, event: HistoryEvent) -> Step:
    outlives = told.parent_close_policy == ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON
    known = {"workflow_id": told.workflow_id}
    return _step(event, told.workflow_type.name, input=given(told.input), metadata=known, outlives=outlives)


def _operation(told: Any, event: HistoryEvent) -> Step:
    known = {"endpoint": told.endpoint, "service": told.service}
    return _step(event, told.operation, input=value_of(told.input), metadata=known)


def _timer(told: Any, event: HistoryEvent) -> Step | None:
    # Most timers are only how code waits; one that somebody has named is something to wait for.
    return _step(event, "timer") if event.user_metadata.HasField("summary") else None


def _signal(told: Any, event: HistoryEvent) -> Step:
    to = told.workflow_execution.workflow_id
    return _step(event, told.signal_name, f"Signal {told.signal_name} to {to}", given(told.input), {"workflow_id": to})


def begin_update(request: Any, event: HistoryEvent) -> Step:
    """Return the step that the acceptance of an update begins."""
    return _step(
        event, request.input.name, input=given(request.input.args), metadata={"update_id": request.meta.update_id}
    )


def _step(
    event: HistoryEvent,
    kind: str,
    name: str | None = None,
    input: Any = None,
    metadata: dict[str, Any] | None = None,
    **more: Any,
) -> Step:
    summary = value_of(event.user_metadata.summary)
    shown = summary if isinstance(summary, str) and summary else name or kind
    return Step(
        kind=kind,
        name=shown,
        started_at=time_of(event.event_time),
        event_id=event.event_id,
        input=input,
        metadata=metadata or {},
        **more,
    )


STARTS: Mapping[str, Callable[[Any, HistoryEvent], Step | None]] = {
    "activity_task_scheduled": _activity,
    "start_child_workflow_execution_initiated": _child,
    "nexus_operation_scheduled": _operation,
    "timer_started": _timer,
    "signal_external_workflow_execution_initiated": _signal,
}
"""The events that begin a step, by the names of their attributes."""


# What ends


def _failure(told: Any) -> BaseException:
    return error_of(told.failure)


def _child_failed(told: Any) -> BaseException:
    # As its parent sees it: of a child that was not cancelled itself, no cancellation, whatever it failed with.
    return error_of(Failure(cause=told.failure, child_workflow_execution_failure_info={}))  # type: ignore[arg-type]


def _child_timed_out(told: Any) -> BaseException:
    return exceptions.TimeoutError("", type=exceptions.TimeoutType.START_TO_CLOSE, last_heartbeat_details=[])


def _child_not_started(told: Any) -> BaseException:
    return exceptions.WorkflowAlreadyStartedError(told.workflow_id, told.workflow_type.name)


def _not_signalled(told: Any) -> BaseException:
    return exceptions.ApplicationError(f"workflow {told.workflow_execution.workflow_id!r} is not there")


@attrs.frozen
class End:
    """How an event ends a step."""

    begun_by: str
    """The attribute that names the event which began it."""
    result: str | None = None
    """The attribute that holds what it gave; None where it failed, or gives nothing."""
    error: Callable[[Any], BaseException] | None = None
    """What it failed with; None where it did not."""


_SCHEDULED, _INITIATED, _STARTED = "scheduled_event_id", "initiated_event_id", "started_event_id"
ENDS: Mapping[str, End] = {
    "activity_task_completed": End(_SCHEDULED, "result"),
    "activity_task_failed": End(_SCHEDULED, error=_failure),
    "activity_task_timed_out": End(_SCHEDULED, error=_failure),
    "activity_task_canceled": End(_SCHEDULED, error=lambda told: exceptions.CancelledError()),
    "child_workflow_execution_completed": End(_INITIATED, "result"),
    "child_workflow_execution_failed": End(_INITIATED, error=_child_failed),
    "child_workflow_execution_canceled": End(_INITIATED, error=lambda told: exceptions.CancelledError()),
    "child_workflow_execution_timed_out": End(_INITIATED, error=_child_timed_out),
    "child_workflow_execution_terminated": End(_INITIATED, error=lambda told: exceptions.TerminatedError("")),
    "start_child_workflow_execution_failed": End(_INITIATED, error=_child_not_started),
    "nexus_operation_completed": End(_SCHEDULED, "result"),
    "nexus_operation_failed": End(_SCHEDULED, error=_failure),
    "nexus_operation_canceled": End(_SCHEDULED, error=_failure),
    "nexus_operation_timed_out": End(_SCHEDULED, error=_failure),
    "external_workflow_execution_signaled": End(_INITIATED),
    "signal_external_workflow_execution_failed": End(_INITIATED, error=_not_signalled),
    "timer_fired": End(_STARTED),
    "workflow_execution_update_completed": End("accepted_event_id", "outcome"),
}
"""The events that end a step, by the names of their attributes; a timer's cancellation is no failure, and not here."""


# Local activities, of which only their end is told


@attrs.frozen
class LocalEnd:
    """What a marker tells of a local activity."""

    key: str
    """The same for all attempts at one of them."""
    step: Step
    attempt: int
    completed_at: datetime
    goes_on: bool
    """Whether it is tried again after a time that a timer waits."""


def read_marker(told: Any, event: HistoryEvent) -> LocalEnd | None:
    """Read what a marker tells of a local activity; None where it is no such marker, or one that cannot be read."""
    if told.marker_name != LOCAL_ACTIVITY:
        return None
    try:
        data = json.loads(told.details["data"].payloads[0].data)
        kind, order, attempt = data["activity_type"], data["seq"], data["attempt"]
        scheduled, completed = _nanos(data["original_schedule_time"]), _nanos(data["complete_time"])
    except (LookupError, ValueError, TypeError):
        return None
    step = attrs.evolve(_step(event, kind), order=order, started_at=from_nanos(scheduled))
    # It is told in the workflow's time, which stands still, and to which only the last attempt's length is added.
    ended = from_nanos(completed) if attempt == 1 and completed >= scheduled else time_of(event.event_time)
    return LocalEnd(f"{kind}/{scheduled}", step, attempt, ended, data.get("backoff") is not None)


def _nanos(time: Mapping[str, int]) -> int:
    return time["seconds"] * 10**9 + time["nanos"]


def result_of(result: Any) -> Any:
    """Return what an event's result holds: payloads, a single one, or the outcome of an update."""
    if isinstance(result, Payload):
        return value_of(result)
    return given(result.success if hasattr(result, "success") else result)
