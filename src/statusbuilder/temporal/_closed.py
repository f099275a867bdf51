"""The closed runs of a task queue, as the server lists them: the oldest first, in windows of close time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client

from ..core.model.times import format_time
from ..core.model.values import ExecutionPhase
from ._events import time_of
from ._fold import Fold, Reading
from ._payloads import is_plain, make_readable

MOST_AT_ONCE = 1000
"""Runs in one window, which one page of the server's holds."""
SHORTEST = timedelta(milliseconds=1)
PAGE = 1000

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


@attrs.frozen
class Window:
    """A span of close times, and the runs that closed in it."""

    after: datetime
    before: datetime
    runs: Sequence[ClosedRun] = ()


class Server:
    """What is asked of Temporal's server, past the interceptors of a client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.calls = 0
        """How often it was asked."""

    async def windows(self, queue: str | None, after: datetime, before: datetime) -> AsyncIterator[Window]:
        """Yield what closed on a task queue, the oldest first, halving a window until it holds no more than a page."""
        left = [Window(after, before)]
        while left:
            window = left.pop()
            count = await self._count(_query(queue, window))
            length = window.before - window.after
            if count > MOST_AT_ONCE and length > SHORTEST:
                middle = window.after + length / 2
                left += [Window(middle, window.before), Window(window.after, middle)]
            else:
                runs = [run async for run in self._list(_query(queue, window))] if count else []
                yield attrs.evolve(window, runs=sorted(runs, key=lambda run: run.closed_at))

    async def _count(self, query: str) -> int:
        self.calls += 1
        request = CountWorkflowExecutionsRequest(namespace=self.client.namespace, query=query)
        answer = await self.client.workflow_service.count_workflow_executions(request, retry=True)
        return answer.count

    async def _list(self, query: str) -> AsyncIterator[ClosedRun]:
        token, more = b"", True
        while more:
            self.calls += 1
            request = ListWorkflowExecutionsRequest(
                namespace=self.client.namespace, query=query, page_size=PAGE, next_page_token=token
            )
            answer = await self.client.workflow_service.list_workflow_executions(request, retry=True)
            for info in answer.executions:
                if (run := ClosedRun.of(info)) is not None:
                    yield run
            token = answer.next_page_token
            more = bool(token)

    async def describe(self, workflow_id: str, run_id: str = "") -> DescribeWorkflowExecutionResponse:
        """Return what the server tells of a run, by default of the newest one."""
        self.calls += 1
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        request = DescribeWorkflowExecutionRequest(namespace=self.client.namespace, execution=execution)
        return await self.client.workflow_service.describe_workflow_execution(request, retry=True)

    async def first_event(self, workflow_id: str, run_id: str) -> HistoryEvent:
        """Return the event with which a run began."""
        events, _ = await self._page(workflow_id, run_id, b"", 1)
        return events[0]

    async def fold(self, workflow_id: str, run_id: str, reading: Reading) -> Fold:
        """Fold the history of a run, one page after the other."""
        fold, token, more = Fold(reading), b"", True
        converter = self.client.data_converter
        plain = is_plain(converter)
        while more:
            events, token = await self._page(workflow_id, run_id, token, PAGE)
            for event in events:
                if not plain:
                    await make_readable(event, converter, reading.policy)
                fold.add(event)
            more = bool(token)
        fold.workflow_id = fold.workflow_id or workflow_id
        return fold

    async def _page(
        self, workflow_id: str, run_id: str, token: bytes, size: int
    ) -> tuple[Sequence[HistoryEvent], bytes]:
        self.calls += 1
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self.client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            maximum_page_size=size,
            next_page_token=token,
        )
        answer = await self.client.workflow_service.get_workflow_execution_history(request, retry=True)
        return answer.history.events, answer.next_page_token


def _query(queue: str | None, window: Window) -> str:
    closed = f"CloseTime >= '{format_time(window.after)}' AND CloseTime < '{format_time(window.before)}'"
    query = f"{closed} AND ExecutionStatus != 'ContinuedAsNew'"
    if queue is None:
        return query
    quoted = queue.replace("\\", "\\\\").replace("'", "\\'")
    return f"TaskQueue = '{quoted}' AND {query}"
