"""The closed runs of a task queue, as the server lists them: the oldest first, in windows of close time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse as Described
from temporalio.client import Client
from temporalio.service import RPCError

from ..core.model.times import format_time
from ..core.model.values import ExecutionPhase
from ._events import time_of
from ._fold import Fold
from ._payloads import make_readable
from ._settings import Reading

MOST_AT_ONCE = 1000
"""Runs in one window, which one page of the server's holds."""
SHORTEST = timedelta(milliseconds=1)
PAGE = 1000
MOST_BEFORE = 50
"""Runs whose histories are read for the tasks that the last one inherited from them."""

PHASES = {
    Status.WORKFLOW_EXECUTION_STATUS_COMPLETED: ExecutionPhase.COMPLETED,
    Status.WORKFLOW_EXECUTION_STATUS_FAILED: ExecutionPhase.FAILED,
    Status.WORKFLOW_EXECUTION_STATUS_CANCELED: ExecutionPhase.CANCELLED,
    Status.WORKFLOW_EXECUTION_STATUS_TERMINATED: ExecutionPhase.FAILED,
    Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: ExecutionPhase.FAILED,
}
"""The phases of runs that have closed and do not go on as another one."""


@attrs.frozen
class ClosedRun:
    """A run that has closed."""

    workflow_id: str
    run_id: str
    kind: str
    """The workflow's type."""
    phase: ExecutionPhase
    started_at: datetime
    """When it was started; of a reset run, when it was reset."""
    closed_at: datetime
    memo: Any
    """Payloads by key."""

    @classmethod
    def of(cls, info: WorkflowExecutionInfo) -> ClosedRun | None:
        """Read what the server tells of a run; None where it is open or continued as new."""
        phase = PHASES.get(info.status)
        if phase is None:
            return None
        times = time_of(info.start_time), time_of(info.close_time)
        run = info.execution
        return cls(run.workflow_id, run.run_id, info.type.name, phase, *times, info.memo)


def bare(client: Client) -> Client:
    """Return a client without the user's plugins, interceptors and converters."""
    return Client(client.service_client, namespace=client.namespace)


async def windows(
    client: Client, queue: str | None, after: datetime, before: datetime
) -> AsyncIterator[tuple[datetime, Sequence[ClosedRun]]]:
    """Yield until when something closed on a task queue, and what, the oldest first.

    A window of time is halved until it holds no more than a page.
    """
    asked, left = bare(client), [(after, before)]
    while left:
        begin, end = left.pop()
        query = _query(queue, begin, end)
        count = (await asked.count_workflows(query)).count
        if count > MOST_AT_ONCE and end - begin > SHORTEST:
            middle = begin + (end - begin) / 2
            left += [(middle, end), (begin, middle)]
        else:
            listed = asked.list_workflows(query, page_size=PAGE) if count else None
            found = [ClosedRun.of(each.raw_info) async for each in listed] if listed else []
            runs = sorted((run for run in found if run is not None), key=lambda run: run.closed_at)
            yield end, runs


async def describe_run(client: Client, workflow_id: str, run_id: str | None = None) -> Described:
    """Return what the server tells of a run, by default of the newest one."""
    described = await bare(client).get_workflow_handle(workflow_id, run_id=run_id).describe()
    return described.raw_description


async def first_event(client: Client, workflow_id: str, run_id: str) -> HistoryEvent:
    """Return the event with which a run began."""
    handle = bare(client).get_workflow_handle(workflow_id, run_id=run_id)
    return await anext(handle.fetch_history_events(page_size=1))


async def fold_run(client: Client, workflow_id: str, run_id: str, reading: Reading, runs: int = MOST_BEFORE) -> Fold:
    """Fold the history of a run, and at most so many before it, for what those tell of the tasks it inherited."""
    fold = last = await _fold(client, workflow_id, run_id, reading)
    missing = {task.task_id for task in fold.inherited}
    with contextlib.suppress(RPCError):  # which may be deleted
        while missing and last.before_run_id and (runs := runs - 1) >= 0:
            last = await _fold(client, workflow_id, last.before_run_id, reading)
            fold.before.update((task.task_id, task) for task in last.own if task.task_id in missing)
            missing -= fold.before.keys()
    return fold


async def _fold(client: Client, workflow_id: str, run_id: str, reading: Reading) -> Fold:
    """Fold the history of one run, one page after the other."""
    fold = Fold(reading)
    handle = bare(client).get_workflow_handle(workflow_id, run_id=run_id)
    async for event in handle.fetch_history_events(page_size=PAGE):
        await make_readable(event, client.data_converter, reading.policy)
        fold.add(event)
    fold.workflow_id = fold.workflow_id or workflow_id
    return fold


def _query(queue: str | None, after: datetime, before: datetime) -> str:
    closed = f"CloseTime >= '{format_time(after)}' AND CloseTime < '{format_time(before)}'"
    query = f"{closed} AND ExecutionStatus != 'ContinuedAsNew'"
    if queue is None:
        return query
    quoted = queue.replace("\\", "\\\\").replace("'", "\\'")
    return f"TaskQueue = '{quoted}' AND {query}"
