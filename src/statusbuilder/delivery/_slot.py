"""What a delivery knows of one execution, and the end of it that the builder holds."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import attrs

from ..core.link import Source
from ..core.model.values import Outcome, Receipt, Snapshot
from ._transport import Request

if TYPE_CHECKING:
    from ._spool_page import Page
    from ._worker import Worker

UNATTACHED, RECOVERED = 0, -1
"""Numbers of links that no builder has: for snapshots given to `Deliverer.send`, and for rows of the spool."""


class DeliveryLink:
    """The end that a builder holds.

    Its calls may come from any thread, and even from a finalizer or a signal handler, so they only set flags and put
    something into the worker's inbox, which is made for that. All else is the worker's alone.
    """

    __slots__ = (
        "_worker",
        "anew",
        "confirmed",
        "conflict",
        "delivered",
        "epoch",
        "execution_id",
        "final",
        "fixed_epoch",
        "held",
        "number",
        "outcome",
        "page",
        "queued",
        "reason",
        "refused",
        "sink",
        "source",
        "spooled",
        "stored",
        "told",
        "took_over",
        "urgent",
        "used",
        "waiters",
        "withdrawn",
    )

    def __init__(self, worker: Worker, sink: object, execution_id: str, source: Source | None, number: int) -> None:
        self._worker = worker
        self.sink = sink
        self.execution_id = execution_id
        self.source: Callable[[], Source | None] = _gone if source is None else weakref.ref(source)
        self.fixed_epoch = source is None or source.epoch_given
        self.number = number
        """The link with the largest number is in charge of an execution; builders count from 1."""
        self.used = False
        """Whether there ever was a change."""
        self.queued = False
        """Whether the worker knows that there is something new."""
        self.urgent = False
        """Whether the worker knows that the phase changed."""
        self.final: Snapshot | None = None
        """The last snapshot, once the builder is closed."""
        self.epoch: int | None = None
        """The epoch that the worker chose for a builder that is gone."""
        self.took_over = False
        self.delivered = -1
        """The newest revision that the backend took."""
        self.refused = -1
        """The newest revision that the backend refused, for good or until the next one."""
        self.confirmed = -1
        self.spooled = -1
        """The newest revision that is on disk, or was when it was delivered."""
        self.page: Page | None = None
        """What the spool's keeper knows of it."""
        self.stored: Request | None = None
        """The request of a terminal snapshot, where the spool needed it first."""
        self.conflict = False
        self.outcome: Outcome | None = None
        """SUPERSEDED or LOST, once nothing more is tried for what is there."""
        self.reason = ""
        self.told: Receipt | None = None
        """The last receipt that `on_receipt` got."""
        self.waiters: list[tuple[int, float, Future[bool]]] = []
        """Who waits for which revision, and until when."""
        self.anew = False
        """Whether the present revision is to be sent although it was sent before."""
        self.withdrawn = False
        self.held: tuple[int, int] | None = None
        """The epoch and revision with which the backend last refused an older one."""

    def signal(self, urgent: bool) -> None:
        """Say that the state changed; at most one message is under way, and one more for a change of phase."""
        if urgent:
            if self.urgent:
                return
            self.urgent = True
        elif self.queued:
            return
        self.queued = True
        self._worker.post(self._worker.changed, self)

    def flush(self, snapshot: Snapshot, deadline: float, is_patient: bool = True) -> Future[bool]:
        """Ask for the fate of a snapshot, by `deadline` in `time.monotonic` seconds."""
        future: Future[bool] = Future()
        if self.delivered >= snapshot.revision:
            future.set_result(True)
        elif not self._worker.post(self._worker.flush, self, snapshot.revision, deadline, future):
            future.set_result(False)
        return future

    def detach(self, snapshot: Snapshot) -> None:
        """Say that this is the last snapshot."""
        self._worker.post(self._worker.detached, self, snapshot)

    def signal_anew(self) -> None:
        """Have the present revision sent once more: something is shown with it that no revision counts."""
        self._worker.post(self._worker.changed_anew, self)

    def withdraw(self) -> None:
        """Take back what was not sent yet, because somebody else goes on; what is under way may still arrive."""
        self._worker.post(self._worker.withdrawn, self)

    def receipt(self, snapshot: Snapshot) -> Receipt:
        """Say what became of a snapshot."""
        return self.receipt_for(snapshot.revision)

    def receipt_for(self, revision: int) -> Receipt:
        """Say what became of a revision."""
        outcome, reason = self._fate(revision)
        return Receipt(self.sink, outcome, revision, reason, self.execution_id)

    def _fate(self, revision: int) -> tuple[Outcome, str]:
        if self.delivered >= revision:
            if self.conflict:
                return Outcome.CONFLICT, self.reason
            return (Outcome.CONFIRMED if self.confirmed >= revision else Outcome.DELIVERED), ""
        if self.outcome is not None:
            return self.outcome, self.reason
        if self.spooled >= revision:
            return Outcome.SPOOLED, self.reason
        if self._worker.closed:
            return Outcome.LOST, self.reason or "the sink is closed"
        return Outcome.PENDING, self.reason or "not answered yet"

    # For the worker

    @property
    def is_recovered(self) -> bool:
        """Whether it delivers what a dead process left in the spool."""
        return self.number == RECOVERED

    def take(self) -> Snapshot | None:
        """Return the newest snapshot; None when the builder is gone and its last one is still under way."""
        self.queued = self.urgent = False
        if self.withdrawn:
            return None
        return self.newest()

    def newest(self) -> Snapshot | None:
        """Return the newest snapshot, without taking note that it was seen."""
        if self.final is None:
            source = self.source()
            return None if source is None else source.snapshot()
        if self.epoch is not None and self.final.epoch != self.epoch:
            self.final = attrs.evolve(self.final, epoch=self.epoch)
        return self.final

    def take_over(self, epoch: int) -> bool:
        """Go on under a larger epoch, once, unless the builder's was given."""
        if self.took_over or self.fixed_epoch:
            return False
        self.took_over = True
        source = self.source()
        if source is not None:
            source.take_over(epoch)
        self.epoch = epoch
        return True

    def wait_for(self, revision: int, deadline: float, future: Future[bool]) -> None:
        """Note who waits for a revision; those who did so in vain are forgotten."""
        now = monotonic()
        self.waiters = [waiter for waiter in self.waiters if waiter[1] > now]
        self.waiters.append((revision, deadline, future))

    def settle_waiters(self, revision: float, done: bool, before: float = inf) -> None:
        """Tell those who wait for a revision up to this one, and no longer than `before`."""
        if self.waiters:
            waiting, self.waiters = self.waiters, []
            for waiter in waiting:
                wanted, deadline, future = waiter
                if wanted > revision or deadline > before:
                    self.waiters.append(waiter)
                elif not future.done():
                    future.set_result(done)


def _gone() -> None:
    return None


class Attempt:
    """One attempt to send one snapshot."""

    __slots__ = ("link", "max_bytes", "request", "slot", "started")

    def __init__(self, slot: Slot, request: Request, started: float, max_bytes: int | None) -> None:
        self.slot = slot
        self.link = slot.link
        self.request = request
        self.started = started
        self.max_bytes = max_bytes
        """The limit that was in force."""


class Slot:
    """One execution; only the worker touches it."""

    __slots__ = (
        "asked",
        "attempt",
        "compared",
        "differing",
        "doubt_at",
        "execution_id",
        "failures",
        "hurries",
        "is_terminal",
        "link",
        "memo",
        "not_before",
        "patience_until",
        "rank",
        "retry_at",
        "sent",
        "timer",
        "tried",
        "wanted",
    )

    def __init__(self, link: DeliveryLink, memo: Any) -> None:
        self.execution_id = link.execution_id
        self.link = link
        self.memo = memo
        self.attempt: Attempt | None = None
        self.wanted = False
        """Whether something newer than what was last sent is there, or that has to be sent again."""
        self.sent = 0
        """The newest revision that an attempt was made for."""
        self.not_before = 0.0
        """When the pace allows the next send."""
        self.retry_at = 0.0
        """When the backoff allows the next attempt."""
        self.asked = 0.0
        """When the backend asked to come again; not even a change of phase comes earlier."""
        self.failures = 0
        """Answered errors in a row."""
        self.tried = False
        """Whether the last attempt failed, so that the next one is a retry."""
        self.compared = False
        """Whether a row of the spool was compared with what the backend holds, so that it may be sent again."""
        self.is_terminal = False
        """Whether the snapshot that was last taken is terminal."""
        self.hurries = False
        """Whether a change of phase was sent and is not acknowledged yet; then the next attempt waits for no pace."""
        self.patience_until: float | None = None
        """When a terminal snapshot that keeps being refused counts as lost."""
        self.doubt_at: float | None = None
        """When an attempt last ended without an answer, although it may still be applied."""
        self.differing = 0
        """Answers in a row that showed something else than was sent."""
        self.rank: int | None = None
        self.timer: float | None = None

    def is_sending(self, link: DeliveryLink, revision: int) -> bool:
        """Whether an attempt to send that revision, or a newer one, is under way."""
        attempt = self.attempt
        return attempt is not None and attempt.link is link and attempt.request.revision >= revision
