"""A block of work as one task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from ._intake import Intake
from ._publisher import Publisher
from .checks import REFUSALS, check_id, refuse_attribute, refuse_pickling
from .model.frozen import JsonObject
from .model.values import ExecutionPhase, TaskStatus, TaskType
from .record import Given, TaskRecord
from .state import CANCELLED, NOTHING, ExecutionState


class Owner(Protocol):
    """What a block needs of the builder that made it."""

    @property
    def _publisher(self) -> Publisher: ...
    @property
    def _intake(self) -> Intake: ...
    @property
    def _suspended(self) -> bool: ...

    def task(self, *arguments: Any, **options: Any) -> TaskBlock: ...
    def update_task_status(self, *arguments: Any, **options: Any) -> None: ...
    def _refuse(self, error: Exception, /) -> None: ...
    def _drop(self, what: str, /) -> None: ...
    def _last_phase(self, error: BaseException | None, /) -> ExecutionPhase | None: ...
    def _change_at_end(self, make: Callable[[int], int], what: str, /) -> None: ...


_CANCELLED = JsonObject(cancelled=True)


class TaskBlock:
    """The context manager, sync and async, that `StatusBuilder.task` returns, and its own handle inside the block."""

    __slots__ = ("_is_open", "_options", "_output", "_owner", "_refused", "_scope", "_task_name", "task_id")

    task_id: str
    """The task's id."""

    def __init__(self, owner: Owner, task_id: str, task_name: str | None, options: dict[str, Any]) -> None:
        self.task_id = task_id
        self._owner = owner
        self._task_name = task_name
        self._options = options
        self._output: object = None
        self._scope: AbstractContextManager[None] | None = None
        self._is_open = False
        self._refused = False

    @property
    def output(self) -> Any:
        """What the task gave: set it inside the block; anything, it becomes JSON. None is not recorded."""
        return self._output if self._has_output() else None

    @output.setter
    def output(self, output: object) -> None:
        if self._has_output():
            self._output = output

    def _has_output(self) -> bool:
        if not self._is_open:
            what = f"Task {self.task_id!r} has an output inside its `with` block only"
            self._owner._refuse(AttributeError(f"{what}; elsewhere update_task_status(…, output=…) gives it one."))
        return self._is_open

    def update(
        self,
        message: str | None = None,
        metadata: object = None,
        *,
        progress: object = None,
        waiting_for: str | None = None,
    ) -> None:
        """Show a message, or more, while the task runs.

        Args:
            message: What it does now.
            metadata: A mapping that is merged into what is there, key by key.
            progress: How far it is: a pair of done and total, or a fraction from 0.0 to 1.0.
            waiting_for: Why it stands still; an empty text takes that away.

        Raises:
            ExecutionEndedError: The execution has ended.
            TypeError: The progress is neither a pair nor a fraction.
        """
        if self._is_ignored("update"):
            return
        publisher = self._owner._publisher
        try:
            given = Given(metadata=self._owner._intake.metadata(metadata, message, progress, waiting_for))
            publisher.change_task(publisher.state.update, self.task_id, None, None, given, False, None)
        except REFUSALS as error:
            self._owner._refuse(error)

    def skip(self, reason: str | None = None) -> None:
        """Make the task SKIPPED; the block may still do what is left to do.

        Args:
            reason: Why, shown as `metadata["message"]`.
        """
        if not self._is_ignored("skip"):
            self._owner.update_task_status(self.task_id, TaskStatus.SKIPPED, reason)

    def fail(self, reason: str | BaseException | None = None) -> None:
        """Make the task FAILED; the block may still do what is left to do.

        Args:
            reason: Why, a text or an exception: the task's error.
        """
        if not self._is_ignored("fail"):
            self._owner.update_task_status(self.task_id, TaskStatus.FAILED, reason)

    def task(
        self,
        task_id: str,
        task_name: str | None = None,
        *,
        task_type: TaskType | str | None = None,
        input: object = None,
        metadata: object = None,
        again: bool = False,
        at: datetime | None = None,
    ) -> TaskBlock:
        """Return a block for a part of this task; the arguments are those of `StatusBuilder.task`."""
        options = {"task_type": task_type, "input": input, "metadata": metadata, "again": again, "at": at}
        return self._owner.task(task_id, task_name, parent_id=None if self._refused else self.task_id, **options)

    def _is_ignored(self, call: str) -> bool:
        """Whether the task is not this block's, because a wrong start was ignored; then its calls are ignored too."""
        if self._refused:
            self._owner._drop(f"{call}() of task {self.task_id!r} was ignored, as its start was")
        return self._refused

    def __enter__(self) -> Self:
        self._refused = not self._start(**self._options)
        self._is_open, self._output = True, None
        outlets = None if self._refused else self._owner._publisher.outlets()
        scope = None if outlets is None else outlets.scope(self.task_id)
        if scope is not None:
            scope.__enter__()
            self._scope = scope
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._is_open = False
        scope, self._scope = self._scope, None
        try:
            if scope is not None:
                scope.__exit__(kind, error, trace)
        finally:
            if not self._refused:
                self._end(error)
        return False

    def _start(
        self, task_type: Any, input: object, metadata: object, parent_id: str | None, again: bool, at: datetime | None
    ) -> bool:
        """Start the task; False when that was refused and ignored."""
        publisher, intake = self._owner._publisher, self._owner._intake
        try:
            task_id = check_id("task_id", self.task_id, publisher.state.execution_id)
            name = intake.name(self._task_name)
            given = intake.task(task_id, task_type, input, metadata, parent_id)
            publisher.change_task(publisher.state.start, task_id, name, TaskStatus.IN_PROGRESS, given, again, at)
        except REFUSALS as error:
            self._owner._refuse(error)
            return False
        return True

    def _end(self, error: BaseException | None) -> None:
        """End the task as its block was left; an execution that has ended stays as it is, and that is counted."""
        owner, state = self._owner, self._owner._publisher.state
        given = Given(output=owner._intake.payload(self._output))
        phase: ExecutionPhase | None = ExecutionPhase.COMPLETED
        reason = ""
        if error is not None:
            phase = None if owner._suspended else owner._last_phase(error)
            reason = owner._intake.tell(error)
        late: list[bool] = []

        def end(now: int) -> int:
            record = state.tasks.get(self.task_id)
            if state.over or record is None:
                late.append(True)
                return NOTHING
            return _end_record(now, state, record, phase, reason, given)

        owner._change_at_end(end, f"task {self.task_id!r} of execution {state.execution_id!r}")
        if late:
            owner._drop(f"the end of task {self.task_id!r} came after the end of the execution")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        return self.__exit__(kind, error, trace)

    def __setattr__(self, name: str, value: object) -> None:
        try:
            object.__setattr__(self, name, value)
        except AttributeError:
            if name == "output":
                raise
            self._owner._refuse(refuse_attribute(self, name))

    def __reduce_ex__(self, protocol: object) -> Any:
        raise refuse_pickling(self, "send the task's id, and call update_task_status() where the builder is.")


def _end_record(
    now: int, state: ExecutionState, record: TaskRecord, phase: ExecutionPhase | None, reason: str, given: Given
) -> int:
    """End a task as its execution would end; one that the body has ended takes the output only."""
    if phase is None:
        state.leave(record.task_id, reason)
        return NOTHING
    status: TaskStatus | None = None
    if record.status is TaskStatus.IN_PROGRESS:
        status = TaskStatus.COMPLETED if phase is ExecutionPhase.COMPLETED else TaskStatus.FAILED
    if status is TaskStatus.FAILED:
        is_cancelled = phase is ExecutionPhase.CANCELLED
        given.error, given.metadata = (CANCELLED, _CANCELLED) if is_cancelled else (reason, None)
    return state.update(now, record.task_id, None, status, given, False)
