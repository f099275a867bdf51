"""Builders of activities: an execution of its own that outlives attempts and workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from temporalio import activity, exceptions
from temporalio.activity import _CompleteAsyncError
from temporalio.common import RetryPolicy

from ..agent.builder import AgentStatusBuilder
from ..agent.model import AgentSnapshot
from ..core.builder import StatusBuilder
from ..core.model.values import ExecutionPhase, Sink, Snapshot, TaskStatus
from ._failures import STOPPED
from ._work import present, read_snapshot

_B = TypeVar("_B", bound=StatusBuilder)


def activity_builder(
    kind: type[_B], execution_id: str, *, sinks: Iterable[Sink | Callable[[Snapshot], None]], **options: Any
) -> _B:
    """Make the builder of an execution that one activity runs, such as an agent's.

    ```python
    @activity.defn
    async def research(question: str) -> str:
        async with activity_progress(), activity_builder(AgentStatusBuilder, "aex_01", sinks=[sink]) as status:
            ...
    ```

    The heartbeats of the activity carry its snapshot, fitted to 256 KiB, and the next attempt goes on from there
    (`restart=True`). `activity_ends` decides what an exception means, so that neither a deploy nor a failed attempt
    that is followed by another one looks like the end. Heartbeats need an `activity_progress()` around it, or the
    activity's own.

    Args:
        kind: `AgentStatusBuilder` or `StatusBuilder`.
        execution_id: The backend's id of the execution.
        sinks: Where its status goes.
        options: More arguments of the builder.

    Raises:
        RuntimeError: It is not called in an activity.
    """
    work, info = present(), activity.info()
    last = read_snapshot(work.last_details, AgentSnapshot if issubclass(kind, AgentStatusBuilder) else Snapshot)
    if last is not None and last.execution_id == execution_id:
        options = {"initial": last, "restart": True, **options}
    options.setdefault("temporal_workflow_id", info.workflow_id)

    def ends(error: BaseException) -> ExecutionPhase | None:
        phase = activity_ends(error)
        if phase is ExecutionPhase.FAILED and exceptions.is_cancelled_exception(error):
            _stop(builder)
        return phase

    builder = kind(execution_id, sinks=sinks, **{"ends": ends, **options})
    work.builder = builder
    return builder


def activity_ends(error: BaseException) -> ExecutionPhase | None:
    """Say how an exception that leaves an activity ends its execution; for `StatusBuilder(ends=…)`.

    None (the execution goes on elsewhere) where the activity completes asynchronously, and where another attempt
    follows: after a failure, a timeout, or the shutdown of the worker. CANCELLED where the activity was cancelled or
    its workflow is gone. Else FAILED.

    Raises:
        RuntimeError: It is not called in an activity.
    """
    info = activity.info()
    if isinstance(error, _CompleteAsyncError):
        return None
    if exceptions.is_cancelled_exception(error):
        details = activity.cancellation_details()
        if details is not None and (details.cancel_requested or details.not_found):
            return ExecutionPhase.CANCELLED
        interrupted = activity.is_worker_shutdown() or details is not None
        if not interrupted:
            return ExecutionPhase.CANCELLED
    return None if _attempts_remain(info, error) else ExecutionPhase.FAILED


def _stop(builder: StatusBuilder) -> None:
    """End an execution whose worker was stopped, and that no attempt goes on with, saying so."""
    for task in builder.snapshot().current_tasks:
        builder.update_task_status(task.task_id, TaskStatus.FAILED, STOPPED)
    if not builder.snapshot().is_terminal:
        builder.with_error(STOPPED)


def _attempts_remain(info: activity.Info, error: BaseException) -> bool:
    wait = _wait_before_next(info.retry_policy or RetryPolicy(), info.attempt, error)
    if wait is None or not info.schedule_to_close_timeout:
        return wait is not None
    return datetime.now(timezone.utc) + wait < info.scheduled_time + info.schedule_to_close_timeout


# Whether Temporal tries again, by the rules of its server


def _wait_before_next(policy: RetryPolicy, attempt: int, error: BaseException) -> timedelta | None:
    if 0 < policy.maximum_attempts <= attempt or not _is_retryable(policy, error):
        return None
    if isinstance(error, exceptions.ApplicationError) and error.next_retry_delay is not None:
        return error.next_retry_delay
    longest = policy.maximum_interval or 100 * policy.initial_interval
    growth = policy.backoff_coefficient ** min(attempt - 1, 100)
    return min(growth * policy.initial_interval.total_seconds(), longest.total_seconds()) * timedelta(seconds=1)


def _is_retryable(policy: RetryPolicy, error: BaseException) -> bool:
    kind = type(error).__name__
    if isinstance(error, exceptions.ApplicationError):
        if error.non_retryable:
            return False
        kind = error.type or kind
    elif isinstance(error, exceptions.TimeoutError):
        return error.type in (exceptions.TimeoutType.START_TO_CLOSE, exceptions.TimeoutType.HEARTBEAT)
    return kind not in (policy.non_retryable_error_types or ())
