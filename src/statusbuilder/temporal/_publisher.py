"""The end of a run that faces the sinks: what is shown is set at the end of an activation, never in its midst."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..core.model.frozen import JsonObject, freeze
from ..core.model.values import Outcome, Snapshot, Task, TaskStatus
from ..delivery import Deliverer, DeliveryLink


class Publisher:
    """Shows snapshots of one run to the sinks; what deliveries see as the source of the execution."""

    epoch_given = True
    outlives_process = True

    def __init__(self, sinks: Sequence[Deliverer], first: Snapshot) -> None:
        self._sinks = sinks
        self._lock = threading.Lock()
        self._base = first
        self._progress: Mapping[str, JsonObject] = {}
        self._shown: Snapshot | None = None
        self._links: list[DeliveryLink] = []
        self._closed = False

    @property
    def execution_id(self) -> str:
        """The backend's id of the execution."""
        return self._base.execution_id

    def show(self, snapshot: Snapshot) -> None:
        """Have the sinks show a snapshot; one that is shown already costs nothing."""
        with self._lock:
            if self._closed or (self._shown is not None and snapshot is self._base):
                return
            urgent = self._shown is None or snapshot.phase is not self._base.phase
            self._base = snapshot
            self._compose()
        for link in self._present_links():
            link.signal(urgent)

    def show_progress(self, progress: Mapping[str, Mapping[str, Any]]) -> None:
        """Show what activities said of themselves, beside the state of the workflow, which does not count it."""
        with self._lock:
            frozen = {task_id: freeze(dict(said)) for task_id, said in progress.items()}
            if self._closed or self._shown is None or frozen == self._progress:
                return
            self._progress = frozen
            self._compose()
        for link in self._present_links():
            link.signal_anew()

    def withdraw(self) -> None:
        """Take back what was not sent, because another worker, or the delivery of the final status, goes on."""
        for link in self._close():
            link.withdraw()

    def leave(self) -> None:
        """Let the sinks deliver what they have, and forget the run."""
        for link in self._close():
            link.detach(self.snapshot())

    # What deliveries ask

    def snapshot(self) -> Snapshot:
        """Return what is shown."""
        return self._base if self._shown is None else self._shown

    def take_over(self, epoch: int) -> None:
        """Keep the epoch, which is the workflow's."""

    def end(self, error: str) -> None:
        """Keep the phase: a workflow outlives the process."""

    # Behind it

    def _close(self) -> list[DeliveryLink]:
        with self._lock:
            self._closed = True
            links, self._links = self._links, []
        return links

    def _present_links(self) -> list[DeliveryLink]:
        """Return the links, new ones for those that the backend refused because a dead worker had shown more."""
        with self._lock:
            if self._closed:
                return []
            if not self._links:
                self._links = [sink.attach(self) for sink in self._sinks]
            self._links = [
                sink.attach(self) if link.outcome is Outcome.SUPERSEDED else link
                for sink, link in zip(self._sinks, self._links, strict=True)
            ]
            return list(self._links)

    def _compose(self) -> None:
        self._shown = self._base
        if self._progress and any(task.task_id in self._progress for task in self._base.current_tasks):
            tasks = tuple(self._with_progress(task) for task in self._base.tasks)
            self._shown = attrs.evolve(self._base, tasks=tasks)

    def _with_progress(self, task: Task) -> Task:
        said = self._progress.get(task.task_id)
        if not said or task.status is not TaskStatus.IN_PROGRESS:
            return task
        return attrs.evolve(task, metadata=JsonObject({**task.metadata, **said}))
