"""How executions and tasks begin and end: what the blocks do that they are used in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

from ._published import Published
from .checks import REFUSALS, check_enum, check_id
from .model.frozen import JsonObject
from .model.values import ExecutionPhase, TaskStatus, TaskType
from .record import TaskRecord
from .state import NOTHING, PHASE_CHANGED

_CANCELLED = JsonObject(cancelled=True)


class Lifecycle(Published):
    """What the builders' blocks do: `with builder`, and `with builder.task(…)`."""

    _ends: Callable[[BaseException], ExecutionPhase | None] | None = None
    """The user's answer to what an exception means that leaves a block, see `StatusBuilder`."""
    _suspended = False
    """Whether leaving the block ends nothing."""

    def suspend(self) -> None:
        """Let the block be left without ending the execution, because it goes on elsewhere."""
        self._suspended = True

    # The block of the execution

    def __enter__(self) -> Self:
        try:
            self._change(self._state.open)
        except REFUSALS as error:
            self._refuse(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._leave(error)
        try:
            self.close()
        except Exception as wrong:
            self._warn("Closing the builder of execution %r failed: %r", self.execution_id, wrong)
        return False

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._leave(error)
        try:
            await self.aclose()
        except Exception as wrong:
            self._warn("Closing the builder of execution %r failed: %r", self.execution_id, wrong)
        return False

    def _leave(self, error: BaseException | None) -> None:
        """End the execution as its block was left; nothing of ours is raised into the runner's work."""
        try:
            self._finish(error)
        except Exception as wrong:
            self._warn("Leaving the block of execution %r failed: %r", self.execution_id, wrong)

    def _finish(self, error: BaseException | None) -> None:
        phase = self._last_phase(error)
        if phase is None or self._suspended:
            return
        reason = self._policy.error(error) if error is not None and phase is ExecutionPhase.FAILED else None
        now = self._now()
        with self._lock:
            if self._state.phase.is_terminal:
                return
            forgotten = self._state.finish(now, phase, reason)
            self._put(PHASE_CHANGED)
        self._publish(PHASE_CHANGED)
        if forgotten:
            self._warn(
                "Execution %r completed with %d tasks still running, which are FAILED now: %s",
                self.execution_id,
                len(forgotten),
                ", ".join(forgotten[:10]),
            )

    def _last_phase(self, error: BaseException | None) -> ExecutionPhase | None:
        """Return how an execution ends whose block was left so; None where it goes on elsewhere."""
        if error is None:
            return ExecutionPhase.COMPLETED
        if self._ends is not None:
            try:
                answer = self._ends(error)
                phase = None if answer is None else ExecutionPhase(answer)
                return phase if phase is not None and phase.is_terminal else None
            except Exception as wrong:
                self._warn("ends= failed for execution %r: %r", self.execution_id, wrong)
        return ExecutionPhase.CANCELLED if is_cancellation(error) else ExecutionPhase.FAILED

    # The blocks of tasks

    def _start_task(
        self, task_id: str, task_name: str | None, task_type: TaskType | None, input: object, metadata: object
    ) -> bool:
        """Start a task; False when that was refused and ignored."""
        try:
            task_id = check_id("task_id", task_id, self.execution_id)
            if task_type is not None:
                check_enum("task_type", task_type, TaskType, self.execution_id, task_id)
            policy = self._policy
            name = None if task_name is None else policy.text(task_name)
            given = None if input is None else policy.payload(input)
            more = None if metadata is None else policy.payload(metadata)
            self._change(lambda now: self._state.start(now, task_id, name, task_type, given, more))
        except REFUSALS as error:
            self._refuse(error)
            return False
        return True

    def _update_running(self, task_id: str, message: str | None, metadata: object) -> None:
        """Add to the metadata of a task, whatever its status is by now."""
        state = self._state

        def change(now: int) -> int:
            record = state.tasks.get(task_id)
            status = TaskStatus.IN_PROGRESS if record is None else record.status
            return state.update(now, task_id, status, None, None, more)

        try:
            more = self._with_message(message, metadata)
            self._change(change)
        except REFUSALS as error:
            self._refuse(error)

    def _with_message(self, message: str | None, metadata: object) -> JsonObject | None:
        """Return metadata with a message in it."""
        more = None if metadata is None else self._policy.payload(metadata)
        return more if message is None else self._policy.message(message, more)

    def _end_task(self, task_id: str, error: BaseException | None, output: object) -> None:
        """End a task as its block was left; an execution that has ended stays as it is, and that is counted."""
        payload = None if output is None else self._policy.payload(output)
        failure = None if error is None else self._policy.error(error)
        suspends = error is not None and (self._suspended or self._last_phase(error) is None)
        now = self._now()
        with self._lock:
            record = None if self._state.phase.is_terminal else self._state.tasks.get(task_id)
            change = NOTHING
            if record is not None and suspends:
                self._state.leave(task_id, failure or "")
            elif record is not None:
                change = self._end_record(now, record, error, failure, payload)
            self._put(change)
        if record is None:
            self._drop(f"the end of task {task_id!r} came after the end of the execution")
        self._publish(change)

    def _end_record(
        self,
        now: int,
        record: TaskRecord,
        error: BaseException | None,
        failure: str | None,
        output: JsonObject | None,
    ) -> int:
        state, task_id = self._state, record.task_id
        if record.status is not TaskStatus.IN_PROGRESS:  # the body has ended it
            return state.update(now, task_id, record.status, None, output, None)
        if error is None:
            return state.update(now, task_id, TaskStatus.COMPLETED, None, output, None)
        if is_cancellation(error):
            return state.update(now, task_id, TaskStatus.FAILED, "cancelled", output, _CANCELLED)
        return state.update(now, task_id, TaskStatus.FAILED, failure, output, None)


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception means that somebody ended the work, not that it went wrong."""
    # An asyncio error can only come from an asyncio that was imported, which takes too long to do here unasked.
    asyncio: Any = sys.modules.get("asyncio.exceptions")
    return isinstance(error, KeyboardInterrupt) or (asyncio is not None and isinstance(error, asyncio.CancelledError))
