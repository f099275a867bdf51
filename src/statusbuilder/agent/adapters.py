"""What the adapters of frameworks share: streams that are watched, and tasks that are left open, wait, or fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from ..core.model.values import TaskStatus
from .builder import AgentStatusBuilder

APPROVAL, CLIENT = "an approval", "the client"
"""What tasks wait for."""
CUT = "the run ended before this call finished"
"""The error of a task that will not be heard of any more."""
OPEN = (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)


def beside(status: AgentStatusBuilder, wanted: str) -> list[str]:
    """Return an id and those beside it, the newest last, of which that one is free."""
    ids = [wanted]
    while status.task_status(ids[-1]) is not None:
        ids.append(f"{wanted}#{len(ids) + 1}")
    return ids


def newest(status: AgentStatusBuilder, wanted: str) -> str:
    """Return the newest of an id and those beside it."""
    return (beside(status, wanted)[:-1] or [wanted])[-1]


def wait(status: AgentStatusBuilder, task_id: str, what: str) -> None:
    """Say what an open task waits for; nothing any more where that is empty."""
    now = status.task_status(task_id)
    if now is not None and now in OPEN:
        status.update_task_status(task_id, now, metadata={"waiting_for": what})
        if what:  # an inherited one, too
            status._publisher.locked(lambda: status._agent.adapted.add(task_id))


def fail(status: AgentStatusBuilder, task_id: str, error: Any) -> None:
    """End a task by an error; None is a cancellation."""
    if error is None:
        status.update_task_status(task_id, TaskStatus.FAILED, "cancelled", metadata={"cancelled": True})
    else:
        status.update_task_status(task_id, TaskStatus.FAILED, error=error)


class Watched:
    """An async iterator of events, each of which is seen before it is passed on.

    Where it ends (StopAsyncIteration), raises, is closed or is dropped half-way, as by a `break`, that is told at once.
    """

    def __init__(
        self, events: AsyncIterator[Any], see: Callable[[Any], None], stop: Callable[[BaseException], None]
    ) -> None:
        self._events = events
        self._see = see
        self._stop: Callable[[BaseException], None] | None = stop

    def __aiter__(self) -> Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            event = await anext(self._events)
        except StopAsyncIteration as end:  # perhaps in the middle of a run
            self._end(end)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._see(event)
        return event

    async def aclose(self) -> None:
        """End the stream."""
        self._end(GeneratorExit())
        close = getattr(self._events, "aclose", None)
        if close is not None:
            await close()

    def _end(self, error: BaseException) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop(error)

    def __del__(self) -> None:
        if getattr(self, "_stop", None) is not None:
            self._end(GeneratorExit())
