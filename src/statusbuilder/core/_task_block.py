"""A block of work as one task."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from .model.values import TaskStatus, TaskType

if TYPE_CHECKING:
    from .builder import StatusBuilder


class TaskBlock:
    """The context manager, sync and async, that `StatusBuilder.task` returns, and its own handle inside the block."""

    def __init__(
        self,
        builder: StatusBuilder,
        task_id: str,
        task_name: str | None,
        task_type: TaskType | None,
        input: object,
        metadata: object,
    ) -> None:
        self.task_id = task_id
        """The task's id."""
        self.output: object = None
        """What the task gave: set it inside the block; anything, it becomes JSON. None is not recorded."""
        self._builder = builder
        self._start = (task_name, task_type, input, metadata)
        self._refused = False

    def update(self, message: str | None = None, metadata: object = None) -> None:
        """Show a message, or more metadata, while the task runs.

        Raises:
            ExecutionEndedError: The execution has ended.
        """
        if not self._is_ignored("update"):
            self._builder._update_running(self.task_id, message, metadata)

    def skip(self, reason: str | None = None) -> None:
        """Make the task SKIPPED; the block may still do what is left to do.

        Args:
            reason: Why, shown as `metadata["message"]`.
        """
        if not self._is_ignored("skip"):
            self._builder.update_task_status(self.task_id, TaskStatus.SKIPPED, reason)

    def _is_ignored(self, call: str) -> bool:
        """Whether the task is not this block's, because a wrong start was ignored; then its calls are ignored too."""
        if self._refused:
            self._builder._drop(f"{call}() of task {self.task_id!r} was ignored, as its start was")
        return self._refused

    def __enter__(self) -> Self:
        self._refused = not self._builder._start_task(self.task_id, *self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        try:
            if not self._refused:
                self._builder._end_task(self.task_id, error, self.output)
        except Exception as wrong:  # a clock that raises
            where = self._builder.execution_id
            self._builder._warn("Leaving the block of task %r of execution %r failed: %r", self.task_id, where, wrong)
        return False

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        return self.__exit__(kind, error, trace)
