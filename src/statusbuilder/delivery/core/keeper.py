"""What is written to the spool, and when it goes."""

from __future__ import annotations

from collections import OrderedDict
from math import inf

import attrs

from .desk import Desk
from .effects import Acknowledge, Drop, Persist, Shut, Take
from .execution import Source
from .queue import Timers
from .steps import ABSENT, Absent, Final, Writing, Written
from .values import Request, State, Version

UNACKNOWLEDGED = 1.0
"""Seconds after which what is not acknowledged is written; also between two writes of one execution."""
HOLD = 0.5
"""Seconds that a state waits for the disk at most before it is sent."""
MOST_RATE = 5 * 1024 * 1024.0
"""Bytes a second that are written at most; ends count, and do not wait."""
AT_ONCE = 16
"""Executions that are encoded for the spool at a time."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries to write what is no end, while the disk refuses."""
ANY = 2**62


class Keeper:
    """Decides for all sources what is on disk; without a spool it has no part in anything."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.is_on = desk.settings.spool
        self.is_behind = False
        """Whether the disk did not answer in time, so that nothing waits for it until it does."""
        self._ends: OrderedDict[Source, None] = OrderedDict()
        """Those whose last state is to be written at once."""
        self._others: OrderedDict[Source, None] = OrderedDict()
        """Those whose state is to be written as the disk's budget allows."""
        self._timers: Timers[Source] = Timers()
        self._taking: set[Source] = set()
        self._free_at = 0.0
        self._pause = 0.0
        self.under_way = 0
        """Writes that are not answered yet."""
        self.rows = 0
        """Rows of this process that are on disk, or about to be."""

    # What sources do

    def changed(self, source: Source, is_end: bool) -> None:
        """Take note that something is unacknowledged."""
        if not self.is_on or source.ref.is_row:
            return
        if is_end:
            self._ends.setdefault(source)
            return
        if isinstance(source.disk, Absent) and not source.outlives and source.final is None:
            self._persist(source, (source.epoch, 0), None)
        if source not in self._others and source not in self._timers:
            self._timers.set(source, self._desk.now + UNACKNOWLEDGED)

    def hurry(self, source: Source) -> None:
        """Write what is unacknowledged as soon as the disk's budget allows, because there may be no later time."""
        if self.is_on and not source.ref.is_row:
            self._others.setdefault(source)

    def detached(self, source: Source, final: Final) -> None:
        """Take note that a builder has left its execution, which goes on elsewhere."""
        if _newest(source) == Written(final.version, True):
            self._desk.do(Shut(source.ref, final.version))
        else:
            self.hurry(source)

    def took_over(self, source: Source) -> None:
        """Take note that a builder goes on under another epoch."""
        if self.is_on and not source.outlives and source.final is None and not isinstance(source.disk, Absent):
            self._persist(source, (source.epoch, 0), None)

    def accepted(self, source: Source, has_doubt: bool, has_news: bool) -> None:
        """Take note that the backend has a state."""
        if not has_news and not has_doubt:
            self._unwant(source)
        elif source in self._timers:
            self._timers.set(source, self._desk.now + UNACKNOWLEDGED)
        if not has_doubt:
            self.settled(source)

    def settled(self, source: Source) -> None:
        """Remove what is acknowledged and beyond doubt; what says that an execution is open stays."""
        if isinstance(source.disk, Absent):
            return
        row = _row(source)
        if source.is_last_delivered and not source.outlasts_delivery:
            self.drop(source)
        elif row.has_body and row.version[1] <= source.fate.delivered:
            self._desk.do(Acknowledge(source.ref, row.version))
            row = attrs.evolve(row, has_body=False)
            source.set_disk(attrs.evolve(source.disk, row=row) if isinstance(source.disk, Writing) else row)

    def drop(self, source: Source) -> None:
        """Remove what is on disk: it is acknowledged and beyond doubt, or given up."""
        self._unwant(source)
        if not isinstance(source.disk, Absent):
            self._desk.do(Drop(source.ref, (max(source.epoch, _row(source).version[0]), ANY)))
            self.forget(source)

    def _unwant(self, source: Source) -> None:
        self._ends.pop(source, None)
        self._others.pop(source, None)
        self._timers.remove(source)

    def forget(self, source: Source) -> None:
        """Note that nothing is on disk of a source."""
        source.set_disk(ABSENT)
        self.rows -= not source.ref.is_row

    # Writing

    def hold(self, source: Source, request: Request, is_end: bool) -> bool:
        """Write a request that was taken, where that is due; says whether sending it has to wait for the disk."""
        if not self.is_on or (source.ref.is_row and not is_end):
            return False
        if is_end:
            if _newest(source) != Written(request.version, True):
                self._persist(source, request.version, request)
            return not self.is_behind and isinstance(source.disk, Writing)
        if source in self._taking:
            self.take(source, request)
        return not self.is_behind and isinstance(source.disk, Writing) and not source.disk.row.has_body

    def take(self, source: Source, request: Request | None) -> None:
        """Write what was taken for the disk."""
        self._taking.discard(source)
        if request is None or not self.is_on:
            return
        is_end = source.is_last(request.version, request.is_terminal)
        if _newest(source) != Written(request.version, True) and (is_end or not isinstance(source.disk, Writing)):
            self._persist(source, request.version, request)

    def _persist(self, source: Source, version: Version, request: Request | None) -> None:
        is_open = source.final is None and not source.outlives and not (request is not None and request.is_terminal)
        before = source.disk.before if isinstance(source.disk, Writing) else source.disk
        self.rows += isinstance(source.disk, Absent) and not source.ref.is_row
        source.set_disk(Writing(Written(version, request is not None), before))
        self.under_way += 1
        if request is not None:
            self._free_at = max(self._free_at, self._desk.now) + request.size / MOST_RATE
            self._ends.pop(source, None)
            self._others.pop(source, None)
            self._timers.set(source, self._desk.now + UNACKNOWLEDGED)
        self._desk.do(Persist(source.ref, version, State.OPEN if is_open else State.CLOSED, request))

    def stored(self, source: Source, version: Version, is_on_disk: bool) -> bool:
        """Take note of the disk's answer; says whether it is the one that is waited for."""
        self.is_behind = False
        self.under_way -= 1
        disk = source.disk
        if not isinstance(disk, Writing) or disk.row.version != version:
            return False
        source.set_disk(disk.row if is_on_disk else disk.before)
        if is_on_disk:
            self._pause = 0.0
            if disk.row.has_body:
                self._desk.count(spooled=1)
                self._desk.fate(source, spooled=max(source.fate.spooled, version[1]))
        else:
            self.rows -= isinstance(disk.before, Absent) and not source.ref.is_row
            self._pause = min(LONGEST_PAUSE, 2 * self._pause or UNACKNOWLEDGED)
            self._timers.set(source, self._desk.now + self._pause)
        return True

    def stored_unknown(self) -> None:
        """Take note of an answer that nobody waits for."""
        self.is_behind = False
        self.under_way -= 1

    def hopes(self) -> bool:
        """Whether waiting for the disk can help."""
        return self.is_on and not self.is_behind and not self._pause

    @property
    def is_busy(self) -> bool:
        """Whether something is about to be on disk."""
        return self.is_on and bool(self.under_way > 0 or self._taking or self._ends or self._others)

    def leave(self, source: Source) -> None:
        """Write nothing more of a source; what is on disk stays."""
        self._unwant(source)
        self._taking.discard(source)

    def ask(self, limit: int | None) -> None:
        """Have taken what is to be written, in at most so many bytes."""
        for source in self._due():
            self._desk.do(Take(source.ref, limit))

    def fall_behind(self) -> None:
        """Let nothing wait for the disk until it answers."""
        if not self.is_behind:
            self.is_behind = True
            self._desk.log("warning", "The spool is too slow, nothing waits for it until it answers")

    def emptied(self, source: Source) -> None:
        """Take note that nothing is on disk any more, and write what has to be."""
        if isinstance(source.disk, Absent):
            return
        had_body = _row(source).has_body
        self.forget(source)
        self._desk.fate(source, spooled=-1)
        if not source.is_done:
            self.changed(source, is_end=had_body and source.final is not None)

    # Time

    def wake(self) -> float | None:
        """Return when something is to be written; None when nothing is."""
        times = [time for time in (self._timers.next(), self._free_at if self._others else None) if time is not None]
        return -inf if self._ends else min(times, default=None)

    def _due(self) -> list[Source]:
        """Return the sources whose newest state is to be taken for the disk."""
        now = self._desk.now
        for source in self._timers.pop_due(now):
            self._others.setdefault(source)
        ends = [source for source in self._ends if source not in self._taking]
        self._ends.clear()
        others: list[Source] = []
        while self._others and (self._free_at <= now) and len(others) < AT_ONCE:
            source = self._others.popitem(last=False)[0]
            if isinstance(source.disk, Writing):
                self._timers.set(source, now + UNACKNOWLEDGED)
            else:
                others.append(source)
        self._taking.update(ends, others)
        return ends + others


def _row(source: Source) -> Written:
    assert not isinstance(source.disk, Absent)
    return source.disk.row if isinstance(source.disk, Writing) else source.disk


def _newest(source: Source) -> Written | None:
    return None if isinstance(source.disk, Absent) else _row(source)


def is_spooled(source: Source) -> bool:
    """Whether a source's last state is on disk."""
    disk, final = source.disk, source.final
    return isinstance(disk, Written) and disk.has_body and final is not None and disk.version >= final.version
