"""Whether a backend misses the end of a run, and what it is to show instead of what it holds."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..core.model.frozen import JsonObject
from ..core.model.metadata import FOLDED
from ..core.model.times import to_millis
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus
from ..core.state import ENDED_EARLY, FORGOTTEN
from ._closed import ClosedRun
from ._fold import Fold, as_told, linked


def is_missing(run: ClosedRun, held: Snapshot, epoch: int | None) -> bool:
    """Whether a backend does not show how a run ended, the newest one of its execution.

    Args:
        run: The run.
        held: What the backend holds.
        epoch: Of what it holds; None from a backend that does not know epochs.
    """
    if epoch is not None and epoch > to_millis(run.closed_at):
        return False  # somebody has begun the execution anew since
    if not held.is_terminal:
        return True
    if epoch is not None:
        return epoch < to_millis(run.started_at) or held.phase is not run.phase
    return held.completed_at is not None and held.completed_at < run.started_at


def end_of(fold: Fold, run: ClosedRun, execution_id: str, held: Snapshot | None, epoch: int | None) -> Snapshot:
    """Return how a run ended, with what the backend knows beside its history.

    Args:
        fold: Its whole history.
        run: The run.
        execution_id: The backend's id of the execution.
        held: What the backend holds; None where that is not known.
        epoch: Of what it holds; None where it names none.
    """
    told = fold.snapshot(execution_id)
    began = to_millis(run.started_at)
    # Hosts of 0.1.0 counted the epoch of a reset or continued run a little later than the server's start.
    same = epoch is not None and began <= epoch <= to_millis(run.closed_at)
    revision = told.revision
    if same and held is not None:
        began, revision = epoch or began, max(revision, held.revision + 1)
    facts = attrs.evolve(told, epoch=began, revision=revision)
    if held is None or not (same or _is_of_run(fold, run, held)):
        return facts
    names = ("epoch", "revision", "phase", "output", "error", "started_at", "completed_at", "temporal_workflow_id")
    own = fold.own
    shown = [as_told(task, fold.before.get(task.task_id)) for task in held.tasks if not _never_was(task, fold, run)]
    before = shown or fold.inherited
    # What the runs before have folded may be shown one by one.
    unseen = own if any(task.task_id == FOLDED for task in fold.inherited) else told.tasks
    tasks = [*_closed(before, own, told), *_unknown(before, unseen)]
    # A backend cannot be told of no tasks at all.
    tasks = tasks or [attrs.evolve(task, status=TaskStatus.SKIPPED, completed_at=run.closed_at) for task in held.tasks]
    # Whatever else the backend's kind of execution has stays.
    return attrs.evolve(held, tasks=tasks, **{name: getattr(facts, name) for name in names})


def _never_was(task: Task, fold: Fold, run: ClosedRun) -> bool:
    """Whether a worker told of a task, and died before the server had accepted what it did."""
    if task.status.is_terminal or task.started_at is None or task.started_at < run.started_at:
        return False
    return fold.accepted_at is None or task.started_at > fold.accepted_at


def _is_of_run(fold: Fold, run: ClosedRun, held: Snapshot) -> bool:
    """Whether what a backend without epochs holds is this run's, or was handed on to it."""
    if fold.carried is not None:
        return True
    return held.started_at is None or held.started_at >= run.started_at


def _closed(before: Sequence[Task], own: Sequence[Task], told: Snapshot) -> list[Task]:
    """Return the tasks that the backend shows, as the history has them, and with none left open."""
    known = {task.task_id: task for task in own}
    tasks = _unfolded(before, own)
    return [linked(known[task.task_id], task) if task.task_id in known else _ended(task, told) for task in tasks]


def _ended(task: Task, told: Snapshot) -> Task:
    if task.status.is_terminal:
        return task
    started, ended = task.started_at or told.completed_at, told.completed_at
    if task.status is TaskStatus.PENDING:
        return attrs.evolve(task, status=TaskStatus.SKIPPED, started_at=started, completed_at=ended)
    error = FORGOTTEN if told.phase is ExecutionPhase.COMPLETED else ENDED_EARLY
    return attrs.evolve(task, status=TaskStatus.FAILED, error=error, started_at=started, completed_at=ended)


def _unknown(before: Sequence[Task], own: Sequence[Task]) -> list[Task]:
    shown = {task.task_id for task in before}
    return [task for task in own if task.task_id not in shown]


def _unfolded(before: Sequence[Task], own: Sequence[Task]) -> list[Task]:
    """Return tasks without those of the run's own that were folded into one, and that the history has in full."""
    times = [time for task in before for time in (task.started_at, task.completed_at) if time is not None]
    until = max(times, default=None)
    ended = [task.completed_at for task in _unknown(before, own) if task.completed_at is not None]
    again = sum(until is not None and time <= until for time in ended)
    return [each for task in before if (each := _less(task, again)) is not None]


def _less(task: Task, again: int) -> Task | None:
    count = task.metadata.get("count")
    if task.task_id != FOLDED or not again or not isinstance(count, (int, float)):
        return task
    left = int(count) - again
    if left <= 0:
        return None
    return attrs.evolve(task, task_name=f"{left} earlier tasks", metadata=JsonObject({**task.metadata, "count": left}))
