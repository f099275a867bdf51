"""Which commands of a workflow begin a step, and which jobs end one: two tables, as `_events` is for histories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import attrs
from temporalio import exceptions
from temporalio.api.common.v1 import Payload
from temporalio.workflow import ParentClosePolicy

from ..core.model.values import TaskStatus
from ..payload.policy import PayloadPolicy
from ._payloads import error_of, given, value_of
from ._steps import Step

Key: TypeAlias = "tuple[str, Any]"
"""What a job names a step by: what it is, and its number among those."""
Begun: TypeAlias = "tuple[Key, dict[str, Any]]"


# What begins


def _activity(told: Any) -> Begun:
    facts = {"activity_id": told.activity_id, "queue": told.task_queue, "input": given(told.arguments)}
    return ("activity", told.seq), {"kind": told.activity_type, **facts}


def _local(told: Any) -> Begun:
    facts = {"activity_id": told.activity_id, "input": given(told.arguments)}
    return ("activity", told.seq), {"kind": told.activity_type, **facts}


def _child(told: Any) -> Begun:
    outlives = told.parent_close_policy == ParentClosePolicy.ABANDON
    facts = {"input": given(told.input), "metadata": {"workflow_id": told.workflow_id}, "outlives": outlives}
    return ("child", told.seq), {"kind": told.workflow_type, **facts}


def _operation(told: Any) -> Begun:
    known = {"endpoint": told.endpoint, "service": told.service}
    return ("operation", told.seq), {"kind": told.operation, "input": value_of(told.input), "metadata": known}


def _signal(told: Any) -> Begun:
    to = told.child_workflow_id or told.workflow_execution.workflow_id
    facts = {"name": f"Signal {told.signal_name} to {to}", "input": given(told.args), "metadata": {"workflow_id": to}}
    return ("signal", told.seq), {"kind": told.signal_name, **facts}


STARTS: Mapping[str, Callable[[Any], Begun]] = {
    "schedule_activity": _activity,
    "schedule_local_activity": _local,
    "start_child_workflow_execution": _child,
    "schedule_nexus_operation": _operation,
    "signal_external_workflow_execution": _signal,
    "start_timer": lambda told: (("timer", told.seq), {"kind": "timer"}),
}
"""The commands that begin a step."""
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


def begin(command: Any, at: datetime) -> tuple[Key, Step] | None:
    """Return the step that a command begins; None where it begins none that anybody would look for."""
    name = command.WhichOneof("variant")
    make = STARTS.get(name)
    summary = value_of(command.user_metadata.summary)
    if make is None or (name == "start_timer" and not summary):
        return None
    key, facts = make(getattr(command, name))
    shown = summary if isinstance(summary, str) and summary else facts.get("name") or facts["kind"]
    return key, Step(**{**facts, "name": shown, "started_at": at, "event_id": 0})


# What ends


@attrs.frozen
class End:
    """How a job ends a step."""

    key: Key
    output: Any = None
    error: BaseException | None = None

    def close(self, step: Step, at: datetime, policy: PayloadPolicy) -> None:
        """Note it in the step."""
        if self.error is not None:
            step.fail(self.error, at, 0, policy)
        else:
            step.end(TaskStatus.COMPLETED, at, 0)
            step.output = self.output


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
