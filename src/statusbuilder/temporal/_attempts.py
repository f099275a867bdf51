"""Attempts at activities, where no signal tells of them: the result itself says which one gave it."""

from __future__ import annotations

import json
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ChildWorkflowError, RetryState, is_cancelled_exception
from temporalio.worker import StartActivityInput, StartChildWorkflowInput, StartLocalActivityInput

from ._failures import cause_of
from ._names import RETRIED
from ._retry import is_retryable


def is_told(attempt: int) -> bool:
    """Whether a signal tells of an attempt: of the first ten, and then of ever fewer.

    A signal is four events, and Temporal allows a workflow only so many of either. Some activities poll by failing, and
    are retried thousands of times.
    """
    return 1 < attempt <= 10 or attempt.bit_count() == 1 < attempt


def marked(result: Any, report: dict[str, Any]) -> Any:
    """Return a result whose payload has a report in its metadata, so that the history has it too.

    It is as it was where the converter is not one that lets finished payloads through.
    """
    try:
        converter, payload = activity.payload_converter(), Payload()
        payload.CopyFrom(converter.to_payloads([result])[0])
        payload.metadata[RETRIED] = json.dumps(report).encode()
        finished = RawValue(payload)
        return finished if converter.to_payloads([finished]) == [payload] else result
    except Exception:
        return result  # what the worker makes of it is its own affair


def take_reports(act: WorkflowActivation) -> list[dict[str, Any]]:
    """Take the reports out of the results of activities, so that the workflow gets these as they were."""
    reports = []
    for job in act.jobs:
        if job.HasField("resolve_activity"):
            metadata = job.resolve_activity.result.completed.result.metadata
            if RETRIED in metadata:
                reports.append(json.loads(metadata[RETRIED]))
                del metadata[RETRIED]
    return reports


def retries_before(
    input: StartActivityInput | StartLocalActivityInput | StartChildWorkflowInput, error: BaseException
) -> int | None:
    """Return how often an activity or child workflow was retried before it failed; None where that does not show.

    A failure has no place for a report, but one that ended the last attempt of a known number says enough.
    """
    policy = input.retry_policy
    if policy is None or policy.maximum_attempts < 2:
        return None
    if isinstance(input, StartLocalActivityInput):
        certain = input.schedule_to_close_timeout is None
        ran_out = certain and is_retryable(policy, cause_of(error)) and not is_cancelled_exception(error)
    else:
        state = error.retry_state if isinstance(error, (ActivityError, ChildWorkflowError)) else None
        ran_out = state is RetryState.MAXIMUM_ATTEMPTS_REACHED
    return policy.maximum_attempts - 1 if ran_out else None
