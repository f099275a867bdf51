"""The state machine of one execution: what a call changes. Not safe for threads; the builder holds the lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import DuplicateTaskError, ExecutionEndedError, InvalidTransitionError, UnknownTaskError
from ..payload.policy import DEFAULT_MAX_PAYLOAD_BYTES
from .blocks import Blocks
from .model.frozen import JsonObject, same
from .model.times import from_nanos, to_nanos
from .model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType
from .record import TaskRecord
from .transitions import PHASE_MASKS, STATUS_MASKS, remedy

NOTHING, CHANGED, PHASE_CHANGED = 0, 1, 2
"""What a call did."""

ENDED_EARLY = "the execution ended before this task finished"
FORGOTTEN = "not finished when the execution completed"
INTERRUPTED = "interrupted by a restart"

# Bound once: before Python 3.12 each look at a member costs as much as the rest of a transition.
_PENDING, _IN_PROGRESS, _FAILED, _SKIPPED = (
    TaskStatus.PENDING,
    TaskStatus.IN_PROGRESS,
    TaskStatus.FAILED,
    TaskStatus.SKIPPED,
)
_CUSTOM = TaskType.CUSTOM
_NOT_STARTED = ExecutionPhase.PENDING


class ExecutionState:
    """Phase, tasks and times of one execution.

    Every change validates before it touches anything, so that a refused one changes nothing. `now` is in nanoseconds
    since 1970; a reading below the last one counts as the last one.
    """

    def __init__(self, execution_id: str, epoch: int, temporal_workflow_id: str | None) -> None:
        self.execution_id = execution_id
        self.epoch = epoch
        self.temporal_workflow_id = temporal_workflow_id
        self.max_bytes = DEFAULT_MAX_PAYLOAD_BYTES
        """The most that the metadata of a task may take, as JSON."""
        self.revision = 0
        self.phase = ExecutionPhase.PENDING
        self.no_shortcuts = False
        """Whether each update has to go through `update`, because a subclass or an inherited task needs more done.

        Otherwise `StatusBuilder.update_task_status` ends a running task by itself.
        """
        self.over = False
        """Whether the phase is terminal."""
        self.output: JsonObject | None = None
        self.error: str | None = None
        self.started: int | None = None
        self.completed: int | None = None
        self.last = 0
        self.tasks: dict[str, TaskRecord] = _dict_with_hashes()
        self.inherited: set[str] = set()
        """Ids that came with the initial snapshot and were not moved since."""
        self.left: dict[str, str] = {}
        """Running tasks whose block was left by an exception that suspends the execution, with the exception's text.

        They go on elsewhere. If the exception is caught and the execution goes on here, they have failed.
        """
        self.changed: list[TaskRecord] = []
        self._frozen: Blocks[Task] = Blocks()
        self._snapshot: Snapshot | None = None

    # Going on

    def load(self, snapshot: Snapshot) -> None:
        """Take a snapshot over as it is."""
        self.revision = snapshot.revision
        self.phase = snapshot.phase
        self.over = self.phase.is_terminal
        self.output, self.error = snapshot.output, snapshot.error
        self.started = None if snapshot.started_at is None else to_nanos(snapshot.started_at)
        self.completed = None if snapshot.completed_at is None else to_nanos(snapshot.completed_at)
        self.temporal_workflow_id = self.temporal_workflow_id or snapshot.temporal_workflow_id
        self.last = max(self.started or 0, self.completed or 0)
        for task in {task.task_id: task for task in snapshot.tasks}.values():
            record = self.tasks[task.task_id] = TaskRecord.thaw(task)
            record.index = self._frozen.append(task)
            self.last = max(self.last, record.started or 0, record.completed or 0)
        self.inherited.update(self.tasks)
        self.no_shortcuts = self.no_shortcuts or bool(self.inherited)

    def restart(self, now: int) -> None:
        """Make what was taken over the start of a new attempt."""
        running = [record for record in self.tasks.values() if record.status is _IN_PROGRESS]
        if not running and not self.over:
            return
        now = self._begin(now)
        for record in running:
            self._end_task(record, _FAILED, now, INTERRUPTED)
        if self.over:
            self.phase = ExecutionPhase.PENDING
            self.over = False
            self.error = self.output = self.completed = None

    # Tasks

    def add(
        self,
        now: int,
        task_id: str,
        name: str,
        status: TaskStatus,
        task_type: TaskType | None,
        input: JsonObject | None,
        metadata: JsonObject | None,
    ) -> int:
        """Add a task; the execution has not ended, and has no task with this id."""
        self.revision = revision = self.revision + 1
        if now < self.last:
            now = self.last
        self.last = now
        record = TaskRecord(task_id, name, status, now, revision)
        self.tasks[task_id] = record
        self.changed.append(record)
        if task_type is not _CUSTOM or input is not None or metadata is not None:
            record.fill(None, task_type, input, metadata, self.max_bytes)
        if status is not _IN_PROGRESS or self.phase is not _NOT_STARTED:
            return CHANGED
        return self.follow(status, now)

    def add_checked(
        self,
        now: int,
        task_id: str,
        name: str | None,
        status: TaskStatus,
        task_type: TaskType | None,
        input: JsonObject | None,
        metadata: JsonObject | None,
        allowed: bool,
    ) -> int:
        """Add a task after all checks; an id that was inherited may come again, as a retry, where that is `allowed`."""
        if self.over:
            raise self.ended("add_task", task_id, status)
        record = self.tasks.get(task_id)
        if record is None:
            return self.add(now, task_id, task_id if name is None else name, status, task_type, input, metadata)
        if not allowed or task_id not in self.inherited:
            raise DuplicateTaskError(self.execution_id, task_id, record.status)
        self.inherited.discard(task_id)
        record.reset()
        now = self._begin(now)
        record.fill(name, task_type, input, metadata, self.max_bytes)
        record.move(status, now)
        self.touch(record)
        return self.follow(status, now)

    def start(
        self,
        now: int,
        task_id: str,
        name: str | None,
        task_type: TaskType | None,
        input: JsonObject | None,
        metadata: JsonObject | None,
    ) -> int:
        """Start a task for a block: a new one, or one that is PENDING, FAILED or inherited."""
        if self.over:
            raise self.ended("task", task_id, _IN_PROGRESS)
        record = self.tasks.get(task_id)
        if record is None:
            return self.add(now, task_id, task_id if name is None else name, _IN_PROGRESS, task_type, input, metadata)
        if record.status not in (_PENDING, _FAILED):
            if task_id not in self.inherited and task_id not in self.left:
                raise DuplicateTaskError(self.execution_id, task_id, record.status)
            record.count_retry()
        now = self._begin(now)
        self._moved(task_id)
        record.fill(name, task_type, input, metadata, self.max_bytes)
        record.move(_IN_PROGRESS, now)
        self.touch(record)
        return self.follow(_IN_PROGRESS, now)

    def update(
        self,
        now: int,
        task_id: str,
        status: TaskStatus,
        error: str | None,
        output: JsonObject | None,
        metadata: JsonObject | None,
    ) -> int:
        """Move a task to a status, or change the other fields of one that has it already."""
        if self.over:
            raise self.ended("update_task_status", task_id, status)
        record = self.tasks.get(task_id) or self._find(task_id)
        current = record.status
        if status is not current:
            if not STATUS_MASKS[current] >> status & 1:
                raise self._refusal(record, status)
        elif not record.differs(error, output, metadata):
            return NOTHING
        self.revision = record.revision = self.revision + 1
        if now < self.last:
            now = self.last
        self.last = now
        if not record.stale:
            record.stale = True
            self.changed.append(record)
        if status is not current:
            if self.no_shortcuts:
                self._moved(task_id)
            if current is _IN_PROGRESS:
                record.status = status
                record.completed = now
            else:
                record.move(status, now)
        if error is not None:
            record.error = error
        if output is not None:
            record.output = output
        if metadata:
            record.merge(metadata, self.max_bytes)
        if status is not _IN_PROGRESS or self.phase is not _NOT_STARTED:
            return CHANGED
        return self.follow(status, now)

    def leave(self, task_id: str, error: str) -> None:
        """Note that a task is running no more here; no change."""
        if self.tasks[task_id].status is _IN_PROGRESS:
            self.left[task_id] = error
            self.no_shortcuts = True

    # The execution

    def set_phase(self, now: int, phase: ExecutionPhase, output: JsonObject | None) -> int:
        """Move the execution to a phase; a terminal one ends the tasks that are open."""
        if self.over:
            raise self.ended("update_status", None, phase)
        if phase is self.phase:
            if output is None or same(output, self.output):
                return NOTHING
            self._begin(now)
            self.output = output
            return CHANGED
        if not PHASE_MASKS[self.phase] >> phase & 1:
            raise InvalidTransitionError(self.execution_id, None, self.phase, phase, remedy(self.phase))
        if phase is ExecutionPhase.COMPLETED:
            self._refuse_running()
        if output is not None:
            self.output = output
        return self._enter(self._begin(now), phase, None, ENDED_EARLY)

    def open(self, now: int) -> int:
        """Move a pending execution to IN_PROGRESS."""
        if self.over:
            raise self.ended("with", None, None)
        if self.phase is not _NOT_STARTED:
            return NOTHING
        return self._enter(self._begin(now), ExecutionPhase.IN_PROGRESS, None, "")

    def finish(self, now: int, phase: ExecutionPhase, error: str | None) -> tuple[str, ...]:
        """End the execution whatever its tasks do; returns those that were forgotten by a COMPLETED one."""
        completed = phase is ExecutionPhase.COMPLETED
        forgotten = tuple(record.task_id for record in self._running()) if completed else ()
        self._enter(self._begin(now), phase, error, FORGOTTEN if completed else ENDED_EARLY)
        return forgotten

    def fail(self, now: int, error: str, task_id: str | None) -> int:
        """End the execution FAILED, and one task with it."""
        if self.over:
            raise self.ended("with_error", task_id, ExecutionPhase.FAILED)
        record = None
        if task_id is not None:
            record = self._find(task_id)
            if record.status is not _FAILED and not STATUS_MASKS[record.status] >> _FAILED & 1:
                raise self._refusal(record, _FAILED)
        now = self._begin(now)
        if record is not None:
            if record.status is not _FAILED:
                record.move(_FAILED, now)
            record.error = error
            self.touch(record)
        return self._enter(now, ExecutionPhase.FAILED, error, ENDED_EARLY)

    def set_epoch(self, epoch: int) -> None:
        """Go on under another epoch, with the same revision."""
        self.epoch = epoch
        self._snapshot = None

    # The steps that they share

    def _find(self, task_id: str) -> TaskRecord:
        record = self.tasks.get(task_id)
        if record is None:
            raise UnknownTaskError(self.execution_id, task_id, tuple(self.tasks))
        return record

    def _refusal(self, record: TaskRecord, status: TaskStatus) -> InvalidTransitionError:
        current = record.status
        return InvalidTransitionError(self.execution_id, record.task_id, current, status, remedy(current))

    def _running(self) -> Iterator[TaskRecord]:
        return (
            record
            for record in self.tasks.values()
            if record.status is _IN_PROGRESS and record.task_id not in self.left
        )

    def _refuse_running(self) -> None:
        for record in self._running():
            hint = f"Task {record.task_id!r} is still IN_PROGRESS; end it first."
            raise InvalidTransitionError(self.execution_id, None, self.phase, ExecutionPhase.COMPLETED, hint)

    def _moved(self, task_id: str) -> None:
        """Note that a task is no longer as it was inherited or left."""
        self.inherited.discard(task_id)
        self.left.pop(task_id, None)

    def _begin(self, now: int) -> int:
        """Count the revision; return the time of the change."""
        self.revision += 1
        if now > self.last:
            self.last = now
        return self.last

    def touch(self, record: TaskRecord) -> None:
        """Note that a task changed at this revision."""
        record.revision = self.revision
        if not record.stale:
            record.stale = True
            self.changed.append(record)

    def follow(self, status: TaskStatus, now: int) -> int:
        """Move a pending execution along with its first running task."""
        if status is not _IN_PROGRESS or self.phase is not _NOT_STARTED:
            return CHANGED
        return self._enter(now, ExecutionPhase.IN_PROGRESS, None, "")

    def _enter(self, now: int, phase: ExecutionPhase, error: str | None, unfinished: str) -> int:
        self.phase = phase
        if self.started is None:
            self.started = now
        if phase.is_terminal:
            self.over = True
            self.completed = now
            self.error = error
            for record in self.tasks.values():
                if record.status is _IN_PROGRESS:
                    self._end_task(record, _FAILED, now, self.left.get(record.task_id, unfinished))
                elif record.status is _PENDING:
                    self._end_task(record, _SKIPPED, now, None)
        return PHASE_CHANGED

    def _end_task(self, record: TaskRecord, status: TaskStatus, now: int, error: str | None) -> None:
        record.move(status, now)
        record.error = error
        self.touch(record)

    def ended(self, call: str, task_id: str | None, requested: object) -> ExecutionEndedError:
        """Make the error for a change after the end."""
        return ExecutionEndedError(self.execution_id, task_id, self.phase, requested, "", call)

    # The values

    def snapshot(self) -> Snapshot:
        """Return the present state; the same object until the next change."""
        if self._snapshot is None or self._snapshot.revision != self.revision:
            self._snapshot = self._freeze()
        return self._snapshot

    def _freeze(self) -> Snapshot:
        return self._with_tasks(Snapshot, {})

    def _with_tasks(self, kind: type[Snapshot], more: dict[str, Any]) -> Snapshot:
        for record in self.changed:
            record.stale = False
            if record.index is None:  # new ones come in the order in which they were added
                record.index = self._frozen.append(record.freeze())
            else:
                self._frozen.put(record.index, record.freeze())
        self.changed.clear()
        tasks, blocks = self._frozen.freeze()
        snapshot = kind(
            self.execution_id,
            self.epoch,
            self.revision,
            self.phase,
            tasks,
            self.output,
            self.error,
            None if self.started is None else from_nanos(self.started),
            None if self.completed is None else from_nanos(self.completed),
            self.temporal_workflow_id,
            **more,
        )
        object.__setattr__(snapshot, "_blocks", blocks)
        return snapshot


def _dict_with_hashes() -> dict[str, Any]:
    """Return a dict that keeps its keys' hashes, as one does that has had a key which is no text.

    Others look at a key itself where two share a place, and among 100,000 tasks each such look is a cache miss: it made
    adding one there a tenth slower.
    """
    tasks: dict[Any, Any] = {None: None}
    del tasks[None]
    return tasks
