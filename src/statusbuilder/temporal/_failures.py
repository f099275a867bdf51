"""Temporal's failures in words."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import exceptions

from ..payload.members import error_text

STOPPED = "the worker was stopped"
_WRAPPINGS: Mapping[type[BaseException], str] = {
    exceptions.ActivityError: "activity {0.activity_type!r}",
    exceptions.ChildWorkflowError: "child workflow {0.workflow_type!r}",
    exceptions.NexusOperationError: "Nexus operation {0.operation!r}",
}


def cause_of(error: BaseException) -> BaseException:
    """Return what an activity, child workflow or Nexus operation failed with; any other error is its own cause."""
    while isinstance(error, tuple(_WRAPPINGS)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def describe(error: BaseException) -> str:
    """Say in one line what went wrong."""
    cause = cause_of(error)
    if isinstance(cause, exceptions.ApplicationError):
        if (cause.type, cause.message) == ("CancelledError", "Activity cancelled"):
            return STOPPED  # nobody cancelled it: that would be a CancelledError of Temporal's
        return f"{cause.type}: {cause.message}" if cause.type and cause.message else cause.type or cause.message
    if isinstance(cause, exceptions.TimeoutError):
        return "timed out" if cause.type is None else f"timed out ({cause.type.name})"
    if isinstance(cause, (exceptions.CancelledError, exceptions.TerminatedError)):
        return "cancelled" if isinstance(cause, exceptions.CancelledError) else "terminated"
    if isinstance(cause, exceptions.WorkflowAlreadyStartedError):
        return f"workflow {cause.workflow_id!r} is already running"
    if isinstance(cause, exceptions.FailureError):
        return cause.message or type(cause).__name__
    return error_text(cause)


def describe_end(error: BaseException) -> str:
    """Say why a workflow failed, naming the activity or child workflow whose failure it is."""
    what = _WRAPPINGS.get(type(error))
    return describe(error) if what is None else f"{what.format(error)} failed: {describe(error)}"
