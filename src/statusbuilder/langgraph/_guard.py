"""The way to the builder, which keeps whatever goes wrong away from the agent's run."""

from __future__ import annotations

import weakref
from typing import Any

from ..agent.builder import AgentSnapshot, AgentStatusBuilder
from ..core.model.values import ExecutionPhase, TaskStatus


class Guard:
    """Calls a builder. One that is gone, has ended or refuses costs the run nothing; what is dropped is counted."""

    def __init__(self, status: AgentStatusBuilder) -> None:
        self._ref = weakref.ref(status)
        self._suspended = False

    def call(self, name: str, *args: Any, **options: Any) -> None:
        """Make a call of the builder, by name."""
        status = self._ref()
        if status is None:
            return
        try:
            getattr(status, name)(*args, **options)
        except Exception as error:
            self.drop(error)

    def append(self, text: str, sub_agent_id: str | None) -> None:
        """Add streamed text."""
        status = self._ref()
        if status is None:
            return
        try:
            status.append_text(text, sub_agent_id=sub_agent_id)
        except Exception as error:
            self.drop(error)

    def drop(self, error: Exception) -> None:
        """Count what was ignored; the first is logged."""
        status = self._ref()
        if status is not None:
            status._drop(f"an event of LangGraph was ignored ({error!r})")

    def task_status(self, task_id: str) -> TaskStatus | None:
        """Return a task's status; None when the execution has no such task."""
        status = self._ref()
        return None if status is None else status.task_status(task_id)

    def snapshot(self) -> AgentSnapshot | None:
        """Return the present state; None when the builder is gone."""
        status = self._ref()
        return None if status is None else status.snapshot()

    def begin(self) -> None:
        """Move a pending execution to IN_PROGRESS."""
        snapshot = self.snapshot()
        if snapshot is not None and snapshot.phase is ExecutionPhase.PENDING:
            self.call("update_status", ExecutionPhase.IN_PROGRESS)

    def suspend(self) -> None:
        """Let the block be left without ending the execution, until the run goes on."""
        self._suspended = True
        self.call("suspend")

    def go_on(self) -> None:
        """Take back what `suspend` did here; a suspension of the user's own stays."""
        status = self._ref()
        if self._suspended and status is not None:
            self._suspended = status._suspended = False
