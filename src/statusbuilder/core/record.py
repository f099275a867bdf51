"""A task while it changes, with its attempts."""

from __future__ import annotations

from math import inf

import attrs

from ..payload.cut import to_text
from ..payload.policy import fit_metadata
from .model.frozen import EMPTY, JsonArray, JsonObject, same
from .model.metadata import OF_ONE_ATTEMPT, read_attempts, read_pair
from .model.reading import read_count
from .model.times import format_time, from_nanos, to_nanos
from .model.values import Task, TaskStatus, TaskType

_PENDING, _IN_PROGRESS, _FAILED = TaskStatus.PENDING, TaskStatus.IN_PROGRESS, TaskStatus.FAILED
_MOST_EARLIER = 10
_MOST_ERROR_BYTES = 256


@attrs.define
class Given:
    """What a call gives of a task beside its status; None is not given. Of metadata, an empty `waiting_for` goes."""

    name: str | None = None
    task_type: TaskType | None = None
    input: JsonObject | None = None
    output: JsonObject | None = None
    error: str | None = None
    metadata: JsonObject | None = None
    parent_id: str | None = None
    """A parent that has to be there; it stands in the metadata, too."""


class TaskRecord:
    """A task that can be changed in place; times are nanoseconds since 1970.

    A change costs a tenth of making a new `Task`, which is only made when somebody asks for a snapshot.
    """

    # Defaults of the class instead of assignments in __init__: they halve the time that adding a task takes.
    stale = True
    """Whether the `Task` of it is of an earlier revision, or not made yet."""
    index: int | None = None
    """The place among the tasks of a snapshot; None until the first one."""
    inherited = False
    """Whether it came with the initial snapshot and was not moved since."""
    left: str | None = None
    """The text of the exception that left its block when the execution was to go on elsewhere.

    If that exception is caught and the execution goes on here, the task has failed with it.
    """
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
        record.inherited = True
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

    # What a call gives

    def take(self, given: Given, max_bytes: int) -> None:
        """Take over what was given."""
        if given.name is not None:
            self.task_name = given.name
        if given.task_type is not None:
            self.task_type = given.task_type
        if given.input is not None:
            self.input = given.input
        if given.output is not None:
            self.output = given.output
        if given.error is not None:
            self.error = given.error
        if given.metadata:
            self._merge(given.metadata, max_bytes)

    def begin_with(self, given: Given) -> None:
        """Take over what a new task is given."""
        self.task_type = given.task_type or TaskType.CUSTOM
        self.input = given.input
        if given.metadata:
            self.metadata = given.metadata

    def differs(self, given: Given) -> bool:
        """Whether any of what was given is not there yet."""
        if given.error is not None and given.error != self.error:
            return True
        if given.name not in (None, self.task_name) or given.task_type not in (None, self.task_type):
            return True
        for new, old in ((given.output, self.output), (given.input, self.input)):
            if new is not None and not same(new, old):
                return True
        there = self.metadata
        for key, item in self._changeable(given.metadata or EMPTY).items():
            if (key in there and not same(item, there[key])) or (key not in there and not _is_taken_away(key, item)):
                return True
        return False

    def _changeable(self, metadata: JsonObject) -> JsonObject:
        """Leave the parent out, which is fixed once a task is added."""
        if "parent_id" not in metadata:
            return metadata
        return JsonObject((key, item) for key, item in metadata.items() if key != "parent_id")

    def _merge(self, metadata: JsonObject, max_bytes: int) -> None:
        """Add metadata, key by key; what gets too large is cut."""
        metadata = self._changeable(metadata)
        merged = {**self.metadata, **metadata}
        if _is_taken_away("waiting_for", merged.get("waiting_for")):
            merged.pop("waiting_for", None)
        self.metadata = JsonObject(merged)
        self.most_bytes += len(to_text(metadata).encode())
        if self.most_bytes > max_bytes:
            self.fit(max_bytes)

    def fit(self, max_bytes: int) -> None:
        """Cut metadata that grew too large: the oldest attempts go before anything else."""
        attempts = read_attempts(self.metadata)
        while (size := len(to_text(self.metadata).encode())) > max_bytes and attempts:
            attempts = JsonArray(attempts[1:])
            rest = {key: item for key, item in self.metadata.items() if key != "attempts"}
            self.metadata = JsonObject({**rest, "attempts": attempts} if attempts else rest)
        self.most_bytes = size
        if size > max_bytes:
            self.metadata, self.most_bytes = fit_metadata(self.metadata, max_bytes)

    # Where it goes

    def move(self, status: TaskStatus, now: int) -> None:
        """Enter another status of the present attempt, and set the times that go with it."""
        if self.metadata:
            self._forget_waiting()
        if self.status is _PENDING and status is not _PENDING:
            self._begin(now)
        if status is not _PENDING and status is not _IN_PROGRESS:
            started = self.started
            self.completed = now if started is None or now > started else started
        self.status = status
        if self.inherited or self.left is not None:
            self.stay()

    def stay(self) -> None:
        """Note that it is this builder's, and goes on here."""
        self.inherited, self.left = False, None

    def begin_attempt(self) -> None:
        """Put the attempt that has ended among the earlier ones, and be PENDING; what only that one had goes away."""
        metadata = {key: item for key, item in self.metadata.items() if key not in OF_ONE_ATTEMPT}
        known = read_attempts(self.metadata)
        retries = read_count(self.metadata.get("retry_count"))
        present = known[-1] if known else JsonObject(number=retries + 1)
        earlier = [*known[:-1], self._ended(present)]
        metadata["attempts"] = JsonArray([*earlier[-_MOST_EARLIER:], JsonObject(number=present["number"] + 1)])
        if self.status is _FAILED:
            metadata["retry_count"] = retries + 1
        self.metadata, self.most_bytes = JsonObject(metadata), inf
        self.output = self.error = self.completed = None
        self.status = _PENDING

    def _ended(self, present: JsonObject) -> JsonObject:
        """Return what is kept of the attempt that has ended."""
        error = self.error or ""
        facts = {
            "number": present["number"],
            "started_at": present.get("started_at") or (_time(self.started) if present["number"] == 1 else None),
            "completed_at": _time(self.completed),
            "status": self.status.name,
            "progress": read_pair(self.metadata),
            "error": error.encode()[:_MOST_ERROR_BYTES].decode(errors="ignore") or None,
        }
        return JsonObject((key, fact) for key, fact in facts.items() if fact is not None)

    def _begin(self, now: int) -> None:
        """Set the start of the task, and of its present attempt."""
        if self.started is None:
            self.started = now
        known = read_attempts(self.metadata)
        if known and "started_at" not in known[-1]:
            started = JsonObject({**known[-1], "started_at": _time(now)})
            self.metadata = JsonObject({**self.metadata, "attempts": JsonArray([*known[:-1], started])})

    def _forget_waiting(self) -> None:
        if "waiting_for" in self.metadata:
            self.metadata = JsonObject((key, item) for key, item in self.metadata.items() if key != "waiting_for")


def _is_taken_away(key: str, item: object) -> bool:
    return key == "waiting_for" and item == ""


def _time(nanos: int | None) -> str | None:
    return None if nanos is None else format_time(from_nanos(nanos))
