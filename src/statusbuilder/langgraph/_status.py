"""The way to the builder: what is wrong in reporting costs the run nothing, and is counted."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..agent.builder import AgentStatusBuilder
from ..core.model.values import TaskStatus
from ._read import error_of, is_cancel

APPROVAL, CLIENT = "an approval", "the client"
"""What tasks wait for."""
CUT = "the run ended before this call finished"

_OPEN = (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)


class Status:
    """A builder that is not kept alive, and what several parts of the reducer do with it."""

    def __init__(self, status: AgentStatusBuilder) -> None:
        self._ref = weakref.ref(status)
        self._lock = threading.RLock()
        self.live: set[str] = set()
        """The tasks that a run works on now."""

    @contextmanager
    def adapting(self, run_id: str) -> Iterator[AgentStatusBuilder | None]:
        """Enter what is done with one event; None where the builder is gone. Nothing is raised out of it."""
        status = self._ref()
        if status is None:
            yield None
            return
        with self._lock, status.adapting(run_id):
            try:
                yield status
            except Exception as error:
                status.ignored(f"an event of LangGraph was ignored ({error!r})")

    @property
    def builder(self) -> AgentStatusBuilder:
        """The builder, within `adapting`."""
        status = self._ref()
        assert status is not None
        return status

    def task_id(self, wanted: str) -> str:
        """Return the id, or where the execution has it already, one beside it."""
        number, task_id = 1, wanted
        while self.builder.task_status(task_id) is not None:
            number += 1
            task_id = f"{wanted}#{number}"
        return task_id

    def is_left(self, task_id: str) -> bool:
        """Whether a task is open, and no run works on it."""
        return task_id not in self.live and self.builder.task_status(task_id) in _OPEN

    def wait(self, task_id: str, what: str) -> None:
        """Say what an open task waits for."""
        now = self.builder.task_status(task_id)
        if now in _OPEN:
            self.builder.update_task_status(task_id, now, metadata={"waiting_for": what})

    def go_on(self, task_id: str) -> None:
        """Go on with a task that was left open, or that failed."""
        status, builder = self.builder.task_status(task_id), self.builder
        waits = status is TaskStatus.IN_PROGRESS and builder.snapshot().task(task_id).metadata.get("waiting_for")
        builder.update_task_status(task_id, TaskStatus.IN_PROGRESS, metadata={"waiting_for": ""} if waits else None)

    def fail(self, task_id: str, error: Any) -> None:
        """End a task by an error."""
        update = self.builder.update_task_status
        if is_cancel(error):
            update(task_id, TaskStatus.FAILED, "cancelled", metadata={"cancelled": True})
        else:
            update(task_id, TaskStatus.FAILED, error=error_of(error))

    def cut(self, task_id: str, error: Any) -> None:
        """End a task that will not be heard of any more."""
        now = self.builder.task_status(task_id)
        if now is TaskStatus.PENDING:
            self.builder.update_task_status(task_id, TaskStatus.SKIPPED)
        elif now is TaskStatus.IN_PROGRESS:
            self.fail(task_id, error if is_cancel(error) else CUT)
