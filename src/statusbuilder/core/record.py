"""A task while it changes."""

from __future__ import annotations

from math import inf

from ..payload.coerce import to_text
from ..payload.policy import fit_metadata
from .model.frozen import EMPTY, JsonObject, same
from .model.times import from_nanos, to_nanos
from .model.values import Task, TaskStatus, TaskType

_PENDING, _IN_PROGRESS, _FAILED, _SKIPPED = (
    TaskStatus.PENDING,
    TaskStatus.IN_PROGRESS,
    TaskStatus.FAILED,
    TaskStatus.SKIPPED,
)


class TaskRecord:
    """A task that can be changed in place; times are nanoseconds since 1970.

    A change costs a tenth of making a new `Task`, which is only made when somebody asks for a snapshot.
    """

    # Defaults of the class instead of assignments in __init__: they halve the time that adding a task takes.
    stale = True
    """Whether the `Task` of it is of an earlier revision, or not made yet."""
    index: int | None = None
    """The place among the tasks of a snapshot; None until the first one."""
    task_type = TaskType.CUSTOM
    status = _PENDING
    input: JsonObject | None = None
    output: JsonObject | None = None
    error: str | None = None
    metadata = EMPTY
    most_bytes: float = inf
    """What the metadata takes at most, as JSON; infinite until it is first measured."""
    started: int | None = None
    completed: int | None = None

    def __init__(self, task_id: str, name: str, status: TaskStatus, now: int | None, revision: int) -> None:
        self.task_id = task_id
        self.task_name = name
        self.revision = revision
        if status is not _PENDING:
            self.status = status
            self.started = now
            if status is not _IN_PROGRESS:
                self.completed = now

    @classmethod
    def thaw(cls, task: Task) -> TaskRecord:
        """Make a record of a task that was taken over."""
        record = cls(task.task_id, task.task_name, task.status, None, task.revision)
        record.task_type = task.task_type
        record.input, record.output, record.error = task.input, task.output, task.error
        record.metadata = task.metadata
        record.started = None if task.started_at is None else to_nanos(task.started_at)
        record.completed = None if task.completed_at is None else to_nanos(task.completed_at)
        record.stale = False
        return record

    def freeze(self) -> Task:
        """Make the immutable value of the present state."""
        return Task(
            self.task_id,
            self.task_name,
            self.task_type,
            self.status,
            self.input,
            self.output,
            self.error,
            self.metadata,
            None if self.started is None else from_nanos(self.started),
            None if self.completed is None else from_nanos(self.completed),
            self.revision,
        )

    def fill(
        self,
        name: str | None,
        task_type: TaskType | None,
        input: JsonObject | None,
        metadata: JsonObject | None,
        max_bytes: int,
    ) -> None:
        """Take over what was given."""
        if name is not None:
            self.task_name = name
        if task_type is not None:
            self.task_type = task_type
        if input is not None:
            self.input = input
        if metadata:
            self.merge(metadata, max_bytes)

    def merge(self, metadata: JsonObject, max_bytes: int) -> None:
        """Add metadata, key by key; what gets too large is cut."""
        if not self.metadata:
            self.metadata = metadata
            return
        self.metadata = JsonObject({**self.metadata, **metadata})
        self.most_bytes += len(to_text(metadata).encode())
        if self.most_bytes > max_bytes:
            self.metadata, self.most_bytes = fit_metadata(self.metadata, max_bytes)

    def differs(self, error: str | None, output: JsonObject | None, metadata: JsonObject | None) -> bool:
        """Whether any of what was given is not there yet."""
        if error is not None and error != self.error:
            return True
        if output is not None and not same(output, self.output):
            return True
        there = self.metadata
        return any(key not in there or not same(item, there[key]) for key, item in (metadata or EMPTY).items())

    def move(self, status: TaskStatus, now: int) -> None:
        """Enter another status, and set the times that go with it."""
        if status is _IN_PROGRESS:
            if self.status is _FAILED:
                self.count_retry()
            self.error = self.completed = None
        elif status is not _PENDING:
            self.completed = now
        if self.started is None and status is not _PENDING:
            self.started = now
        self.status = status

    def count_retry(self) -> None:
        """Count a retry, where the task had started before; what only a cancelled attempt has goes away."""
        never_ran = self.status is _SKIPPED and self.started == self.completed
        if self.started is None or never_ran:
            return
        count = self.metadata.get("retry_count")
        metadata = {key: value for key, value in self.metadata.items() if key != "cancelled"}
        metadata["retry_count"] = (int(count) if isinstance(count, (int, float)) else 0) + 1
        self.metadata = JsonObject(metadata)

    def reset(self) -> None:
        """Forget how the last attempt went, after it was counted."""
        self.count_retry()
        self.output = self.error = self.started = self.completed = None
        self.status = _PENDING
