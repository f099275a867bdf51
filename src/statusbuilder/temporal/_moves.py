"""Which commands of a workflow begin a step, and which jobs end one: two tables, as `_events` is for histories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs
from temporalio import exceptions
from temporalio.api.common.v1 import Payload

from ._events import Reader, activity, child, operation, signal, timer
from ._payloads import error_of, value_of

Key: TypeAlias = "tuple[str, Any]"
"""What a job names a step by: what it is, and its number among those."""


STARTS: Mapping[str, tuple[str, Reader]] = {
    "schedule_activity": ("activity", activity),
    "schedule_local_activity": ("activity", activity),
    "start_child_workflow_execution": ("child", child),
    "schedule_nexus_operation": ("operation", operation),
    "signal_external_workflow_execution": ("signal", signal),
    "start_timer": ("timer", timer),
}
"""The commands that begin a step: what it is, and how they are read."""
CANCELS: Mapping[str, str] = {
    "request_cancel_activity": "activity",
    "request_cancel_local_activity": "activity",
}
"""The commands that ask for the end of a step."""


# What ends


@attrs.frozen
class End:
    """How a job ends a step."""

    key: Key
    output: Any = None
    error: BaseException | None = None


def _resolved(what: str) -> Callable[[Any], End | None]:
    def resolved(told: Any) -> End | None:
        return _end((what, told.seq), told.result)

    return resolved


def _end(key: Key, result: Any) -> End | None:
    name = result.WhichOneof("status")
    if name not in ("completed", "failed", "cancelled", "timed_out"):
        return None  # a local activity that waits for its next attempt
    told = getattr(result, name)
    if name == "completed":
        payload = told if isinstance(told, Payload) else told.result
        return End(key, value_of(payload))
    return End(key, error=error_of(getattr(told, "failure", told)))


def _not_started(told: Any) -> End | None:
    if told.HasField("cancelled"):
        return End(("child", told.seq), error=exceptions.CancelledError())
    if not told.HasField("failed"):
        return None
    error = exceptions.WorkflowAlreadyStartedError(told.failed.workflow_id, told.failed.workflow_type)
    return End(("child", told.seq), error=error)


def _failed_if(what: str, field: str) -> Callable[[Any], End | None]:
    def resolved(told: Any) -> End | None:
        return End((what, told.seq), error=error_of(getattr(told, field))) if told.HasField(field) else None

    return resolved


def _signalled(told: Any) -> End:
    error = exceptions.ApplicationError("the workflow is not there") if told.HasField("failure") else None
    return End(("signal", told.seq), error=error)


ENDS: Mapping[str, Callable[[Any], End | None]] = {
    "resolve_activity": _resolved("activity"),
    "resolve_child_workflow_execution": _resolved("child"),
    "resolve_child_workflow_execution_start": _not_started,
    "resolve_nexus_operation": _resolved("operation"),
    "resolve_nexus_operation_start": _failed_if("operation", "failed"),
    "resolve_signal_external_workflow": _signalled,
    "fire_timer": lambda told: End(("timer", told.seq)),
}
"""The jobs that end a step."""
