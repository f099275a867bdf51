"""Attempts at local activities: no event tells of them, so the result itself says which one gave it."""

from __future__ import annotations

import json
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, TimeoutError, TimeoutType
from temporalio.worker import StartLocalActivityInput

from ._failures import cause_of
from ._names import RETRIED


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
    """Take the reports out of the results of local activities, so that the workflow gets these as they were."""
    reports = []
    for job in act.jobs:
        if job.HasField("resolve_activity") and job.resolve_activity.is_local:
            metadata = job.resolve_activity.result.completed.result.metadata
            if RETRIED in metadata:
                reports.append(json.loads(metadata[RETRIED]))
                del metadata[RETRIED]
    return reports


def retries_before(input: StartLocalActivityInput, error: BaseException) -> int | None:
    """Return how often a local activity was retried before it failed; None where that is not certain.

    A failure has no place for a report, but one that would have been retried shows that all attempts were made.
    """
    policy, cause = input.retry_policy, cause_of(error)
    if policy is None or policy.maximum_attempts < 2 or input.schedule_to_close_timeout is not None:
        return None
    if isinstance(cause, ApplicationError):
        again = not cause.non_retryable and cause.type not in (policy.non_retryable_error_types or ())
    else:
        again = isinstance(cause, TimeoutError) and cause.type is TimeoutType.START_TO_CLOSE
    return policy.maximum_attempts - 1 if again else None
