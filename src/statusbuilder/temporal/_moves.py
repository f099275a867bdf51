"""Which commands of a workflow begin a step, and which jobs end one: two tables, as `_events` is for histories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from temporalio import exceptions
from temporalio.api.common.v1 import Payload

from ._events import Reader, activity, child, operation, signal, timer
from ._payloads import error_of, value_of

Key: TypeAlias = "tuple[str, Any]"
"""What a job names a step by: what it is, and its number among those."""
Gave: TypeAlias = "tuple[Any, BaseException | None]"
"""What a step gave, or failed with."""


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
_UNDOES: Mapping[str, tuple[str, str]] = {
    "cancel_child_workflow_execution": ("child", "child_workflow_seq"),
    "cancel_signal_workflow": ("signal", "seq"),
    "cancel_timer": ("timer", "seq"),
    "request_cancel_activity": ("activity", "seq"),
    "request_cancel_nexus_operation": ("operation", "seq"),
}


def undone(commands: Iterable[Any]) -> set[Key]:
    """Return what these commands cancel: where one of them began it, the server never hears of it."""
    found = ((command, *_UNDOES[name]) for command in commands if (name := command.WhichOneof("variant")) in _UNDOES)
    return {(what, getattr(getattr(command, command.WhichOneof("variant")), seq)) for command, what, seq in found}


# What ends


def _resolved(told: Any) -> Gave | None:
    name = told.result.WhichOneof("status")
    if name not in ("completed", "failed", "cancelled", "timed_out"):
        return None  # a local activity that waits for its next attempt
    gave = getattr(told.result, name)
    if name == "completed":
        return value_of(gave if isinstance(gave, Payload) else gave.result), None
    return None, error_of(getattr(gave, "failure", gave))


def _not_started(told: Any) -> Gave | None:
    if told.HasField("cancelled"):
        return None, exceptions.CancelledError()
    if not told.HasField("failed"):
        return None
    return None, exceptions.WorkflowAlreadyStartedError(told.failed.workflow_id, told.failed.workflow_type)


def _failed(told: Any) -> Gave | None:
    return (None, error_of(told.failed)) if told.HasField("failed") else None


def _signalled(told: Any) -> Gave:
    return None, exceptions.ApplicationError("the workflow is not there") if told.HasField("failure") else None


ENDS: Mapping[str, tuple[str, Callable[[Any], Gave | None]]] = {
    "resolve_activity": ("activity", _resolved),
    "resolve_child_workflow_execution": ("child", _resolved),
    "resolve_child_workflow_execution_start": ("child", _not_started),
    "resolve_nexus_operation": ("operation", _resolved),
    "resolve_nexus_operation_start": ("operation", _failed),
    "resolve_signal_external_workflow": ("signal", _signalled),
    "fire_timer": ("timer", lambda told: (None, None)),
}
"""The jobs that end a step: what it is, and how they are read; None where it goes on."""
