"""A snapshot on the workflow wire: `WorkflowExecutionStatus`, and the way back."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any, Final

from ..core.model.frozen import EMPTY
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType
from ._fit import FRAME, TASK_RUNGS, Fitting, Tally, folded_task
from ._lane import Lane, Track, chunked
from ._read import Read
from ._shorten import BARE, ERROR, LARGE, SMALL, clip, cut_payload
from .codec import delimited, number, payload, tag, text, time

# WorkflowTask
_TASK_ID, _TASK_NAME, _INPUT, _OUTPUT = tag(1), tag(2), tag(4), tag(5)
_STARTED_AT, _COMPLETED_AT, _ERROR, _METADATA = tag(7), tag(8), tag(9), tag(10)
_TASK: Final = tag(2)  # in WorkflowExecutionStatus
_TYPES: Final = {kind: number(3, min(kind, TaskType.CUSTOM)) for kind in TaskType}
_STATUSES: Final = {status: number(6, status) for status in TaskStatus}


def encode_task(task: Task) -> bytes:
    """Return the task as an entry of `tasks`, tag and length included."""
    data = b"".join(
        (
            text(_TASK_ID, task.task_id),
            text(_TASK_NAME, task.task_name),
            _TYPES[task.task_type],
            payload(_INPUT, task.input),
            payload(_OUTPUT, task.output),
            _STATUSES[task.status],
            time(_STARTED_AT, task.started_at),
            time(_COMPLETED_AT, task.completed_at),
            text(_ERROR, task.error),
            payload(_METADATA, task.metadata or None),
        )
    )
    return delimited(_TASK, data)


def task_blocks(snapshot: Snapshot) -> Iterable[tuple[Task, ...]]:
    return getattr(snapshot, "_blocks", None) or chunked(snapshot.tasks)


def _fold(tally: Tally) -> bytes:
    return encode_task(folded_task(tally, TaskType.CUSTOM))


def _frame(snapshot: Snapshot, level: int) -> tuple[bytes, bytes]:
    output = snapshot.output if snapshot.phase is ExecutionPhase.COMPLETED else None
    error = snapshot.error if snapshot.phase is ExecutionPhase.FAILED else None
    if error is not None and level:
        error = clip(error, ERROR if level < 3 else BARE)
    if output is not None and level > 1:
        output = cut_payload(output, LARGE if level < 3 else SMALL)
    rest = (
        payload(tag(3), None if level > 3 else output),
        text(tag(4), error),
        time(tag(5), snapshot.started_at),
        time(tag(6), snapshot.completed_at),
        text(tag(7), None if level > 3 else snapshot.temporal_workflow_id),
    )
    return number(1, snapshot.phase), b"".join(rest)


FITTING: Final = Fitting(
    frame=_frame,
    steps=(0, 0, 0, 0, FRAME, 0, 0, FRAME, 0, FRAME, 0, 0, FRAME),
    rungs=((TASK_RUNGS,),),
    folds=(_fold,),
)
_TASKS: Final = Lane(task_blocks, encode_task, encode_task)


def tracks() -> tuple[Track, ...]:
    """Return what a new encoder starts with."""
    return (Track(_TASKS),)


def read_snapshot(status: Any, execution_id: str) -> Snapshot:
    """Read a `WorkflowExecutionStatus`."""
    read = Read(status)
    # By id: where an id comes twice, which no builder takes, the later one counts.
    tasks = tuple({task.task_id: task for task in map(_read_task, read.items("tasks"), count(1))}.values())
    return Snapshot(
        execution_id=execution_id,
        phase=read.phase(),
        tasks=tasks,
        output=read.payload("output"),
        error=read.text("error"),
        started_at=read.time("started_at"),
        completed_at=read.time("completed_at"),
        temporal_workflow_id=read.text("temporal_workflow_id"),
    )


def _read_task(task: Any, place: int) -> Task:
    read = Read(task)
    task_id = read.text("task_id") or f"task-{place}"
    started_at = read.time("started_at")
    return Task(
        task_id=task_id,
        task_name=read.text("task_name") or task_id,
        task_type=read.enum("task_type", TaskType, TaskType.CUSTOM),
        status=read.enum("status", TaskStatus, TaskStatus.IN_PROGRESS if started_at else TaskStatus.PENDING),
        input=read.payload("input"),
        output=read.payload("output"),
        error=read.text("error"),
        metadata=read.payload("metadata") or EMPTY,
        started_at=started_at,
        completed_at=read.time("completed_at"),
    )


def task_statuses(status: Any) -> tuple[tuple[str, int], ...]:
    """Return the ids and status numbers of a `WorkflowExecutionStatus`."""
    return tuple((task.task_id, task.status) for task in status.tasks)
