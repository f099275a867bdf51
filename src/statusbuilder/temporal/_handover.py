"""The delivery of a final status: durable, before the workflow closes, and after it where the backend is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker, WorkerConfig

from ..core.model.values import Outcome, Snapshot
from ..delivery import Deliverer
from ._fit import fit, slim
from ._names import DELIVER, RUNS
from ._run import Run
from ._send import send_final

log = logging.getLogger("statusbuilder")

PATIENCE = timedelta(days=7)
"""How long the workflow that goes on with a delivery tries."""
ATTEMPT_TIMEOUT = timedelta(seconds=30)
_SHOWN = (Outcome.DELIVERED, Outcome.CONFIRMED)
NOT_DELIVERED = "NotDelivered"
WAITS_FOR_PLUGINS = "plugin_shutdown_timeout" in WorkerConfig.__annotations__
"""Whether the SDK waits for what plugins do after a worker. Older ones cancel it: no worker of theirs can shut down."""


async def hand_over(run: Run) -> None:
    """Have the final status delivered. A cancellation that comes now is too late to change how the workflow ended."""
    if run.delivering is None:
        if not _may_command(run):
            return
        run.delivering = asyncio.get_running_loop().create_task(_deliver(run), name=DELIVER)
    while not run.delivering.done():
        try:
            await asyncio.wait([run.delivering])
        except asyncio.CancelledError:
            if run.evicting:
                raise
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()


async def _deliver(run: Run) -> None:
    try:
        run.final = run.builder.snapshot()
        await _command(run, slim(fit(run.final)))
    except Exception as error:
        # Whatever it is, it is not the workflow's: that has ended.
        if not run.evicting and not workflow.unsafe.is_replaying():
            workflow.logger.error("statusbuilder: the final status was not handed over: %r", error)


def _may_command(run: Run) -> bool:
    """Whether the history of this run has, or may get, the commands of a delivery.

    A run that is not reported, or not the last one, still repeats what its history holds from the time when it was.
    """
    if run.reported and run.settings.sinks and not run.goes_on:
        return workflow.patched(DELIVER)
    return workflow.unsafe.is_replaying() and workflow.patched(DELIVER)


async def _command(run: Run, status: dict[str, Any]) -> None:
    bound = timedelta(seconds=run.settings.close_timeout)
    try:
        await workflow.execute_activity(
            DELIVER,
            args=[status, False],
            task_queue=run.delivery_queue,
            result_type=str,
            schedule_to_close_timeout=bound,
            start_to_close_timeout=bound,
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200)),
            summary=_summary(status),
        )
        return
    except Exception:
        if run.evicting:
            raise
    await workflow.start_child_workflow(
        DELIVER,
        args=[status],
        result_type=str,
        # Neither of the workflow's own ids: a history may be replayed under others, after a reset or in a test.
        id=f"{DELIVER}/{workflow.uuid4()}",
        parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        static_summary=_summary(status),
    )


def _summary(status: dict[str, Any]) -> str:
    """Say in Temporal's UI what is delivered; it takes 200 bytes at most."""
    return f"{status['phase']}: final status of {status['execution_id']}".encode()[:200].decode(errors="ignore")


@workflow.defn(name=DELIVER, sandboxed=False)
class GoOnDelivering:
    """Delivers the final status of a workflow that has closed, as long as it takes."""

    @workflow.run
    async def run(self, status: dict[str, Any]) -> str:
        """Deliver, and return what became of it."""
        run: Run = workflow.extern_functions()[RUNS](workflow.info().run_id)
        outcome: str = await workflow.execute_activity(
            DELIVER,
            args=[status, True],
            task_queue=run.delivery_queue,
            result_type=str,
            schedule_to_close_timeout=PATIENCE,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60)),
            summary=_summary(status),
        )
        return outcome


class DeliverActivity:
    """The activity, on the worker's sinks."""

    def __init__(
        self,
        sinks: Sequence[Deliverer],
        find_run: Callable[[str | None], Run | None],
        confirmed: Callable[[str], object] = lambda run_id: None,
    ) -> None:
        self._sinks = sinks
        self._find_run = find_run
        self._confirmed = confirmed

    @activity.defn(name=DELIVER)
    async def deliver(self, status: dict[str, Any], patient: bool) -> str:
        """Deliver a snapshot to each sink; return the outcomes, or raise when a sink could not be reached.

        Where the workflow still waits (not `patient`), a backend that is known to be away ends the attempt at once.
        """
        snapshot = self._whole(Snapshot.from_dict(status))
        limit = activity.info().start_to_close_timeout or ATTEMPT_TIMEOUT
        seconds = limit.total_seconds() * (0.9 if patient else 0.95)
        sent = [send_final(sink, snapshot, seconds, patient) for sink in self._sinks]
        receipts = await asyncio.gather(*sent)
        missing = [receipt.reason for receipt in receipts if receipt.outcome is Outcome.PENDING]
        if missing:
            raise ApplicationError("; ".join(missing), type=NOT_DELIVERED, non_retryable=not patient)
        run_id = activity.info().workflow_run_id
        if run_id is not None and all(receipt.outcome in _SHOWN for receipt in receipts):
            self._confirmed(run_id)
        said = [f"{receipt.outcome} ({receipt.reason})" if receipt.reason else receipt.outcome for receipt in receipts]
        return ", ".join(said) or "no sinks"

    def _whole(self, fitted: Snapshot) -> Snapshot:
        """Return what a snapshot was before it was fitted, where the workflow is on this worker."""
        run = self._find_run(activity.info().workflow_run_id)
        final = None if run is None else run.final
        same = final is not None and (final.epoch, final.revision) == (fitted.epoch, fitted.revision)
        return final if final is not None and same else fitted


@contextlib.asynccontextmanager
async def delivering(client: Client, queue: str, deliver: DeliverActivity) -> AsyncIterator[None]:
    """Deliver final statuses on a task queue of their own, beside a worker that takes no activities."""
    worker = Worker(client, task_queue=queue, activities=[deliver.deliver])
    running = asyncio.create_task(worker.run(), name=queue)
    running.add_done_callback(_say)
    try:
        yield
    finally:
        if not running.done():
            await worker.shutdown()


def _say(running: asyncio.Task[None]) -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        log.error("Final statuses are not delivered by this worker any more: %r", error)
