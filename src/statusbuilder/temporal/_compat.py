"""What 0.1.0 left in histories, and what its workers ask of others on their queue; for one minor release."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy, VersioningBehavior
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker, WorkerConfig

from ..core.model.values import Outcome, Snapshot
from ..delivery import Deliverer
from ._names import DELIVER, HOST
from ._run import Run
from ._send import send_final

log = logging.getLogger("statusbuilder")

PATIENCE = timedelta(days=7)
ATTEMPT_TIMEOUT = timedelta(seconds=30)
CLOSE_TIMEOUT = timedelta(seconds=5)
WAITS_FOR_PLUGINS = "plugin_shutdown_timeout" in WorkerConfig.__annotations__
"""Whether the SDK waits for what plugins do after a worker. Older ones cancel it: no worker of theirs can shut down."""


class Closing:
    """The commands with which 0.1.0 delivered the end of a workflow; asked for only where a history may have them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._delivering: asyncio.Task[None] | None = None

    async def after(self, work: Awaitable[Any]) -> Any:
        """Await the work, and what a history has after it."""
        try:
            result = await work
        except workflow.ContinueAsNewError:
            raise
        except BaseException:
            await self._repeat()
            raise
        await self._repeat()
        return result

    async def _repeat(self) -> None:
        if self._delivering is None:
            if self._run.is_leaving or not workflow.in_workflow() or not workflow.unsafe.is_replaying():
                return
            if not workflow.patched(DELIVER):
                return
            self._delivering = asyncio.get_running_loop().create_task(self._command(), name=DELIVER)
        while not self._delivering.done():
            try:
                await asyncio.wait([self._delivering])
            except asyncio.CancelledError:
                if self._run.is_leaving:
                    raise
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()  # 0.1.0 took it for too late

    async def _command(self) -> None:
        with contextlib.suppress(Exception):
            await workflow.execute_activity(
                DELIVER, args=[{}, False], result_type=str, schedule_to_close_timeout=CLOSE_TIMEOUT
            )
            return
        if not self._run.is_leaving and workflow.unsafe.is_replaying():
            with contextlib.suppress(Exception):
                await workflow.start_child_workflow(
                    DELIVER,
                    args=[{}],
                    id=f"{DELIVER}/{workflow.uuid4()}",
                    parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                )


@workflow.defn(name=DELIVER, sandboxed=False, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class GoOnDelivering:
    """Delivers the final status of a workflow of 0.1.0 that has closed, as long as it takes."""

    @workflow.run
    async def run(self, status: dict[str, Any]) -> str:
        """Deliver, and return what became of it."""
        outcome: str = await workflow.execute_activity(
            DELIVER,
            args=[status, True],
            task_queue=workflow.extern_functions()[HOST]().delivery_queue,
            result_type=str,
            schedule_to_close_timeout=PATIENCE,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60)),
        )
        return outcome


class DeliverActivity:
    """The activity with which workers of 0.1.0 deliver, on this worker's sinks."""

    def __init__(self, sinks: Sequence[Deliverer]) -> None:
        self._sinks = sinks

    @activity.defn(name=DELIVER)
    async def deliver(self, status: dict[str, Any], patient: bool) -> str:
        """Deliver a snapshot to each sink; return the outcomes, or raise when a sink could not be reached."""
        snapshot = Snapshot.from_dict(status)
        limit = activity.info().start_to_close_timeout or ATTEMPT_TIMEOUT
        sent = [send_final(sink, snapshot, limit.total_seconds() * 0.9, patient) for sink in self._sinks]
        receipts = await asyncio.gather(*sent)
        missing = [receipt.reason for receipt in receipts if receipt.outcome is Outcome.PENDING]
        if missing:
            raise ApplicationError("; ".join(missing), type="NotDelivered", non_retryable=not patient)
        return ", ".join(receipt.outcome for receipt in receipts) or "no sinks"


@contextlib.asynccontextmanager
async def delivering(client: Client, queue: str, deliver: DeliverActivity) -> AsyncIterator[Worker]:
    """Deliver on a task queue of its own, beside a worker that takes no activities."""
    worker = Worker(client, task_queue=f"{DELIVER}/{queue}", activities=[deliver.deliver])
    running = asyncio.create_task(worker.run(), name=queue)
    running.add_done_callback(_say)
    try:
        yield worker
    finally:
        if not running.done():
            await worker.shutdown()


def _say(running: asyncio.Task[None]) -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        log.error("Final statuses of workers of 0.1.0 are not delivered by this one any more: %r", error)
