"""The thread that delivers: it takes snapshots when it may send them, and never more than one per execution at a time.

All state of a delivery belongs to this one thread; others only put calls into its inbox.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from math import inf
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..core.model.values import Outcome, Snapshot
from ._flights import Flights
from ._mailbox import Mailbox
from ._options import Counters, Options
from ._outcome import Outcomes
from ._queue import OTHER, PHASE, TERMINAL, ReadyQueue, Timers
from ._slot import Attempt, DeliveryLink, Slot
from ._spool_none import NoKeeper
from ._target import Target
from ._threads import BLOCKING, can_start_threads
from ._transport import Answer, Transport

if TYPE_CHECKING:
    from ._spool_keeper import Keeper

log = logging.getLogger("statusbuilder")


class Worker(Mailbox):
    """Delivers for all executions of one sink."""

    def __init__(self, transport: Transport, options: Options) -> None:
        super().__init__()
        self.transport = transport
        self.options = options
        self.counters = Counters()
        self.slots: dict[str, Slot] = {}
        self.random = Random()
        self.target = Target(options.retry, self.random, transport.max_bytes)
        self.ready = ReadyQueue()
        self.timers: Timers[Slot] = Timers()
        self.unsent: set[Slot] = set()
        """Slots that have something to send, or under way."""
        self.doubtful: set[Slot] = set()
        """Slots whose last state has to be sent once more, because an earlier attempt may still be applied."""
        self._outcomes = Outcomes(self)
        self._flights = Flights(options.max_in_flight, options.attempt_timeout if transport.ends_in_time else None)
        self._exiting = False
        self._deadline: float | None = None
        self._closers: list[Future[None]] = []
        self._idlers: list[tuple[float, Future[bool]]] = []
        self.keeper = _make_keeper(self)

    # The turn

    def _next_wake(self) -> float | None:
        times = [self.timers.next(), self.keeper.next_wake(), self._flights.next_wake(), self._deadline]
        if self.ready and self.target.down_since is not None:
            times.append(self.target.next_probe())
        return min((time for time in times if time is not None), default=None)

    def _turn(self) -> None:
        now = monotonic()
        for slot in self.timers.pop_due(now):
            self.schedule(slot, now)
        self.keeper.turn(now)
        while (attempt := self._flights.overdue(now)) is not None:
            reason = f"nothing came of an attempt for {now - attempt.started:.0f} s"
            self.ended(attempt, Answer("DEADLINE_EXCEEDED", reason, answered=False, in_doubt=True))
        while self.ready and self._flights.has_room:
            down = self.target.down_since is not None
            if down and not self.target.may_probe(now):
                break
            self._send(self.ready.pop(), now, probe=down)
        if self._idlers and not (self.unsent or self.keeper.has_rows):
            for _, future in self._idlers:
                future.set_result(True)
            self._idlers.clear()
        if self._deadline is not None:
            is_done = not (self.unsent or self.doubtful or self.keeper.is_busy)
            if is_done or now >= self._deadline:
                self._close()

    # What builders say

    def changed(self, link: DeliveryLink) -> None:
        """Take note that a builder has something new."""
        link.used = True
        slot = self._slot(link)
        if slot is None or link.outcome is Outcome.SUPERSEDED:
            link.queued = link.urgent = False
            return
        if link.urgent and slot.patience_until is None:
            slot.retry_at = slot.asked
        self.want(slot)
        self.schedule(slot, monotonic())

    def changed_anew(self, link: DeliveryLink) -> None:
        """Take note that a builder shows something more with the revision that it has."""
        link.anew = True
        self.changed(link)

    def withdrawn(self, link: DeliveryLink) -> None:
        """Forget what a link has to send; whoever waits for it learns that it will not be sent from here."""
        link.withdrawn = True
        link.outcome, link.reason = Outcome.SUPERSEDED, "withdrawn, because somebody else goes on"
        link.settle_waiters(inf, False)
        self.keeper.ended(link)
        slot = self.slots.get(link.execution_id)
        if slot is not None and slot.link is link:
            self.settled(slot)
            self.forget_if_done(slot)

    def flush(self, link: DeliveryLink, revision: int, deadline: float, future: Future[bool]) -> None:
        """Answer the future once a revision was delivered or given up, or cannot be by the deadline."""
        if link.delivered >= revision:
            future.set_result(True)
            return
        slot = self.slots.get(link.execution_id)
        waits = slot is not None and slot.patience_until is not None and slot.retry_at > deadline
        if link.outcome is not None or revision <= link.refused or waits:
            future.set_result(False)
        else:
            link.wait_for(revision, deadline, future)

    def detached(self, link: DeliveryLink, snapshot: Snapshot) -> None:
        """Take a builder's last snapshot."""
        if not link.used:  # nothing is sent for a builder that never changed
            link.delivered = snapshot.revision
            return
        link.final = snapshot
        slot = self._slot(link)
        if slot is None:
            return
        if snapshot.revision > link.delivered and link.outcome is None:
            if snapshot.revision <= link.refused and not slot.wanted and slot.attempt is None:
                self._outcomes.give_up(link, link.reason)
            elif not slot.is_sending(link, snapshot.revision):
                self.want(slot)
        self.keeper.detached(link)
        self.schedule(slot, monotonic())
        self.forget_if_done(slot)

    def offer(self, link: DeliveryLink, snapshot: Snapshot) -> None:
        """Take a snapshot that comes without a builder."""
        slot = self.slots.get(link.execution_id)
        if slot is not None and slot.link.number == link.number:
            link = slot.link
        link.used = True
        if link.final is None or (snapshot.epoch, snapshot.revision) > (link.final.epoch, link.final.revision):
            self.detached(link, snapshot)

    def _slot(self, link: DeliveryLink) -> Slot | None:
        """Return the slot of the link's execution; None when a later builder of it is in charge."""
        slot = self.slots.get(link.execution_id)
        if slot is None:
            slot = self.slots[link.execution_id] = Slot(link, self.transport.memo())
        elif slot.link is not link:
            if slot.link.number > link.number:
                self._outcomes.supersede(link, "a later builder of this execution took over")
                return None
            self._outcomes.supersede(slot.link, "a later builder of this execution took over")
            slot.link = link
            slot.retry_at = slot.asked
        return slot

    # Sending

    def want(self, slot: Slot) -> None:
        """Note that the slot has something to send."""
        slot.wanted = True
        self.unsent.add(slot)
        self.keeper.wanted(slot)

    def schedule(self, slot: Slot, now: float) -> None:
        """Queue a slot, or look at it later, as pace, backoff and doubt ask for."""
        if slot.attempt is not None:
            return
        link = slot.link
        if slot.wanted:
            due = slot.retry_at
            if not (link.urgent or slot.hurries or link.final is not None):
                due = max(due, slot.not_before)
        elif slot.doubt_at is not None:
            due = slot.doubt_at + self.options.settle_after
        else:
            return
        if due > now:
            self.timers.set(slot, due)
        else:
            self.ready.push(slot, self._rank(slot))

    def _rank(self, slot: Slot) -> int:
        link = slot.link
        if link.final is not None:
            return TERMINAL if link.final.is_terminal else OTHER
        if link.urgent:
            source = link.source()
            return TERMINAL if source is not None and source.snapshot().is_terminal else PHASE
        return TERMINAL if slot.is_terminal else PHASE if slot.hurries else OTHER

    def _send(self, slot: Slot, now: float, probe: bool) -> None:
        if self.keeper.compares(slot):
            return
        urgent, snapshot = slot.link.urgent, slot.link.take()
        # None: the builder is gone, and its last snapshot is in the inbox. Delivered: the signal came late.
        known = snapshot is not None and snapshot.revision <= slot.link.delivered and not slot.link.anew
        if snapshot is None or (known and slot.doubt_at is None):
            self.settled(slot)
            self.forget_if_done(slot)
            return
        limit = self.target.max_bytes
        try:
            request = slot.link.stored
            if request is None or not request.is_of(snapshot) or (limit is not None and request.size > limit):
                request = self.transport.prepare(slot.memo, snapshot, limit)
        except Exception as error:
            self._outcomes.unencodable(slot, snapshot, error)
            return
        if slot.sent and snapshot.revision > slot.sent:
            self.counters.superseded += snapshot.revision - slot.sent - 1
        self.counters.retried += slot.tried
        slot.sent, slot.hurries = snapshot.revision, slot.hurries or urgent
        slot.wanted = slot.link.anew = False
        slot.is_terminal = snapshot.is_terminal
        slot.not_before = now + max(self.options.min_interval, request.size / self.options.max_rate)
        attempt = slot.attempt = Attempt(slot, request, now, limit)
        if probe:
            self.target.probe = attempt
        self._flights.start(attempt)
        self.counters.bytes += request.size
        self.keeper.hold(attempt, partial(self._launch, attempt, probe))

    def _launch(self, attempt: Attempt, probe: bool) -> None:
        timeout = self.options.attempt_timeout
        if self._exiting and self._deadline is not None:
            timeout = min(timeout, max(0.0, self._deadline - monotonic()))
        if can_start_threads():
            self.transport.start(attempt.request, timeout, probe, partial(self._post_end, attempt))
            return
        # Everything waits for this one, so it may neither take all that is left of the exit nor keep a close waiting.
        if len(self.unsent) > 1:
            timeout /= 2
        timeout = timeout if self._exiting else min(timeout, BLOCKING)
        self.ended(attempt, self.transport.call(attempt.request, timeout))

    def _post_end(self, attempt: Attempt, answer: Answer) -> None:
        self.reply(self.ended, attempt, answer)

    def ended(self, attempt: Attempt, answer: Answer) -> None:
        """Take note of how an attempt ended, and see to what follows."""
        if not self._flights.end(attempt):
            return  # it was overdue, and taken for lost
        slot, now = attempt.slot, monotonic()
        slot.attempt = None
        if self.target.probe is attempt:
            self.target.probe = None
        self._outcomes.take(attempt, answer, now)
        self.schedule(slot, now)
        self.forget_if_done(slot)

    def settled(self, slot: Slot) -> None:
        """Note that the slot has nothing to send."""
        slot.wanted = False
        if slot.attempt is None:
            self.unsent.discard(slot)

    def forget_if_done(self, slot: Slot) -> None:
        """Drop a slot whose builder is closed and whose last state has arrived, or never will."""
        if slot.link.withdrawn:
            slot.wanted = False
        if slot.wanted or slot.attempt is not None:
            return
        self.unsent.discard(slot)
        if slot.link.withdrawn:
            slot.doubt_at = None
            self.doubtful.discard(slot)
        if (slot.link.final is not None or slot.link.withdrawn) and slot.doubt_at is None:
            self.ready.remove(slot)
            if self.slots.get(slot.execution_id) is slot:
                del self.slots[slot.execution_id]

    def tell(self, link: DeliveryLink, revision: int) -> None:
        """Hand a receipt to `on_receipt`."""
        self._outcomes.tell(link, revision)

    # The end

    def flush_all(self, deadline: float, future: Future[bool]) -> None:
        """Answer the future once nothing is left to send; at the deadline nobody waits for it any more."""
        self._idlers = [idler for idler in self._idlers if idler[0] > monotonic()] + [(deadline, future)]

    def close(self, deadline: float, exiting: bool, future: Future[None]) -> None:
        """Send what is left, without the waits of pace and backoff, until the deadline; then stop."""
        self._closers.append(future)
        self._exiting = self._exiting or exiting
        self._deadline = deadline if self._deadline is None else max(self._deadline, deadline)
        now = monotonic()
        self.target.probe_at = now
        for slot in list(self.slots.values()):
            source = slot.link.source() if exiting and self.options.at_exit is not None else None
            if source is not None:
                source.end("the runner process exited")
                self.want(slot)
            slot.retry_at = slot.not_before = 0.0
            self.schedule(slot, now)
        self.keeper.closing()

    def _close(self) -> None:
        self.keeper.finish()
        self.closed = True
        unsent = self._outcomes.keep_spooled([slot.link for slot in self.unsent])
        for link in unsent:
            self._outcomes.give_up(link, f"the sink was closed ({link.reason or 'not answered yet'})")
        if unsent:
            log.warning(
                "Closed with the last state of %d executions not delivered, for example %r: %s",
                len(unsent),
                unsent[0].execution_id,
                unsent[0].reason,
            )
        self.unsent.clear()
        try:
            self.transport.close()
        except Exception:  # a sink's own close()
            log.warning("Closing the sink behind a delivery failed", exc_info=True)
        for future in self._closers:
            future.set_result(None)

    def _refuse(self, calls: Iterator[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
        for _, future in self._idlers:
            future.set_result(False)
        for call, arguments in calls:
            if call in (self.flush, self.flush_all, self.close):
                arguments[-1].set_result(None if call == self.close else False)


def _make_keeper(worker: Worker) -> Keeper | NoKeeper:
    options = worker.options
    if options.spool is None:
        return NoKeeper()
    from ._spool_keeper import Keeper  # it brings SQLite

    return Keeper(worker, options.spool, fails_orphans=options.orphans == "fail")
