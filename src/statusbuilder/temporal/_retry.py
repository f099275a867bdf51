"""Whether Temporal tries again, by the rules of its server."""

from __future__ import annotations

from datetime import timedelta

from temporalio import exceptions
from temporalio.common import RetryPolicy


def wait_before_next(policy: RetryPolicy, attempt: int, error: BaseException) -> timedelta | None:
    """Return how long Temporal waits after an attempt that ended with an error; None where no other one follows."""
    if 0 < policy.maximum_attempts <= attempt or not is_retryable(policy, error):
        return None
    if isinstance(error, exceptions.ApplicationError) and error.next_retry_delay is not None:
        return error.next_retry_delay
    longest = policy.maximum_interval or 100 * policy.initial_interval
    growth = policy.backoff_coefficient ** min(attempt - 1, 100)
    return min(growth * policy.initial_interval.total_seconds(), longest.total_seconds()) * timedelta(seconds=1)


def is_retryable(policy: RetryPolicy, error: BaseException) -> bool:
    """Whether an error is one after which Temporal tries again, if there is time and an attempt left."""
    kind = type(error).__name__
    if isinstance(error, exceptions.ApplicationError):
        if error.non_retryable:
            return False
        kind = error.type or kind
    elif isinstance(error, exceptions.TimeoutError):
        return error.type in (exceptions.TimeoutType.START_TO_CLOSE, exceptions.TimeoutType.HEARTBEAT)
    return kind not in (policy.non_retryable_error_types or ())
