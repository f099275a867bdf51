"""What a run of a workflow did, folded from the events of its history: nothing is replayed, and nobody is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowHistory

from ..core.model.frozen import JsonObject
from ..core.model.times import to_millis
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType
from ..core.state import ENDED_EARLY, FORGOTTEN
from ._carry import read_header
from ._events import ENDS, STARTS, End, begin, note_pending, read_marker, result_of, time_of, update
from ._failures import describe, describe_end
from ._names import CARRIED_HEADER
from ._payloads import error_of, given, value_of
from ._settings import Filter, Reading, chooser, reports_all
from ._steps import CONTINUED, Step, insert, make_tasks

EVENT_REVISIONS = 2**20
"""Revisions that one event stands for, so that what is told from a longer history is newer."""
TERMINATED = "the workflow was TERMINATED"
TIMED_OUT = "the workflow TIMED_OUT: it had not ended in time"


class Fold:
    """Takes the events of one run in order, and knows at any time what they come to.

    Args:
        reading: How they are read; payloads have to be JSON, see `make_readable`.
    """

    def __init__(self, reading: Reading | None = None) -> None:
        self.reading = reading or Reading()
        self.workflow_id = ""
        self.length = 0
        """Events so far."""
        self.started_at: datetime | None = None
        self.closed_at: datetime | None = None
        self.goes_on = False
        """Whether another run follows it: it continued as new, is tried again, or has a schedule."""
        self.carried: Snapshot | None = None
        """What the run before it handed on."""
        self.before_run_id = ""
        """That run."""
        self.before: dict[str, Task] = {}
        """Tasks of the runs before, by their ids, as those runs' histories tell them, where they were read."""
        self.reset_at: datetime | None = None
        self.accepted_at: datetime | None = None
        """What time it was for the workflow's code when the server last accepted what that did."""
        self._named: str | None = None
        self._parent_id: str | None = None
        self._phase = ExecutionPhase.PENDING
        self._output: Any = None
        self._error: str | None = None
        self._steps: list[Step] = []
        self._begun: dict[int | str, Step] = {}
        """Open steps by the event that began them; local activities that wait for another attempt by their key."""
        self._updates: dict[int, int] = {}
        """By the event of an update, how often the workflow's code had gone on."""
        self._admitted: dict[int, Any] = {}
        """What updates that a reset handed on ask for, by the event that says so."""
        self._went_on = 0
        self._task_started_at: datetime | None = None

    def add(self, event: HistoryEvent) -> None:
        """Take the next event."""
        self.length = event.event_id
        attributes = event.WhichOneof("attributes")
        if attributes is None:
            return
        name, told = attributes.removesuffix("_event_attributes"), getattr(event, attributes)
        if name in STARTS:
            at = time_of(event.event_time)
            self._begin(begin(STARTS[name], told, event.user_metadata, at, event.event_id), event)
        elif name in ENDS:
            self._end(ENDS[name], told, event)
        elif (handle := getattr(self, f"_on_{name}", None)) is not None:
            handle(told, event)

    @property
    def steps(self) -> Sequence[Step]:
        """What the run itself has started, in order."""
        return self._steps

    def note_pending(self, pending: Iterable[PendingActivityInfo]) -> None:
        """Take note of what the server tells of activities under way, beside the events."""
        told = {each.activity_id: each for each in pending}
        for step in self._begun.values():
            if (known := told.get(step.activity_id)) is not None:
                note_pending(step, known, self._reason(known.last_failure) if known.HasField("last_failure") else None)

    def snapshot(self, execution_id: str | None = None) -> Snapshot:
        """Return what the events come to; by default under the id that the run itself names."""
        inherited = self.inherited
        ids = [task.task_id for task in inherited]
        own = make_tasks(self._steps, ids, self.reading, EVENT_REVISIONS, self._parent_id)
        running = self._phase is not ExecutionPhase.PENDING
        begun = (self.carried.started_at if self.carried else None) or self.started_at
        return Snapshot(
            execution_id or self.execution_id,
            self.epoch,
            self.length * EVENT_REVISIONS,
            self._phase,
            (*inherited, *own),
            self._output,
            self._error,
            begun if running else None,
            self.closed_at if self._phase.is_terminal else None,
            self.workflow_id or None,
        )

    @property
    def execution_id(self) -> str:
        """The id that the run names: what it inherited, what its memo says, or the workflow's."""
        return (self.carried.execution_id if self.carried else None) or self._named or self.workflow_id

    @property
    def inherited(self) -> tuple[Task, ...]:
        """The tasks of the runs before, as the run got them; those that it began itself come after them."""
        tasks = () if self.carried is None else self.carried.tasks
        return tuple(as_told(task, self.before.get(task.task_id)) for task in tasks)

    @property
    def own(self) -> Sequence[Task]:
        """The tasks that it began itself."""
        return self.snapshot().tasks[len(self.inherited) :]

    def lay_over(self, snapshot: Snapshot) -> Snapshot:
        """Return the end of the run, as its code told it, with the server's times."""
        told = {task.task_id: task for task in self.snapshot().tasks}
        tasks = tuple(as_told(task, told.get(task.task_id)) for task in snapshot.tasks)
        return attrs.evolve(snapshot, tasks=tasks)

    @property
    def epoch(self) -> int:
        """When the run began, or was reset to an earlier state, in milliseconds since 1970."""
        begun = self.reset_at or self.started_at
        epoch = 0 if begun is None else to_millis(begun)
        return epoch if self.carried is None else max(epoch, self.carried.epoch + 1)

    # Steps

    def _begin(self, step: Step | None, event: HistoryEvent) -> None:
        if step is not None and self.reading.reports(step.kind):
            step.input = self._payload(step.input)
            step.name = self.reading.policy.text(step.name)
            self._steps.append(step)
            self._begun[event.event_id] = step
            self._updates[event.event_id] = self._went_on

    def _end(self, end: End, told: Any, event: HistoryEvent) -> None:
        begun_by = getattr(told, end.begun_by)
        step = self._begun.pop(begun_by, None)
        if step is None:
            return
        error = None if end.error is None else end.error(told)
        output = None if end.result is None else self._payload(result_of(getattr(told, end.result)))
        if end.result == "outcome":
            if self._updates[begun_by] == self._went_on:
                self._steps.remove(step)  # nobody waited for it
            error = error_of(told.outcome.failure) if told.outcome.HasField("failure") else None
        step.close(time_of(event.event_time), event.event_id, self.reading.policy, output, error)

    def _on_activity_task_started(self, told: Any, event: HistoryEvent) -> None:
        step = self._begun.get(told.scheduled_event_id)
        if step is not None:
            last = self._reason(told.last_failure) if told.HasField("last_failure") else None
            step.note_attempt(told.attempt, time_of(event.event_time), last)
            if told.identity:
                step.metadata["worker"] = told.identity
            step.event_id = event.event_id

    def _on_activity_task_cancel_requested(self, told: Any, event: HistoryEvent) -> None:
        step = self._begun.get(told.scheduled_event_id)
        if step is not None:
            step.cancel_requested_at = time_of(event.event_time)

    def _on_timer_canceled(self, told: Any, event: HistoryEvent) -> None:
        step = self._begun.pop(told.started_event_id, None)
        if step is not None:  # what it was to end came to its end before
            step.end(TaskStatus.SKIPPED, time_of(event.event_time), event.event_id)

    def _on_workflow_execution_update_admitted(self, told: Any, event: HistoryEvent) -> None:
        self._admitted[event.event_id] = told.request

    def _on_workflow_execution_update_accepted(self, told: Any, event: HistoryEvent) -> None:
        facts = update(self._admitted.get(told.accepted_request_sequencing_event_id, told.accepted_request))
        at = time_of(event.event_time)
        self._begin(begin(lambda told: facts, told, event.user_metadata, at, event.event_id), event)

    def _on_marker_recorded(self, told: Any, event: HistoryEvent) -> None:
        found = read_marker(told, event)
        self._went_on += found is not None
        if found is None or not self.reading.reports(found.step.kind):
            return
        step = self._begun.pop(found.key, None)
        if step is None:
            step = found.step
            insert(self._steps, step)
        step.note_attempt(found.attempt)
        if found.goes_on:
            self._begun[found.key] = step
            step.metadata["last_error"] = self._reason(told.failure)
        else:
            error = error_of(told.failure) if told.HasField("failure") else None
            output = self._payload(given(told.details["result"])) if "result" in told.details else None
            step.close(found.completed_at, event.event_id, self.reading.policy, output, error)

    # The run

    def _on_workflow_execution_started(self, told: Any, event: HistoryEvent) -> None:
        self.started_at = time_of(event.event_time)
        self.workflow_id = told.workflow_id
        self.before_run_id = told.continued_execution_run_id
        self._parent_id = told.parent_workflow_execution.workflow_id or None
        memo = told.memo.fields
        named = value_of(memo[self.reading.memo]) if self.reading.memo in memo else None
        self._named = named if isinstance(named, str) and named else None
        if CARRIED_HEADER in told.header.fields:
            header = value_of(told.header.fields[CARRIED_HEADER])
            self.carried = read_header(header, self._named or self.workflow_id)

    def _on_workflow_task_started(self, told: Any, event: HistoryEvent) -> None:
        self._task_started_at = time_of(event.event_time)
        if self._phase is ExecutionPhase.PENDING:
            self._phase = ExecutionPhase.IN_PROGRESS

    def _on_workflow_task_completed(self, told: Any, event: HistoryEvent) -> None:
        self._went_on += 1
        self.accepted_at = self._task_started_at

    def _on_workflow_task_failed(self, told: Any, event: HistoryEvent) -> None:
        if told.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW:
            self.reset_at = time_of(event.event_time)

    def _on_workflow_execution_completed(self, told: Any, event: HistoryEvent) -> None:
        self._output = self._payload(given(told.result))
        self._close(ExecutionPhase.COMPLETED, None, told, event)

    def _on_workflow_execution_failed(self, told: Any, event: HistoryEvent) -> None:
        reason = self.reading.policy.error(describe_end(error_of(told.failure)))
        self._close(ExecutionPhase.FAILED, reason, told, event)

    def _on_workflow_execution_canceled(self, told: Any, event: HistoryEvent) -> None:
        self._close(ExecutionPhase.CANCELLED, "cancelled", told, event)

    def _on_workflow_execution_terminated(self, told: Any, event: HistoryEvent) -> None:
        why = self.reading.policy.text(told.reason)
        self._close(ExecutionPhase.FAILED, f"{TERMINATED}: {why}" if why else TERMINATED, told, event)

    def _on_workflow_execution_timed_out(self, told: Any, event: HistoryEvent) -> None:
        self._close(ExecutionPhase.FAILED, TIMED_OUT, told, event)

    def _close(self, phase: ExecutionPhase, error: str | None, told: Any, event: HistoryEvent) -> None:
        self.goes_on = bool(getattr(told, "new_execution_run_id", ""))
        self.closed_at = time_of(event.event_time)
        self._phase, self._error = phase, error
        self._leave(FORGOTTEN if phase is ExecutionPhase.COMPLETED else ENDED_EARLY, event)

    def _on_workflow_execution_continued_as_new(self, told: Any, event: HistoryEvent) -> None:
        self.goes_on = True
        self.closed_at = time_of(event.event_time)
        self._leave(CONTINUED, event)

    def _leave(self, reason: str, event: HistoryEvent) -> None:
        for step in self._begun.values():
            step.leave(reason, time_of(event.event_time), event.event_id)
        self._begun.clear()

    # Payloads

    def _payload(self, value: Any) -> Any:
        return None if value is None else self.reading.policy.payload(value)

    def _reason(self, failure: Any) -> str:
        return self.reading.policy.error(describe(error_of(failure)))


def linked(task: Task, shown: Task) -> Task:
    """Return a task with the links that it is shown with, which no history holds."""
    links = {"log_url": shown.log_url} if shown.log_url else {}
    return attrs.evolve(task, metadata=JsonObject({**task.metadata, **links}))


def as_told(task: Task, told: Task | None) -> Task:
    """Return a task with what the history tells of it: its times and attempts, and its end where that was not known."""
    if told is None or not told.status.is_terminal:
        return task
    if task.status is not told.status:
        return linked(attrs.evolve(told, revision=task.revision), task)
    metadata = JsonObject({**task.metadata, **told.metadata})
    return attrs.evolve(task, started_at=told.started_at, completed_at=told.completed_at, metadata=metadata)


def fold_history(
    history: WorkflowHistory | Iterable[HistoryEvent],
    *,
    execution_id: str | None = None,
    activities: Filter = None,
    task_types: Mapping[str, TaskType] | None = None,
) -> Snapshot:
    """Return what the events of one run come to, with nothing replayed and nobody asked.

    ```python
    snapshot = fold_history(WorkflowHistory.from_json(workflow_id, text))
    ```

    Its activities, child workflows, Nexus operations, updates and signals that it waits for, and the timers that have a
    summary are tasks, with the server's times. What the workflow's code told by `current()` is in no history.

    Args:
        history: A history, as `WorkflowHandle.fetch_history()` gives it or its JSON holds it, or its events in order.
            Payloads that are no JSON are left out.
        execution_id: The id of the execution; by default the one that the run names, as for `StatusPlugin`.
        activities: Which of them become tasks, as for `StatusPlugin`.
        task_types: The task types by their types, as for `StatusPlugin`.
    """
    reports = chooser(activities)
    reading = Reading(reports=lambda kind: reports_all(kind) and reports(kind), task_types=task_types or {})
    fold = Fold(reading)
    for event in history.events if isinstance(history, WorkflowHistory) else history:
        fold.add(event)
    return fold.snapshot(execution_id)
