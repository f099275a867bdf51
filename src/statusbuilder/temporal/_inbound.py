"""What runs in a workflow around its code: the plugin's interceptors."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

from ._attempts import retries_before
from ._fit import fit
from ._handover import hand_over
from ._names import ATTEMPT, CARRIED_HEADER, QUERY, RUNS, TASK_HEADER
from ._run import Run


class StatusInbound(WorkflowInboundInterceptor):
    """Records how the workflow begins and ends."""

    run: Run

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Take note of the run, and answer the plugin's query and signal."""
        info = outbound.info()
        run: Run = workflow.extern_functions()[RUNS](info.run_id)
        self.run = run
        run.begin(info)
        super().init(StatusOutbound(outbound, run))
        # Also where nothing is reported: activities that were started while it was may still signal.
        workflow.set_signal_handler(ATTEMPT, run.note_attempt)
        if run.reported:
            workflow.set_query_handler(QUERY, lambda: fit(run.builder.snapshot()))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Run the workflow from its start to its end."""
        self.run.start()
        result = await self._to_end(super().execute_workflow(input))
        self.run.complete(result)
        await hand_over(self.run)
        return result

    async def handle_signal(self, input: HandleSignalInput) -> None:
        """Handle a signal, whose failure is the workflow's."""
        await self._to_end(super().handle_signal(input))

    async def _to_end(self, work: Awaitable[Any]) -> Any:
        try:
            return await work
        except BaseException as error:
            if self.run.end_with(error):
                await hand_over(self.run)
            raise


class StatusOutbound(WorkflowOutboundInterceptor):
    """Records what the workflow starts."""

    def __init__(self, next: WorkflowOutboundInterceptor, run: Run) -> None:
        super().__init__(next)
        self._run = run

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        """Start an activity as a task."""
        return self._start(input, self.next.start_activity)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        """Start a local activity as a task."""
        return self._start(input, self.next.start_local_activity)

    def _start(self, input: Any, start: Callable[[Any], workflow.ActivityHandle[Any]]) -> workflow.ActivityHandle[Any]:
        run = self._run
        task_id = run.add_task(input.activity, input.summary, input.args)
        if task_id is None:
            return start(input)
        input.headers = {**input.headers, TASK_HEADER: _task_header(task_id)}
        if isinstance(input, StartActivityInput) and input.heartbeat_timeout is not None:
            run.beating.add(task_id)
        try:
            handle = start(input)
        except BaseException as error:
            run.fail_task(task_id, error)
            raise
        run.follow(task_id, handle, partial(retries_before, input))
        return handle

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> workflow.ChildWorkflowHandle[Any, Any]:
        """Start a child workflow as a task."""
        run = self._run
        outlives = input.parent_close_policy == workflow.ParentClosePolicy.ABANDON
        metadata = {"workflow_id": input.id}
        task_id = run.add_task(input.workflow, input.static_summary, input.args, metadata, outlives)
        try:
            handle = await self.next.start_child_workflow(input)
        except BaseException as error:
            if task_id is not None:
                run.fail_task(task_id, error)
            raise
        if task_id is not None:
            run.follow(task_id, handle, partial(retries_before, input))
        return handle

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        """Hand the status to the next run."""
        run = self._run
        if run.reported:
            run.hand_on()
            carried = run.carried()
            if carried is not None:
                input.headers = {**input.headers, CARRIED_HEADER: carried}
        self.next.continue_as_new(input)


def _task_header(task_id: str) -> Payload:
    # As JSON, which Temporal's UI shows as text.
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(task_id).encode())
