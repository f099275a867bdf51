"""What of the plugin runs in a workflow: nothing that the server or another interceptor would notice."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from temporalio import workflow
from temporalio.worker import (
    ExecuteWorkflowInput,
    HandleSignalInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

from ._carry import fit
from ._compat import Closing
from ._names import ATTEMPT, QUERY, RUN
from ._run import Run


class StatusInbound(WorkflowInboundInterceptor):
    """Answers the plugin's query, and repeats what 0.1.0 did in workflows that are replayed."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Find the record of the run."""
        run: Run = workflow.extern_functions()[RUN]()
        self._run = run
        self._closing = Closing(run)
        self._is_replayed = False
        super().init(outbound)
        # Activities on workers of 0.1.0 signal their attempts; a handler of the user's for any signal is not for these.
        workflow.set_signal_handler(ATTEMPT, lambda report: None)
        if run.reported:
            workflow.set_query_handler(QUERY, lambda: fit(run.builder.snapshot()))

    def execute_workflow(self, input: ExecuteWorkflowInput) -> Awaitable[Any]:  # type: ignore[override]
        """Run the workflow; no frame of the plugin is in a failure's trace, but where 0.1.0 may have begun it."""
        self._run.prepare()
        self._is_replayed = workflow.unsafe.is_replaying()
        work = self.next.execute_workflow(input)
        return self._closing.after(work) if self._is_replayed else work

    async def handle_signal(self, input: HandleSignalInput) -> None:
        """Handle a signal that is not the plugin's."""
        if input.signal == ATTEMPT:
            return
        work = self.next.handle_signal(input)
        await (self._closing.after(work) if self._is_replayed else work)
