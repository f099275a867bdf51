"""One run of a workflow on this worker: its builder, its tasks, and what the host has to know of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import CancelledError, is_cancelled_exception

from ..core.model.values import ExecutionPhase, Snapshot, TaskStatus, TaskType
from ._attempts import take_reports
from ._builder import RunBuilder, carried_header, make_builder
from ._failures import describe, describe_end
from ._publisher import Publisher
from ._retry import wait_before_next
from ._settings import Settings

if TYPE_CHECKING:
    from temporalio.bridge.proto.workflow_activation import WorkflowActivation
    from temporalio.workflow import ActivityHandle, ChildWorkflowHandle

log = logging.getLogger("statusbuilder")

_P = ParamSpec("_P")
_T = TypeVar("_T")


def harmless(record: Callable[_P, _T]) -> Callable[_P, _T | None]:
    """Keep a defect in recording from the workflow, whose code must not notice that it is reported."""

    @wraps(record)
    def recorded(*args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        try:
            return record(*args, **kwargs)
        except Exception:
            log.exception("A change of a workflow's status could not be recorded")
            return None

    return recorded


CONTINUED = "not finished when the workflow continued as new"
LEFT = "left running on its own"


class Run:
    """What the plugin knows of one run. Only activations change it, but for `publisher` and `local_failures`."""

    def __init__(
        self, settings: Settings, publishes: bool, forget: Callable[[], object], delivery_queue: str | None = None
    ) -> None:
        self.settings = settings
        self.delivery_queue = delivery_queue
        """The task queue of the delivery of its final status, where it is not the workflow's."""
        self.publishes = publishes
        self.forget = forget
        """Tells the worker that the run is gone from its cache."""
        self.info: workflow.Info | None = None
        self.reported = False
        """Whether its tasks are recorded and its status is published."""
        self.evicting = False
        self.cancel_requested = False
        self.publisher: Publisher | None = None
        self.beating: set[str] = set()
        """Activities under way that heartbeat, by task id."""
        self.local_failures: dict[str, str] = {}
        """Why the last attempts at local activities failed, by task id; the one thing that activities set."""
        self.final: Snapshot | None = None
        """The final status as it is, of which the history holds what fits."""
        self.goes_on = False
        """Whether Temporal tries the failed workflow again, as a new run, so that nothing is to be delivered."""
        self.delivering: asyncio.Task[None] | None = None
        """The delivery of the final status, once it has begun."""
        self._builder: RunBuilder | None = None
        self._reset_at: int | None = None
        self._numbers: dict[str, int] = {}
        self._retries: dict[str, dict[str, Any]] = {}
        """What results that are just coming in say of the attempts before, by task id."""
        self._open: dict[str, bool] = {}
        """Tasks of activities and child workflows under way, and whether they outlive the run."""

    def begin(self, info: workflow.Info) -> None:
        """Take note of which run it is."""
        self.info = info
        self.reported = self.settings.reports_workflow(info.workflow_type)

    @property
    def builder(self) -> RunBuilder:
        """The builder, made when it is first asked for, which has to be in the workflow."""
        if self._builder is None:
            assert self.info is not None
            self._builder = make_builder(self.info, self.settings)
            if self._reset_at is not None:
                self._builder.renew_epoch(self._reset_at)
        return self._builder

    # Tasks

    @harmless
    def add_task(
        self, kind: str, name: str | None, args: Sequence[Any], metadata: object = None, outlives: bool = False
    ) -> str | None:
        """Record that an activity or child workflow of a type was started; returns the task's id, None if filtered."""
        if not self.reported or not self.settings.reports_activity(kind):
            return None
        builder, number = self.builder, self._numbers.get(kind, 0) + 1
        while f"{kind}-{number}" in builder.task_ids:
            number += 1
        self._numbers[kind] = number
        task_id = f"{kind}-{number}"
        self._open[task_id] = outlives
        given = None if not args else args[0] if len(args) == 1 else list(args)
        task_type = self.settings.task_types.get(kind, TaskType.CUSTOM)
        builder.add_task(
            task_id, name or kind, TaskStatus.IN_PROGRESS, task_type=task_type, input=given, metadata=metadata
        )
        return task_id

    def follow(
        self,
        task_id: str,
        handle: ActivityHandle[Any] | ChildWorkflowHandle[Any, Any],
        retries: Callable[[BaseException], int | None],
    ) -> None:
        """End the task when the activity or child workflow ends; `retries` says what its failure shows of attempts."""
        handle.add_done_callback(partial(self._ended, task_id, retries))

    @harmless
    def _ended(self, task_id: str, retries: Callable[[BaseException], int | None], handle: asyncio.Future[Any]) -> None:
        if self.evicting:
            return
        if handle.cancelled():
            self.fail_task(task_id, asyncio.CancelledError())
        elif (error := handle.exception()) is not None:
            self.fail_task(task_id, error, retries(error))
        else:
            metadata = self._retries.get(task_id)
            self._close_task(task_id)
            if self.builder.is_running(task_id):
                self.builder.update_task_status(
                    task_id, TaskStatus.COMPLETED, output=handle.result(), metadata=metadata
                )

    @harmless
    def fail_task(self, task_id: str, error: BaseException, retries: int | None = None) -> None:
        """End a task with an error."""
        if self.evicting:
            return
        self._close_task(task_id)
        if not self.builder.is_running(task_id):
            return
        if is_cancelled_exception(error):
            self.builder.update_task_status(task_id, TaskStatus.FAILED, "cancelled", metadata={"cancelled": True})
        else:
            metadata = None if retries is None else {"retry_count": retries}
            self.builder.update_task_status(task_id, TaskStatus.FAILED, describe(error), metadata=metadata)

    def _close_task(self, task_id: str) -> None:
        self._open.pop(task_id, None)
        self._retries.pop(task_id, None)
        self.local_failures.pop(task_id, None)
        self.beating.discard(task_id)

    @harmless
    def note_attempt(self, report: dict[str, Any]) -> None:
        """Take note of a second or later attempt at an activity; the handler of a signal."""
        if (noted := self._read_attempt(report)) is not None:
            self.builder.annotate(*noted)

    @harmless
    def note_results(self, act: WorkflowActivation) -> None:
        """Take note of which attempts gave the results that are just coming in."""
        for report in take_reports(act):
            if (noted := self._read_attempt(report)) is not None:
                self._retries[noted[0]] = noted[1]

    def _read_attempt(self, report: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        task_id, attempt = report.get("task"), report.get("attempt")
        if not self.reported or not isinstance(task_id, str) or not isinstance(attempt, int):
            return None
        metadata: dict[str, Any] = {"retry_count": attempt - 1}
        if report.get("error"):
            metadata["last_error"] = report["error"]
        return task_id, metadata

    # The end

    @harmless
    def start(self) -> None:
        """Record that the workflow runs."""
        if self.builder.snapshot().phase is ExecutionPhase.PENDING:
            self.builder.update_status(ExecutionPhase.IN_PROGRESS)

    @harmless
    def complete(self, result: object) -> None:
        """Record that the workflow returned."""
        self._leave_open(None)
        self.builder.finish(ExecutionPhase.COMPLETED, output=result)

    @harmless
    def end_with(self, error: BaseException) -> bool:
        """Record how the workflow ended with an error; False when that is not the end of the execution."""
        if self.evicting or isinstance(error, workflow.ContinueAsNewError) or not workflow.in_workflow():
            return False  # not in a workflow: its coroutines are being thrown away, with their worker
        cancelled = is_cancelled_exception(error)
        if cancelled and self.cancel_requested:
            phase, reason = ExecutionPhase.CANCELLED, None
        elif self._is_retried(error):
            self.goes_on = True
            return True
        elif isinstance(error, asyncio.CancelledError) or workflow.is_failure_exception(error):
            phase, reason = ExecutionPhase.FAILED, "cancelled" if cancelled else describe_end(error)
        else:
            return False  # the workflow task fails, and is tried again
        self._leave_open(None)
        self.builder.finish(phase, error=reason)
        return True

    def _is_retried(self, error: BaseException) -> bool:
        info = self.info
        # A run does not know how much of a timeout of all runs is left: then a failure may be the last one.
        if info is None or info.retry_policy is None or info.execution_timeout is not None:
            return False
        if isinstance(error, CancelledError) or not workflow.is_failure_exception(error):
            return False
        return wait_before_next(info.retry_policy, info.attempt, error) is not None

    @harmless
    def hand_on(self) -> None:
        """Record that the next run goes on."""
        self._leave_open(CONTINUED)

    @harmless
    def carried(self) -> Payload:
        """Return what the next run has to know."""
        return carried_header(self.builder.snapshot())

    def _leave_open(self, reason: str | None) -> None:
        for task_id, outlives in list(self._open.items()):
            if self.builder.is_running(task_id):
                if outlives:
                    self.builder.update_task_status(task_id, TaskStatus.SKIPPED, LEFT)
                elif reason is not None:
                    self.builder.update_task_status(task_id, TaskStatus.FAILED, reason)
        self._open.clear()
        self.beating.clear()

    # For the host

    def publish(self) -> None:
        """Show the present state to the sinks; a final one is delivered by other means, so that it cannot be lost."""
        if not self.publishes or not self.reported or self._builder is None or not self.settings.sinks:
            return
        snapshot = self._builder.snapshot()
        if snapshot.is_terminal:
            if self.publisher is not None:
                self.publisher.withdraw()
            return
        if self.publisher is None:
            self.publisher = Publisher(self.settings.sinks, snapshot)
        self.publisher.show(snapshot)

    def renew_epoch(self, millis: int) -> None:
        """Take note of a reset."""
        self._reset_at = millis
        if self._builder is not None:
            self._builder.renew_epoch(millis)
