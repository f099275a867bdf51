"""The way to the builder: what is wrong in reporting costs the run nothing, and is counted."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from ..agent import adapters
from ..agent.builder import AgentStatusBuilder
from ..core.model.values import TaskStatus
from ._read import error_of, is_cancel
from ._runs import Root


class Status:
    """A builder that is not kept alive, and what several parts of the reducer do with it."""

    def __init__(self, status: AgentStatusBuilder) -> None:
        self._ref = weakref.ref(status)
        self._lock = threading.RLock()
        self.live: set[str] = set()
        """The tasks that a run works on now."""

    def report(self, run_id: Hashable, do: Callable[..., None], *given: Any) -> None:
        """Do what is to be done with one event, unless the builder is gone. Nothing is raised."""
        status = self._ref()
        if status is None:
            return
        with self._lock, status.adapting(run_id):
            try:
                do(*given)
            except Exception as error:
                status.ignored(f"an event of LangGraph was ignored ({error!r})")

    @property
    def builder(self) -> AgentStatusBuilder:
        """The builder, while something is reported."""
        status = self._ref()
        assert status is not None
        return status

    def task_id(self, wanted: str) -> str:
        """Return the id, or where the execution has it already, one beside it."""
        return adapters.beside(self.builder, wanted)[-1]

    def left(self, wanted: str, ended: bool = False) -> str | None:
        """Return the newest task with this id, or one beside it, that is open or `ended`, and no run works on."""
        ids = (one for one in reversed(adapters.beside(self.builder, wanted)[:-1]) if one not in self.live)
        return next((one for one in ids if ended or self.builder.task_status(one) in adapters.OPEN), None)

    def take(self, root: Root, task_id: str) -> None:
        """Note that a root run works on a task."""
        root.open[task_id] = None
        self.live.add(task_id)

    def release(self, root: Root, task_id: str) -> None:
        """Note that a root run works on a task no longer."""
        root.open.pop(task_id, None)
        self.live.discard(task_id)

    def wait(self, task_id: str, what: str) -> None:
        """Say what an open task waits for."""
        adapters.wait(self.builder, task_id, what)

    def go_on(self, task_id: str) -> None:
        """Go on with a task that was left open, or begin the next attempt of one that has ended."""
        status, builder = self.builder.task_status(task_id), self.builder
        if status is TaskStatus.IN_PROGRESS:
            adapters.wait(builder, task_id, "")
        else:
            builder.add_task(task_id, builder.snapshot().task(task_id).task_name, TaskStatus.IN_PROGRESS, again=True)

    def fail(self, task_id: str, error: Any) -> None:
        """End a task by an error."""
        adapters.fail(self.builder, task_id, None if is_cancel(error) else error_of(error))

    def cut(self, task_id: str, error: Any) -> None:
        """End a task that will not be heard of any more."""
        now = self.builder.task_status(task_id)
        if now is TaskStatus.PENDING:
            self.builder.update_task_status(task_id, TaskStatus.SKIPPED)
        elif now is TaskStatus.IN_PROGRESS:
            self.fail(task_id, error if is_cancel(error) else adapters.CUT)
