"""Which events of a history begin and end a step of its workflow: two tables; and what commands begin likewise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import attrs
from temporalio import exceptions
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ParentClosePolicy, PendingActivityState
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo

from ..core.model.times import from_nanos
from ._names import HEARTBEAT
from ._payloads import error_of, given, is_ours, value_of
from ._steps import Step

Reader: TypeAlias = "Callable[[Any], dict[str, Any]]"
NEXT_ATTEMPT = "the next attempt"
UNPAUSED = "somebody who unpauses it"
_PAUSED = 4
"""The state of a paused activity, which older SDKs have no name for."""
LOCAL_ACTIVITY = "core_local_activity"
"""The name of the markers that tell of local activities."""


def time_of(stamp: Any) -> datetime:
    """Return a time of the server's, which is a protobuf timestamp."""
    return from_nanos(stamp.ToNanoseconds())


# What begins, as commands and events tell it alike: they write types as texts, and as messages with a name


def _text(named: Any) -> str:
    return str(getattr(named, "name", named))


def activity(told: Any) -> dict[str, Any]:
    """Read what begins an activity."""
    number, queue = told.activity_id, _text(getattr(told, "task_queue", ""))
    order = int(number) if number.isascii() and number.isdigit() else None
    return {"kind": _text(told.activity_type), "activity_id": number, "order": order, "queue": queue}


def child(told: Any) -> dict[str, Any]:
    """Read what begins a child workflow."""
    outlives = told.parent_close_policy == ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON
    return {"kind": _text(told.workflow_type), "metadata": {"workflow_id": told.workflow_id}, "outlives": outlives}


def operation(told: Any) -> dict[str, Any]:
    """Read what begins a Nexus operation."""
    return {"kind": told.operation, "metadata": {"endpoint": told.endpoint, "service": told.service}}


def signal(told: Any) -> dict[str, Any]:
    """Read what begins a signal to another workflow."""
    to = getattr(told, "child_workflow_id", "") or told.workflow_execution.workflow_id
    return {"kind": told.signal_name, "name": f"Signal {told.signal_name} to {to}", "metadata": {"workflow_id": to}}


def timer(told: Any) -> dict[str, Any]:
    """Read what begins a timer."""
    return {"kind": "timer"}


def update(request: Any) -> dict[str, Any]:
    """Read what begins an update."""
    facts = {"input": given(request.input.args), "metadata": {"update_id": request.meta.update_id}}
    return {"kind": request.input.name, **facts}


def begin(read: Reader, told: Any, described: Any, at: datetime, event_id: int = 0) -> Step | None:
    """Return the step that begins, named by its summary; None where it is none that anybody would look for.

    Args:
        read: Reads it.
        told: The command, or the event's attributes.
        described: The metadata of the user's beside it.
        at: When it happened.
        event_id: The event.
    """
    # Most timers are only how code waits; one that somebody has named is something to wait for.
    if read is timer and not described.HasField("summary"):
        return None
    facts = {"input": _input(told), "name": None, **read(told)}
    summary = value_of(described.summary)
    facts["name"] = summary if isinstance(summary, str) and summary else facts["name"] or facts["kind"]
    return Step(started_at=at, event_id=event_id, **facts)


def _input(told: Any) -> Any:
    payloads = next((getattr(told, name) for name in ("input", "arguments", "args") if hasattr(told, name)), ())
    return value_of(payloads) if isinstance(payloads, Payload) else given(payloads)


STARTS: Mapping[str, Reader] = {
    "activity_task_scheduled": activity,
    "start_child_workflow_execution_initiated": child,
    "nexus_operation_scheduled": operation,
    "timer_started": timer,
    "signal_external_workflow_execution_initiated": signal,
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
    facts = {"kind": kind, "order": order}
    step = begin(lambda told: facts, told, event.user_metadata, from_nanos(scheduled), event.event_id)
    assert step is not None
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


# What only the server knows of an activity that is under way


def note_pending(step: Step, pending: PendingActivityInfo, last_error: str | None) -> None:
    """Add to an open step what the description of its workflow tells.

    Args:
        step: An activity.
        pending: What is told of it; payloads have to be JSON.
        last_error: Why its last attempt failed, in words.
    """
    is_paused = pending.state == _PAUSED
    waits = is_paused or pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    step.note_attempt(pending.attempt, None if waits else time_of(pending.last_started_time), last_error)
    if waits:
        waiting_for = NEXT_ATTEMPT if pending.attempt > 1 else f"a worker of queue {step.queue}"
        step.metadata["waiting_for"] = UNPAUSED if is_paused else waiting_for
    if pending.last_worker_identity:
        step.metadata["worker"] = pending.last_worker_identity
    details = [value_of(detail) for detail in pending.heartbeat_details.payloads]
    said = details[-1][HEARTBEAT].get("progress") if details and is_ours(details[-1]) else None
    if not isinstance(said, Mapping):
        return
    if "message" in said:
        step.metadata["message"] = said["message"]
    if "fraction" in said:
        step.metadata["progress"] = {"done": said["fraction"], "total": 1}
