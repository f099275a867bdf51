"""What only the server knows of an activity that is under way: what it waits for, its attempt, its last failure."""

from __future__ import annotations

from typing import Any

from temporalio.api.enums.v1 import PendingActivityState as State
from temporalio.api.workflow.v1 import PendingActivityInfo

from ._events import time_of
from ._payloads import value_of
from ._steps import Step
from ._work import read_progress

NEXT_ATTEMPT = "the next attempt"


def note_pending(step: Step, pending: PendingActivityInfo, last_error: str | None) -> None:
    """Add to an open step what the description of its workflow tells.

    Args:
        step: An activity.
        pending: What is told of it; payloads have to be JSON.
        last_error: Why its last attempt failed, in words.
    """
    waits = pending.state == State.PENDING_ACTIVITY_STATE_SCHEDULED
    step.note_attempt(pending.attempt, None if waits else time_of(pending.last_started_time), last_error)
    if waits:
        step.metadata["waiting_for"] = NEXT_ATTEMPT if pending.attempt > 1 else f"a worker of queue {step.queue}"
    if pending.last_worker_identity:
        step.metadata["worker"] = pending.last_worker_identity
    details = [value_of(detail) for detail in pending.heartbeat_details.payloads]
    step.metadata.update(_said(details))


def _said(details: list[Any]) -> dict[str, Any]:
    told = read_progress(details)
    said = {} if told is None else told[1]
    if "fraction" in said:
        said["progress"] = {"done": said.pop("fraction"), "total": 1}
    return said
