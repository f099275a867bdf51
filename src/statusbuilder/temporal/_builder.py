"""The builder of one workflow run: deterministic, because all that it reads is the workflow's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from ..core.builder import StatusBuilder, TaskBlock
from ..core.model.times import to_millis
from ..core.model.values import ExecutionPhase, Snapshot, TaskStatus
from ..core.state import NOTHING, PHASE_CHANGED
from ._carry import read_header
from ._names import CARRIED_HEADER, RUN
from ._payloads import value_of
from ._settings import Settings


class RunBuilder(StatusBuilder):
    """A builder that a replay fills in the same way, and that has no sinks of its own."""

    parent_id: str | None = None
    """The workflow that this one is a child of, named by its tasks, as there is no other place for it."""
    catch_up: Callable[[], None] = staticmethod(lambda: None)
    """Records what the workflow's code has begun in the activation that goes on, before it adds to that or looks."""

    def snapshot(self) -> Snapshot:
        """Return the present state, also as the code has made it in the activation that goes on."""
        self.catch_up()
        return super().snapshot()

    def add_task(self, *args: Any, **options: Any) -> str:
        """Add a task, in a child workflow as a part of its parent."""
        return super().add_task(*args, **self._within(options))

    def task(self, *args: Any, **options: Any) -> TaskBlock:
        """Return the block of a task, in a child workflow as a part of its parent."""
        return super().task(*args, **self._within(options))

    def _within(self, options: dict[str, Any]) -> dict[str, Any]:
        self.catch_up()
        metadata = options.get("metadata") or {}
        if self.parent_id is None or options.get("parent_id") is not None or not isinstance(metadata, dict):
            return options
        return {**options, "metadata": {"parent_id": self.parent_id, **metadata}}

    @property
    def task_ids(self) -> Mapping[str, object]:
        """The ids that are taken."""
        return self._publisher.state.tasks

    def finish(self, phase: ExecutionPhase, *, output: object = None, error: str | None = None) -> None:
        """End the execution, whatever its tasks do, unless the workflow's code has ended it."""
        payload = None if output is None else self._policy.payload(output)
        reason = None if error is None else self._policy.error(error)
        state = self._publisher.state

        def end(now: int) -> int:
            if state.over:
                return NOTHING
            state.output = payload or state.output
            state.finish(now, phase, reason)
            return PHASE_CHANGED

        self._publisher.change(end)

    def is_running(self, task_id: str) -> bool:
        """Whether a task is IN_PROGRESS in an execution that goes on."""
        state = self._publisher.state
        record = state.tasks.get(task_id)
        return record is not None and record.status is TaskStatus.IN_PROGRESS and not state.over

    def _last_phase(self, error: BaseException | None, /) -> ExecutionPhase | None:
        if isinstance(error, workflow.ContinueAsNewError):
            return None  # the next run goes on with the task
        return super()._last_phase(error)

    def _drop(self, what: str, /) -> None:
        if workflow.in_workflow() and workflow.unsafe.is_replaying():
            self._publisher.dropped += 1
        else:
            super()._drop(what)


def make_builder(
    info: workflow.Info, settings: Settings, clock: Callable[[], datetime], readable: Callable[[Payload], Payload]
) -> RunBuilder:
    """Make the builder of a run, which goes on from the snapshot that the run before it left."""
    chosen = _execution_id(info, settings, readable)
    header: Any = info.headers.get(CARRIED_HEADER)
    carried = None if header is None else read_header(value_of(header), chosen)
    epoch, began = to_millis(info.workflow_start_time), info.workflow_start_time
    builder = RunBuilder(
        chosen if carried is None else carried.execution_id,
        initial=carried or Snapshot(chosen, phase=ExecutionPhase.IN_PROGRESS, started_at=began),
        epoch=epoch if carried is None else max(epoch, carried.epoch + 1),
        clock=clock,
        strict=False,
        temporal_workflow_id=info.workflow_id,
        **settings.builder,
    )
    builder.parent_id = None if info.parent is None else info.parent.workflow_id
    return builder


def _execution_id(info: workflow.Info, settings: Settings, readable: Callable[[Payload], Payload]) -> str:
    try:
        if settings.execution_id is not None:
            chosen: object = settings.execution_id(info)
        else:
            named = info.raw_memo.get(settings.memo)
            chosen = None if named is None else value_of(readable(named))
    except Exception:
        workflow.logger.exception("statusbuilder: no execution id could be made; the workflow id is used")
        chosen = None
    return chosen if isinstance(chosen, str) and chosen else info.workflow_id


def current() -> StatusBuilder:
    """Return the builder of the running workflow, for tasks of its own.

    ```python
    status = statusbuilder.temporal.current()
    with status.task("approve", "Approval by a person", task_type=TaskType.APPROVAL):
        await workflow.wait_condition(lambda: self.approved)
    ```

    It is the plugin's: the workflow's end ends the execution, and the plugin delivers it, so do neither close it nor
    use it as a context manager. Wrong calls are logged and ignored, because an exception would stop the workflow.
    Where the workflow is not reported, it is there all the same and shown to nobody.

    Raises:
        RuntimeError: It is not called in a workflow, or its worker has no `StatusPlugin`.
    """
    if not workflow.in_workflow():
        raise RuntimeError("statusbuilder.temporal.current() is for the code of workflows; this is none.")
    find = workflow.extern_functions().get(RUN)
    if find is None:
        raise RuntimeError(
            "This worker has no StatusPlugin; add it, with enabled=False where nothing is to be reported."
        )
    builder: RunBuilder = find().builder
    builder.catch_up()
    return builder
