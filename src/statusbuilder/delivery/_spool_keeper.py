"""What the worker does for its spool, on its own thread: what is written when, and what goes once acknowledged."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from time import monotonic, time
from typing import TYPE_CHECKING, Any, cast

import attrs

from ..core.model.values import ExecutionPhase, Snapshot
from ._orphan import Orphan
from ._queue import Timers
from ._slot import Attempt, DeliveryLink, Slot
from ._spool import Spool
from ._spool_page import Page, Version
from ._spool_recovery import Recovery
from ._spool_row import Key, Row, State
from ._transport import Request, Storing

if TYPE_CHECKING:
    from ._deliverer import Deliverer
    from ._worker import Worker

log = logging.getLogger("statusbuilder")

UNACKNOWLEDGED = 1.0
"""Seconds after which what is not acknowledged is written; also between two writes of one execution."""
HOLD = 0.5
"""Seconds that a terminal snapshot waits for the disk at most before it is sent."""
CLOSE_WAIT = 0.4
"""Seconds that closing waits for the disk at most."""
AT_ONCE = 50
"""Executions that are encoded for the spool before others may be sent."""


@attrs.frozen(eq=False)
class _Held:
    """An attempt that waits for the disk."""

    attempt: Attempt
    go: Callable[[], object]
    until: float


class Keeper:
    """A delivery's part in a spool.

    Args:
        worker: the delivery's; all calls come from its thread.
        path: of the spool.
        fails_orphans: whether executions whose owner died are ended FAILED.
    """

    def __init__(self, worker: Worker, path: Any, fails_orphans: bool) -> None:
        self.worker = worker
        self.transport = cast(Storing, worker.transport)
        self.spool = Spool(path, lambda: worker.reply(self._replaced))
        self.recovery = Recovery(self, fails_orphans)
        self.sink: Callable[[], Deliverer | None] = lambda: None
        self._timers: Timers[Page] = Timers()
        self._held: dict[Page, _Held] = {}
        self._is_behind = False
        """Whether the disk did not answer in time, so that nothing waits for it until it does."""
        self._has_begun = False
        self._is_finished = False

    @property
    def is_busy(self) -> bool:
        """Whether rows of the dead are about to be delivered."""
        return not self._is_behind and self.recovery.is_busy

    @property
    def has_rows(self) -> bool:
        """Whether there are rows of the dead to deliver, although the backend may be away."""
        return not self._is_behind and self.recovery.has_rows

    def begin(self) -> None:
        """Look for rows whose owner is dead."""
        if not self._has_begun:
            self._has_begun = True
            self.recovery.begin()

    def attach_to(self, deliverer: Deliverer) -> None:
        """Say whose spool this is, for receipts."""
        self.sink = weakref.ref(deliverer)

    def orphans(self) -> tuple[Orphan, ...]:
        """Return the executions that lost their process, as far as they were found here; from any thread."""
        return tuple(self.recovery.orphans.copy().values())

    # What happens to executions

    def wanted(self, slot: Slot) -> None:
        """Take note that an execution has something unacknowledged."""
        self.begin()
        link = slot.link
        page = link.page
        if page is None:
            page = self._new_page(link)
            if page is None:
                return
        page.is_gone = False
        if page.since is None:
            page.since = monotonic()
            self._timers.set(page, page.since + UNACKNOWLEDGED)
        if link.final is not None or link.urgent:
            snapshot = link.newest()
            if snapshot is not None and snapshot.is_terminal:
                self._write(slot, page)  # at once, because when it can be sent is not known

    def _new_page(self, link: DeliveryLink) -> Page | None:
        snapshot = link.newest()
        if snapshot is None:
            return None
        page = link.page = Page(Key(self.transport.label, self.transport.kind(snapshot), link.execution_id))
        if link.final is None and not snapshot.is_terminal:
            self._mark(page, snapshot.epoch, snapshot.revision, snapshot.phase)
        return page

    def adopt(self, link: DeliveryLink, row: Row, is_written: bool, is_orphan: bool) -> None:
        """Say that a row of a dead owner is what is on disk of this link."""
        page = link.page = Page(row.key)
        page.marked = row.epoch
        page.is_orphan = is_orphan
        if is_written:
            page.asked = page.on_disk = (row.epoch, row.revision)
            link.spooled = row.revision

    def _mark(self, page: Page, epoch: int, revision: int, phase: int) -> None:
        page.marked = epoch
        page.asked = None
        page.is_marking = True
        row = Row(page.key, epoch, revision, phase, State.OPEN, time())
        self.spool.put(row, lambda is_written: self.worker.reply(self._marked, page))

    def _marked(self, page: Page) -> None:
        self._is_behind = False
        page.is_marking = False
        if page.writing is None:
            self._release(page)

    def compares(self, slot: Slot) -> bool:
        """Whether what a slot has is compared with what the backend holds before it may be sent."""
        return slot.link.is_recovered and self.recovery.compares(slot)

    def hold(self, attempt: Attempt, go: Callable[[], object]) -> None:
        """Make an attempt once what it sends is on disk, if it is terminal.

        In any other case once the disk says that the execution is open: what a backend has seen, the next process
        knows of.
        """
        link, request = attempt.link, attempt.request
        page = link.page
        if page is None:
            go()
            return
        version = (request.epoch, request.revision)
        if not request.is_terminal:
            if link.final is None and page.marked not in (None, request.epoch):  # the epoch was taken over
                self._mark(page, request.epoch, request.revision, ExecutionPhase.IN_PROGRESS)
            is_waiting = page.is_marking
        else:
            if page.asked != version:
                snapshot = link.newest()
                self._put(link, page, request, ExecutionPhase.FAILED if snapshot is None else snapshot.phase)
            is_waiting = page.writing == version
        if is_waiting and not self._is_behind:
            self._held[page] = _Held(attempt, go, monotonic() + HOLD)
        else:
            go()

    def _put(self, link: DeliveryLink, page: Page, request: Request, phase: int) -> None:
        version = page.asked = page.writing = (request.epoch, request.revision)
        is_open = link.final is None and not request.is_terminal
        state = State.OPEN if is_open else State.CLOSED
        if is_open:
            page.marked = request.epoch
        row = Row(page.key, *version, phase, state, time(), self.transport.pack(request))

        def written(is_written: bool) -> None:
            if is_written:
                page.on_disk = version
            self.worker.reply(self._written, link, page, version, is_written)

        self.spool.put(row, written)

    def _written(self, link: DeliveryLink, page: Page, version: Version, is_written: bool) -> None:
        self._is_behind = False
        if is_written:
            self.worker.counters.spooled += 1
            link.spooled = max(link.spooled, version[1])
        elif page.asked == version:
            page.asked = None
        if page.writing == version:
            page.writing = None
            self._release(page)

    def _release(self, page: Page) -> None:
        held = self._held.pop(page, None)
        if held is not None:
            self._launch(held)

    def _launch(self, held: _Held) -> None:
        held.attempt.started = monotonic()
        held.go()

    def accepted(self, attempt: Attempt) -> None:
        """Remove what the backend has acknowledged."""
        link, request = attempt.link, attempt.request
        page = link.page
        if page is None:
            return
        page.since = monotonic() if attempt.slot.wanted else None
        link.stored = None
        version = (request.epoch, request.revision)
        is_last = link.final is not None and link.final.revision <= request.revision
        if not page.is_there:
            return
        if (request.is_terminal or is_last) and not page.is_orphan:
            if request.is_terminal and _is_in_doubt(attempt.slot, link):
                return
            page.is_gone = True
            self.spool.drop(page.key, *version)
        elif page.asked is not None:
            self.spool.acknowledge(page.key, *version)
            if page.asked <= version:
                page.asked = None

    def detached(self, link: DeliveryLink) -> None:
        """Take note that an execution goes on without its builder, or has ended."""
        page, final = link.page, link.newest()
        if page is None or final is None or not page.is_there or page.is_orphan:
            return
        if link.delivered >= final.revision:
            slot = self.worker.slots.get(link.execution_id)
            if final.is_terminal and slot is not None and _is_in_doubt(slot, link):
                return
            page.is_gone = True
            self.spool.drop(page.key, final.epoch, final.revision)
        elif not final.is_terminal:  # else it is about to be written
            page.marked = None
            self.spool.shut(page.key, final.epoch, final.revision)

    def ended(self, link: DeliveryLink) -> None:
        """Remove what was given up, or is superseded."""
        page = link.page
        if page is None or not page.is_there or self._is_finished:
            return
        page.is_gone = True
        versions = [version for version in (page.asked, page.on_disk) if version is not None]
        epoch = max([page.marked or 0, *(epoch for epoch, _ in versions)])
        self.spool.drop(page.key, epoch, 2**62)

    def _replaced(self) -> None:
        """Begin anew, after the file was moved away."""
        for slot in self.worker.slots.values():
            link, page = slot.link, slot.link.page
            if page is None:
                continue
            page.on_disk = page.asked = None
            link.spooled = -1
            snapshot = link.newest()
            if page.marked is not None and link.final is None and snapshot is not None and not snapshot.is_terminal:
                self._mark(page, snapshot.epoch, snapshot.revision, snapshot.phase)

    # Time

    def next_wake(self) -> float | None:
        """Return when there is something to do; None when there is nothing."""
        times = [self._timers.next(), self.recovery.next_wake()]
        if self._held:
            times.append(next(iter(self._held.values())).until)
        return min((time for time in times if time is not None), default=None)

    def turn(self, now: float) -> None:
        """Do what is due."""
        for page, held in list(self._held.items()):
            if held.until > now:
                break
            del self._held[page]
            if not self._is_behind:
                self._is_behind = True
                log.warning("The spool %s is too slow, nothing waits for it until it answers", self.spool.path)
            self._launch(held)
        for page in self._timers.pop_due(now, AT_ONCE):
            self._look_at(page, now)
        self.recovery.turn(now)

    def _look_at(self, page: Page, now: float) -> None:
        slot = self.worker.slots.get(page.key.execution_id)
        if page.since is None or slot is None or slot.link.page is not page or slot not in self.worker.unsent:
            page.since = None
        elif page.since + UNACKNOWLEDGED > now:
            self._timers.set(page, page.since + UNACKNOWLEDGED)
        else:
            self._timers.set(page, now + UNACKNOWLEDGED)
            if page.writing is None:
                self._write(slot, page)

    def _write(self, slot: Slot, page: Page) -> None:
        """Write the newest state, unless it is there."""
        snapshot = slot.link.newest()
        if snapshot is None or (snapshot.epoch, snapshot.revision) == page.asked or slot.link.withdrawn:
            return
        try:
            request = self._request(slot, snapshot)
        except Exception:
            return  # sending it will say what is wrong
        if snapshot.is_terminal:
            slot.link.stored = request
        self._put(slot.link, page, request, snapshot.phase)

    def _request(self, slot: Slot, snapshot: Snapshot) -> Request:
        if slot.attempt is not None and slot.attempt.request.is_of(snapshot):
            return slot.attempt.request
        stored = slot.link.stored
        if stored is not None and stored.is_of(snapshot):
            return stored
        return self.transport.prepare(slot.memo, snapshot, self.worker.target.max_bytes)

    # The end

    def closing(self) -> None:
        """Write all that is unacknowledged, because there may be no later time."""
        for slot in self.worker.unsent:
            if slot.link.page is not None:
                self._write(slot, slot.link.page)

    def finish(self) -> None:
        """Write what could not be delivered, say which of it is on disk, and leave the rows to the next owner."""
        self.closing()
        self._is_finished = True
        self.spool.close(0.0 if self._is_behind else CLOSE_WAIT)
        for slot in self.worker.unsent:
            page = slot.link.page
            if page is not None and page.on_disk is not None and page.on_disk == page.asked:
                slot.link.spooled = page.on_disk[1]


def _is_in_doubt(slot: Slot, link: DeliveryLink) -> bool:
    """Whether an older state may still be put on top of what was acknowledged, so that its row has to stay.

    If this process died, nobody else would put that right. Not for what was taken over from a dead process: then rows
    would go from one short process to the next for ever.
    """
    return slot.link is link and slot.doubt_at is not None and not link.is_recovered
