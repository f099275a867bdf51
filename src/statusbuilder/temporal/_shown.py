"""The end of a run that faces the sinks: its state with what only the server knows laid over it, and how new it is."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final

import attrs

from ..core.model.frozen import JsonObject, freeze
from ..core.model.values import Outcome, Snapshot, Task, TaskStatus
from ..delivery import Deliverer, DeliveryLink
from ._fold import EVENT_REVISIONS
from ._payloads import value_of
from ._send import Source

STALE: Final = 10.0
"""Seconds after which what could not be delivered is sent only when nobody else has gone on."""
TRACER_HEADER: Final = "_tracer-data"
"""Where Temporal's tracing interceptors put the context that a workflow was started in."""
_OF_ENDED = frozenset({"retry_count", "attempts", "last_error", "worker"})
"""What stays known of an activity that has ended."""


class Shown(Source):
    """What deliveries see as the source of one run."""

    def __init__(self, sinks: Sequence[Deliverer], headers: Mapping[str, Any]) -> None:
        self._sinks = sinks
        self.carrier = _carrier_in(headers)
        """The trace context with which the workflow was started, where a tracing interceptor told it."""
        self._lock = threading.Lock()
        self._base: Snapshot | None = None
        self._composed: Snapshot | None = None
        self._known: dict[str, dict[str, Any]] = {}
        self._number = 0
        self._epoch: int | None = None
        self._links: list[DeliveryLink] = []
        self._since: float | None = None
        self._was_refused = False

    # For the host

    def show(self, snapshot: Snapshot, length: int) -> None:
        """Have the sinks show the state after an activation; one that is shown already costs nothing.

        Args:
            snapshot: As the workflow's code has it.
            length: Of the history at that activation.
        """
        with self._lock:
            before, self._base = self._base, snapshot
            if before is snapshot and self._links:
                return
            self._was_refused = False
            self._count(length)
        self._signal(before is None or before.phase is not snapshot.phase)

    def learn(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        """Show what was learnt of tasks, by their ids: metadata, of which `waiting_for` holds until the next time."""
        with self._lock:
            new = {task_id: {**_less(self._known.get(task_id, {})), **told} for task_id, told in known.items()}
            if all(self._known.get(task_id) == told for task_id, told in new.items()):
                return
            self._known.update(new)
            if self._base is None or not self._links:
                return
            self._count(0)
        self._signal(False)

    def final(self, snapshot: Snapshot, length: int) -> Snapshot:
        """Return the end of a run that is held, as it is to be sent."""
        with self._lock:
            self._base = snapshot
            self._count(length)
            composed = self._compose()
        for sink in self._sinks:
            self._opened(sink)
        return composed

    def renew_epoch(self, epoch: int) -> None:
        """Take note of when a run that was reset began."""
        self._epoch = epoch

    def hold(self) -> None:
        """Send nothing more, until it is shown again."""
        for link in self._let_go():
            link.withdraw()

    def leave(self) -> None:
        """Let the sinks deliver what they have, and forget the run."""
        for link in self._let_go():
            link.detach(self.snapshot())

    def go_on_after_refusal(self, length: int) -> None:
        """Have what a backend refused sent once more, above what it holds, if that is from no longer a history.

        Args:
            length: Of the history that this worker has seen.
        """
        refused = [link.held for link in self._links if link.outcome is Outcome.SUPERSEDED]
        held = max((held for held in refused if held is not None), default=None)
        if self._was_refused or held is None or held[0] != self.snapshot().epoch:
            return
        if held[1] // EVENT_REVISIONS <= length:
            with self._lock:
                self._was_refused = True
                self._number = max(self._number, held[1])
                self._count(0)
            self._signal(False)

    # What deliveries ask

    @property
    def is_stale(self) -> bool:
        """Whether it could not be delivered for so long that somebody else may have gone on meanwhile."""
        since, links = self._since, self._links
        if since is None or monotonic() - since < STALE:
            return False
        snapshot, waits = self.snapshot(), (Outcome.PENDING, Outcome.SPOOLED)
        return any(link.receipt(snapshot).outcome in waits for link in links)

    def snapshot(self) -> Snapshot:
        """Return what is shown."""
        with self._lock:
            return self._compose()

    # Behind it

    def _count(self, length: int) -> None:
        self._number = max(length * EVENT_REVISIONS, self._number + 1)
        self._composed = None
        if length:
            self._since = monotonic()

    def _let_go(self) -> list[DeliveryLink]:
        with self._lock:
            links, self._links = self._links, []
        return links

    def _signal(self, urgent: bool) -> None:
        """Tell the links, new ones for those that the backend refused because another worker had shown more."""
        with self._lock:
            links: list[DeliveryLink | None] = [
                None if link.outcome is Outcome.SUPERSEDED else link for link in self._links
            ] or [None] * len(self._sinks)
        present = [link or self._opened(sink).attach(self) for sink, link in zip(self._sinks, links, strict=True)]
        with self._lock:
            self._links = present
        for link in present:
            link.signal(urgent)

    def _opened(self, sink: Deliverer) -> Deliverer:
        opened = getattr(sink, "opened", None)
        if opened is not None:
            opened(self, inline=False)
        return sink

    def _compose(self) -> Snapshot:
        if self._composed is None:
            assert self._base is not None
            tasks = self._base.tasks
            if self._known:
                tasks = tuple(self._with_known(task) for task in tasks)
            epoch = self._base.epoch if self._epoch is None else self._epoch
            self._composed = attrs.evolve(self._base, epoch=epoch, revision=self._number, tasks=tasks)
        return self._composed

    def _with_known(self, task: Task) -> Task:
        known = self._known.get(task.task_id)
        if known is not None and task.status is not TaskStatus.IN_PROGRESS:
            known = {key: value for key, value in known.items() if key in _OF_ENDED}
        return attrs.evolve(task, metadata=JsonObject({**task.metadata, **freeze(known)})) if known else task


def _less(known: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in known.items() if key != "waiting_for"}


def _carrier_in(headers: Mapping[str, Any]) -> Mapping[str, str] | None:
    payload = headers.get(TRACER_HEADER)
    carrier = None if payload is None else value_of(payload)
    return carrier if isinstance(carrier, dict) else None
