"""The state machine of one execution: what a call changes. Not safe for threads; the builder holds the lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import DuplicateTaskError, ExecutionEndedError, InvalidTransitionError, UnknownTaskError
from ..payload.policy import DEFAULT_MAX_PAYLOAD_BYTES
from .blocks import Blocks
from .model.frozen import JsonObject, same
from .model.times import from_nanos, to_nanos
from .model.values import ExecutionPhase, Snapshot, Task, TaskStatus
from .record import Given, TaskRecord
from .transitions import PHASE_MASKS, STATUS_MASKS, remedy

NOTHING, CHANGED, PHASE_CHANGED = 0, 1, 2
"""What a call did."""

ENDED_EARLY = "the execution ended before this task finished"
FORGOTTEN = "not finished when the execution completed"
INTERRUPTED = "interrupted by a restart"
CANCELLED = "cancelled"
_REASONS = {ExecutionPhase.FAILED: "failed", ExecutionPhase.CANCELLED: CANCELLED}

# Bound once: before Python 3.12 each look at a member costs as much as the rest of a transition.
_PENDING, _IN_PROGRESS, _FAILED, _SKIPPED = (
    TaskStatus.PENDING,
    TaskStatus.IN_PROGRESS,
    TaskStatus.FAILED,
    TaskStatus.SKIPPED,
)
_NOT_STARTED = ExecutionPhase.PENDING


class Told(int):
    """The time of a change as its source tells it; it may be of any age."""

    __slots__ = ()


class ExecutionState:
    """Phase, tasks and times of one execution.

    Every change validates before it touches anything, so that a refused one changes nothing. `now` is the time of the
    change, in nanoseconds since 1970: a reading of the clock, which never goes back, or one that was `Told`.
    """

    def __init__(self, execution_id: str, epoch: int, temporal_workflow_id: str | None) -> None:
        self.execution_id = execution_id
        self.epoch = epoch
        self.temporal_workflow_id = temporal_workflow_id
        self.max_bytes = DEFAULT_MAX_PAYLOAD_BYTES
        """The most that the metadata of a task may take, as JSON."""
        self.revision = 0
        self.phase = ExecutionPhase.PENDING
        self.over = False
        """Whether the phase is terminal."""
        self.restarted = False
        """Whether inherited tasks may be added again."""
        self.output: JsonObject | None = None
        self.error: str | None = None
        self.started: int | None = None
        self.completed: int | None = None
        self.tasks: dict[str, TaskRecord] = {}
        self.changed: list[TaskRecord] = []
        """Those of which the snapshot's `Task` is of an earlier revision, or not made yet."""
        self._earliest: int | None = None
        """The earliest start of a task that was told before the execution had started."""
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
        for task in {task.task_id: task for task in snapshot.tasks}.values():
            record = self.tasks[task.task_id] = TaskRecord.thaw(task)
            record.index = self._frozen.append(task)

    def restart(self, now: int) -> None:
        """Make what was taken over the start of a new attempt."""
        self.restarted = True
        running = [record for record in self.tasks.values() if record.status is _IN_PROGRESS]
        if not running and not self.over:
            return
        self.revision += 1
        for record in running:
            self._end_task(record, _FAILED, now, INTERRUPTED)
            record.inherited = True
        if self.over:
            self.phase = ExecutionPhase.PENDING
            self.over = False
            self.error = self.output = self.completed = None

    # Tasks

    def add(
        self,
        now: int,
        task_id: str,
        name: str | None,
        status: TaskStatus,
        given: Given | None,
        again: bool,
        call: str = "add_task",
    ) -> int:
        """Add a task; one that is there begins its next attempt where that is asked for, or it was inherited."""
        if self.over:
            raise self.ended(call, task_id, status)
        if given is not None and given.parent_id is not None and given.parent_id not in self.tasks:
            raise UnknownTaskError(self.execution_id, given.parent_id, tuple(self.tasks))
        record = self.tasks.get(task_id)
        if record is not None:
            return self._add_again(now, record, name, status, given, again)
        self.revision = revision = self.revision + 1
        record = TaskRecord(task_id, task_id if name is None else name, status, now, revision)
        self.tasks[task_id] = record
        self.changed.append(record)
        if given is not None:
            record.begin_with(given)
        if type(now) is not Told and (self.phase is not _NOT_STARTED or status is not _IN_PROGRESS):
            return CHANGED
        return self._follow(now, status, type(now) is Told)

    def _add_again(
        self,
        now: int,
        record: TaskRecord,
        name: str | None,
        status: TaskStatus,
        given: Given | None,
        again: bool,
    ) -> int:
        is_running = record.status is _IN_PROGRESS
        if is_running and status is _IN_PROGRESS:
            allowed = again and (record.inherited or record.left is not None)
        else:
            allowed = not is_running and (again or (self.restarted and record.inherited))
        if not allowed:
            raise DuplicateTaskError(self.execution_id, record.task_id, record.status)
        return self._take_up(now, record, name, status, given)

    def start(
        self, now: int, task_id: str, name: str | None, status: TaskStatus, given: Given | None, again: bool
    ) -> int:
        """Start a task for a block: a new one, or one that is PENDING, FAILED or inherited."""
        record = self.tasks.get(task_id)
        if record is not None:
            again = again or record.inherited or record.left is not None or record.status in (_PENDING, _FAILED)
        return self.add(now, task_id, name, status, given, again, "task")

    def _take_up(self, now: int, record: TaskRecord, name: str | None, status: TaskStatus, given: Given | None) -> int:
        """Begin the next attempt of a task that has ended; one that has not goes on in the present one."""
        given = given or Given()
        given.name = name
        current = record.status
        if current is status and not current.is_terminal:
            record.stay()
            if not record.differs(given):
                return NOTHING
        self.revision += 1
        if current.is_terminal:
            record.begin_attempt()
        if record.status is not status:
            record.move(status, now)
        record.stay()
        record.take(given, self.max_bytes)
        if current.is_terminal:
            record.fit(self.max_bytes)
        self.touch(record)
        return self._follow(now, status, type(now) is Told and current is not _IN_PROGRESS)

    def update(
        self,
        now: int,
        task_id: str,
        name: str | None,
        status: TaskStatus | None,
        given: Given | None,
        again: bool,
    ) -> int:
        """Move a task to a status, or change the other fields of one that has it already; None is the present one.

        It takes what `add` takes; a name is none, and `again` says nothing here.
        """
        if self.over:
            raise self.ended("update_task_status", task_id, status)
        record = self.tasks.get(task_id) or self._find(task_id)
        current = record.status
        if status is current or status is None:
            if given is None or not record.differs(given):
                return NOTHING
        elif not STATUS_MASKS[current] >> status & 1:
            raise self._refusal(record, status)
        self.revision = record.revision = self.revision + 1
        if not record.stale:
            record.stale = True
            self.changed.append(record)
        if status is not current and status is not None:
            if current is _FAILED:
                record.begin_attempt()
            record.move(status, now)
        if given is not None:
            record.take(given, self.max_bytes)
        if current is _IN_PROGRESS or status is current or status is None:
            return CHANGED
        if current is _FAILED:
            record.fit(self.max_bytes)
        return self._follow(now, status, type(now) is Told)

    def leave(self, task_id: str, error: str) -> None:
        """Note that a task is running no more here; no change."""
        if self.tasks[task_id].status is _IN_PROGRESS:
            self.tasks[task_id].left = error

    # The execution

    def set_phase(self, now: int, phase: ExecutionPhase, error: str | None, output: JsonObject | None) -> int:
        """Move the execution to a phase; a terminal one ends the tasks that are open."""
        if self.over:
            raise self.ended("update_status", None, phase)
        if phase is self.phase:
            return self.set_output(now, output)
        if not PHASE_MASKS[self.phase] >> phase & 1:
            raise InvalidTransitionError(self.execution_id, None, self.phase, phase, remedy(self.phase))
        if output is not None and phase in _REASONS:
            what = f"Execution {self.execution_id!r} was to become {phase.name} with an output="
            raise ValueError(f"{what}, which no backend can show then; say why it ended so with message.")
        if phase is ExecutionPhase.COMPLETED:
            self._refuse_running()
        self.revision += 1
        if output is not None:
            self.output = output
        return self._enter(now, phase, error, ENDED_EARLY)

    def set_output(self, now: int, output: JsonObject | None) -> int:
        """Replace the execution's output; None leaves it."""
        if output is None:
            return NOTHING
        if self.over:
            raise self.ended("output", None, None)
        if same(output, self.output):
            return NOTHING
        self.revision += 1
        self.output = output
        return CHANGED

    def open(self, now: int) -> int:
        """Move a pending execution to IN_PROGRESS."""
        if self.over:
            raise self.ended("with", None, None)
        if self.phase is not _NOT_STARTED:
            return NOTHING
        self.revision += 1
        return self._enter(now, ExecutionPhase.IN_PROGRESS, None, "")

    def finish(self, now: int, phase: ExecutionPhase, error: str | None) -> tuple[str, ...]:
        """End the execution whatever its tasks do; returns those that were forgotten by a COMPLETED one."""
        completed = phase is ExecutionPhase.COMPLETED
        forgotten = tuple(record.task_id for record in self._running()) if completed else ()
        self.revision += 1
        self._enter(now, phase, error, FORGOTTEN if completed else ENDED_EARLY)
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
        self.revision += 1
        if record is not None and record.status is not _FAILED:
            self._end_task(record, _FAILED, now, error)
        elif record is not None:
            record.error = error
            self.touch(record)
        return self._enter(now, ExecutionPhase.FAILED, error, ENDED_EARLY)

    def set_epoch(self, epoch: int) -> None:
        """Go on under another epoch, with the same revision."""
        self.epoch = epoch
        self._snapshot = None

    def release(self, now: int) -> int:
        """Show what was held back until nothing more comes; a plain execution holds nothing back."""
        return NOTHING

    # The steps that they share

    def _find(self, task_id: str) -> TaskRecord:
        record = self.tasks.get(task_id)
        if record is None:
            raise UnknownTaskError(self.execution_id, task_id, tuple(self.tasks))
        return record

    def _refusal(self, record: TaskRecord, status: TaskStatus) -> InvalidTransitionError:
        current = record.status
        hint = remedy(current)
        if current.is_terminal and record.inherited:
            hint += " It had ended when this builder took it over; its next attempt begins with task() or add_task()"
            hint += "." if self.restarted else " (there with again=True)."
        elif current.is_terminal and current is not _FAILED:
            hint += " Its next attempt begins with again=True, in task() or add_task()."
        return InvalidTransitionError(self.execution_id, record.task_id, current, status, hint)

    def _running(self) -> Iterator[TaskRecord]:
        return (record for record in self.tasks.values() if record.status is _IN_PROGRESS and record.left is None)

    def _refuse_running(self) -> None:
        running = [record.task_id for record in self._running()]
        if running:
            number = "1 task is" if len(running) == 1 else f"{len(running)} tasks are"
            some = ", ".join(map(repr, running[:5])) + (", …" if len(running) > 5 else "")
            hint = f"{number} still running: {some}; end {'it' if len(running) == 1 else 'them'} first."
            raise InvalidTransitionError(self.execution_id, None, self.phase, ExecutionPhase.COMPLETED, hint)

    def touch(self, record: TaskRecord) -> None:
        """Note that a task changed at this revision."""
        record.revision = self.revision
        if not record.stale:
            record.stale = True
            self.changed.append(record)

    def _follow(self, now: int, status: TaskStatus, told: bool) -> int:
        """Let the execution be IN_PROGRESS with its task, and start no later than one whose start was `told`."""
        if told and status is not _PENDING:
            if self.started is not None:
                self.started = min(now, self.started)
            self._earliest = now if self._earliest is None else min(now, self._earliest)
        if status is not _IN_PROGRESS or self.phase is not _NOT_STARTED:
            return CHANGED
        return self._enter(now, ExecutionPhase.IN_PROGRESS, None, "")

    def _enter(self, now: int, phase: ExecutionPhase, error: str | None, unfinished: str) -> int:
        self.phase = phase
        if self.started is None:
            self.started = now if self._earliest is None else min(now, self._earliest)
        elif type(now) is Told and phase is ExecutionPhase.IN_PROGRESS:
            self.started = min(now, self.started)
        if phase.is_terminal:
            self.over = True
            self.completed = now = max(now, self.started)
            self.error = error or _REASONS.get(phase)
            for record in self.tasks.values():
                if record.status is _IN_PROGRESS:
                    self._end_task(record, _FAILED, now, unfinished if record.left is None else record.left)
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
