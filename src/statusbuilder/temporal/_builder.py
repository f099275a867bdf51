"""The builder of one workflow run: deterministic, because all that it reads is the workflow's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from ..core.builder import StatusBuilder
from ..core.model.times import from_millis, to_millis
from ..core.model.values import ExecutionPhase, Snapshot, TaskStatus
from ..core.state import NOTHING, PHASE_CHANGED
from ._fit import fit, slim
from ._names import CARRIED_HEADER
from ._settings import Settings

LONG_AGO = from_millis(0)


class RunBuilder(StatusBuilder):
    """A builder that a replay fills in the same way, and that has no sinks of its own."""

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

    def annotate(self, task_id: str, metadata: Mapping[str, Any]) -> None:
        """Add to the metadata of a task, whatever its status is; an unknown task is ignored."""
        state = self._publisher.state
        if not state.over and task_id in state.tasks:
            self.update_task_status(task_id, state.tasks[task_id].status, metadata=metadata)

    def is_running(self, task_id: str) -> bool:
        """Whether a task is IN_PROGRESS in an execution that goes on."""
        state = self._publisher.state
        record = state.tasks.get(task_id)
        return record is not None and record.status is TaskStatus.IN_PROGRESS and not state.over

    def renew_epoch(self, millis: int) -> None:
        """Begin a later epoch, because the workflow was reset to an earlier state."""
        state = self._publisher.state
        self._publisher.locked(lambda: state.set_epoch(max(state.epoch + 1, millis)))

    def _last_phase(self, error: BaseException | None, /) -> ExecutionPhase | None:
        if isinstance(error, workflow.ContinueAsNewError):
            return None  # the next run goes on with the task
        return super()._last_phase(error)

    def _drop(self, what: str, /) -> None:
        if workflow.in_workflow() and workflow.unsafe.is_replaying():
            self._publisher.dropped += 1
        else:
            super()._drop(what)


def make_builder(info: workflow.Info, settings: Settings) -> RunBuilder:
    """Make the builder of a run, which goes on from the snapshot that the run before it left."""
    carried = _carried(info)
    epoch = to_millis(info.workflow_start_time)
    return RunBuilder(
        _execution_id(info, settings) if carried is None else carried.execution_id,
        initial=carried,
        epoch=epoch if carried is None else max(epoch, carried.epoch + 1),
        clock=_now,
        strict=False,
        temporal_workflow_id=info.workflow_id,
        **settings.builder,
    )


def _now() -> datetime:
    # Coroutines that are thrown away with their worker still leave their blocks, outside of the workflow.
    return workflow.now() if workflow.in_workflow() else LONG_AGO


def _execution_id(info: workflow.Info, settings: Settings) -> str:
    try:
        if settings.execution_id is not None:
            chosen: object = settings.execution_id(info)
        else:
            chosen = workflow.memo_value(settings.memo, None)
    except Exception:
        workflow.logger.exception("statusbuilder: no execution id could be made; the workflow id is used")
        chosen = None
    return chosen if isinstance(chosen, str) and chosen else info.workflow_id


def carried_header(snapshot: Snapshot) -> Payload:
    """Return the header with which a run hands its snapshot to the next one."""
    data = json.dumps(slim(fit(snapshot)), separators=(",", ":")).encode()
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def _carried(info: workflow.Info) -> Snapshot | None:
    payload = info.headers.get(CARRIED_HEADER)
    if payload is None:
        return None
    try:
        snapshot = Snapshot.from_dict(json.loads(payload.data))
    except (ValueError, TypeError, AttributeError):
        return None
    return snapshot if snapshot.execution_id else None
