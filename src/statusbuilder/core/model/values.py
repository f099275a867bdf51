"""The values of the library: phases, tasks, snapshots, and what a sink is.

Nothing here does I/O or knows a wire format, so that the values can be used anywhere, also in a workflow sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import attrs

from ...errors import UnknownTaskError
from .enums import ExecutionPhase as ExecutionPhase
from .enums import Outcome as Outcome
from .enums import TaskStatus as TaskStatus
from .enums import TaskType as TaskType
from .frozen import EMPTY, JsonObject
from .metadata import KnownMetadata
from .progress import Progress as Progress
from .progress import count_progress
from .reading import make_metadata, make_object, read_enum, read_int, read_items, read_object, read_text
from .times import cut_time, parse_time, show_time


@attrs.frozen
class Task(KnownMetadata):
    """One step of an execution, as it was at one revision."""

    task_id: str
    """Unique within the execution; never empty."""
    task_name: str
    """What people read."""
    task_type: TaskType = TaskType.CUSTOM
    status: TaskStatus = TaskStatus.PENDING
    input: JsonObject | None = attrs.field(default=None, converter=make_object)
    """What it was given, as JSON; None when not recorded."""
    output: JsonObject | None = attrs.field(default=None, converter=make_object)
    """What it gave, as JSON; None when not recorded."""
    error: str | None = None
    """Why it failed; None unless FAILED."""
    metadata: JsonObject = attrs.field(default=EMPTY, converter=make_metadata)
    """Anything else, as JSON. What it has under the fixed keys is read by the properties below."""
    started_at: datetime | None = attrs.field(default=None, converter=cut_time)
    """When it first was IN_PROGRESS, or ended without; aware, UTC, whole milliseconds."""
    completed_at: datetime | None = attrs.field(default=None, converter=cut_time)
    """When it reached its terminal status; aware, UTC, whole milliseconds."""
    revision: int = 0
    """The revision at which it last changed."""

    def to_dict(self) -> dict[str, Any]:
        """Return the task as JSON-able values, with enum names and ISO 8601 times."""
        return {
            "task_id": self.task_id,
            "task_name": self.task_name,
            "task_type": self.task_type.name,
            "status": self.status.name,
            "input": self.input,
            "output": self.output,
            "error": self.error,
            "metadata": self.metadata,
            "started_at": show_time(self.started_at),
            "completed_at": show_time(self.completed_at),
            "revision": self.revision,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; unknown keys are ignored, unknown values become defaults."""
        task_id, name = read_text(data.get("task_id")) or "", read_text(data.get("task_name"))
        started_at = parse_time(data.get("started_at"))
        return cls(
            task_id=task_id,
            task_name=task_id if name is None else name,
            task_type=read_enum(TaskType, data.get("task_type"), TaskType.CUSTOM),
            status=read_enum(
                TaskStatus, data.get("status"), TaskStatus.IN_PROGRESS if started_at else TaskStatus.PENDING
            ),
            input=read_object(data.get("input")),
            output=read_object(data.get("output")),
            error=read_text(data.get("error")),
            metadata=read_object(data.get("metadata")) or EMPTY,
            started_at=started_at,
            completed_at=parse_time(data.get("completed_at")),
            revision=read_int(data.get("revision")),
        )


def _task_tuple(tasks: Iterable[Task]) -> tuple[Task, ...]:
    return tuple(tasks)


class _Shared:
    """What a builder's snapshots have in common: their items in blocks, the same objects from one to the next.

    They are no fields: a snapshot is neither compared by them, nor pickled or copied with them.
    """

    __slots__ = ("_blocks", "_message_blocks")


@attrs.frozen
class Snapshot(_Shared):
    """The immutable state of an execution at one revision.

    `tasks` are in the order in which they were added. Payloads (`output`, a task's `input`, `output` and `metadata`)
    are JSON objects that refuse changes.
    """

    VERSION: ClassVar[int] = 1
    """The version of the dictionary form."""

    execution_id: str
    """The backend's id of the execution."""
    epoch: int = 0
    """Which builder of the execution this is from; a later builder has a larger one."""
    revision: int = 0
    """Counts the accepted changes of the builder."""
    phase: ExecutionPhase = ExecutionPhase.PENDING
    tasks: tuple[Task, ...] = attrs.field(default=(), converter=_task_tuple)
    output: JsonObject | None = attrs.field(default=None, converter=make_object)
    """What the execution gave, as JSON; None when not recorded."""
    error: str | None = None
    """Why the execution failed; None unless FAILED."""
    started_at: datetime | None = attrs.field(default=None, converter=cut_time)
    """When it first left PENDING; aware, UTC, whole milliseconds."""
    completed_at: datetime | None = attrs.field(default=None, converter=cut_time)
    """When it reached its terminal phase; aware, UTC, whole milliseconds."""
    temporal_workflow_id: str | None = None
    """The workflow engine's id of the same run, for correlation."""

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended."""
        return self.phase.is_terminal

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None until the execution has both."""
        if self.started_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.started_at).total_seconds()

    @property
    def progress(self) -> Progress:
        """The counts of tasks by status, and how far the execution is."""
        return count_progress(self.tasks, self.is_terminal)

    @property
    def current_tasks(self) -> tuple[Task, ...]:
        """The tasks that are IN_PROGRESS."""
        return tuple(task for task in self.tasks if task.status is TaskStatus.IN_PROGRESS)

    def task(self, task_id: str) -> Task:
        """Return one task.

        Raises:
            UnknownTaskError: the execution has no such task.
        """
        for task in self.tasks:
            if task.task_id == task_id:
                return task
        raise UnknownTaskError(self.execution_id, task_id, tuple(task.task_id for task in self.tasks))

    def changed_since(self, revision: int) -> tuple[Task, ...]:
        """Return the tasks that changed after `revision`."""
        return tuple(task for task in self.tasks if task.revision > revision)

    def to_dict(self) -> dict[str, Any]:
        """Return the snapshot as JSON-able values: `"version": 1`, enum names, ISO 8601 times."""
        return {
            "version": self.VERSION,
            "execution_id": self.execution_id,
            "epoch": self.epoch,
            "revision": self.revision,
            "phase": self.phase.name,
            "tasks": [task.to_dict() for task in self.tasks],
            "output": self.output,
            "error": self.error,
            "started_at": show_time(self.started_at),
            "completed_at": show_time(self.completed_at),
            "temporal_workflow_id": self.temporal_workflow_id,
        }

    def to_json(self) -> str:
        """Return `to_dict()` as compact JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, of this release or another.

        Unknown keys are ignored and unknown values become defaults, because snapshots outlive a release in spools,
        headers and heartbeats.
        """
        return cls(**cls._read(data))

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        started_at = parse_time(data.get("started_at"))
        return {
            "execution_id": read_text(data.get("execution_id")) or "",
            "epoch": read_int(data.get("epoch")),
            "revision": read_int(data.get("revision")),
            "phase": read_enum(
                ExecutionPhase,
                data.get("phase"),
                ExecutionPhase.IN_PROGRESS if started_at else ExecutionPhase.PENDING,
            ),
            "tasks": read_items(Task.from_dict, data.get("tasks")),
            "output": read_object(data.get("output")),
            "error": read_text(data.get("error")),
            "started_at": started_at,
            "completed_at": parse_time(data.get("completed_at")),
            "temporal_workflow_id": read_text(data.get("temporal_workflow_id")),
        }


@attrs.frozen
class Receipt:
    """What a builder's `close` says about one sink."""

    sink: Any
    """The sink, as it was given to the builder."""
    outcome: Outcome
    revision: int
    """The newest revision that the outcome speaks of; 0 when the builder never changed."""
    reason: str = ""
    """Why it is not delivered, in words; empty when there is nothing to say."""
    execution_id: str = ""
    """The execution that it is about."""


@runtime_checkable
class Sink(Protocol):
    """A destination of snapshots: anything with `send`, or just a callable that takes a snapshot.

    A sink that has something to wait for may have `flush(timeout: float) -> bool`; one that has something to release
    may have `close(timeout: float)`. Both get seconds. One that wants to know of a builder when it is made may have
    `opened(source, *, inline: bool)`, `inline` where it is called with each revision; and one that has something to be
    current inside a task's block, such as a span, `scope(execution_id, task_id)`, which returns a context manager.
    """

    def send(self, snapshot: Snapshot, /) -> object:
        """Take a snapshot; called with every revision, in order, never from two threads at once."""
