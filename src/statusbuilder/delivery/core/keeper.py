"""What is written to the spool, and when it goes."""

from __future__ import annotations

from collections import OrderedDict
from math import inf

from .desk import Desk
from .effects import Acknowledge, Drop, Persist, Take
from .execution import Execution
from .queue import Timers
from .steps import ABSENT, Absent, Taking, Writing, Written
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
    """Decides for all executions what is on disk; without a spool it has no part in anything."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.is_on = desk.settings.spool
        self.is_behind = False
        """Whether the disk did not answer in time, so that nothing waits for it until it does."""
        self._ends: dict[Execution, None] = {}
        """Those whose last state is to be written at once."""
        self._others: OrderedDict[Execution, None] = OrderedDict()
        """Those whose state is to be written as the disk's budget allows."""
        self._later: set[Execution] = set()
        """Those that are to be written once what is under way is on disk."""
        self._timers: Timers[Execution] = Timers()
        self._taking: set[Execution] = set()
        self._free_at = 0.0
        self._pause = 0.0
        self._under_way = 0
        """Writes that are not answered yet."""
        self.rows = 0
        """Rows of this process that are on disk, or about to be."""

    @property
    def is_busy(self) -> bool:
        """Whether something is about to be on disk."""
        return self.is_on and bool(self._under_way > 0 or self._taking or self._ends or self._others or self._later)

    @property
    def hopes(self) -> bool:
        """Whether waiting for the disk can help."""
        return self.is_on and not self.is_behind and not self._pause

    # What becomes of executions

    def changed(self, it: Execution, is_end: bool) -> None:
        """Take note that something is unacknowledged."""
        if not self.is_on or it.ref.is_row:
            return
        if is_end:
            row = _row(it)
            if not (row is not None and row.has_body and it.final is not None and row.version == it.final.version):
                self._ends[it] = None
            return
        if isinstance(it.disk, Absent):
            self.mark(it)
        if it not in self._others and it not in self._timers:
            self._timers.set(it, self._desk.now + UNACKNOWLEDGED)

    def mark(self, it: Execution) -> None:
        """Have the disk say that an execution is open; anew, where it has another epoch."""
        if self.is_on and not it.outlives and it.final is None:
            self._persist(it, (it.epoch, 0), None)

    def hurry(self, it: Execution) -> None:
        """Write what is unacknowledged as soon as the disk's budget allows: nothing comes later."""
        if self.is_on and not it.ref.is_row:
            self._others[it] = None

    def accepted(self, it: Execution) -> None:
        """Take note that the backend has a state."""
        if it.has_news and it in self._timers:
            self._timers.set(it, self._desk.now + UNACKNOWLEDGED)
        elif not it.has_news and it.doubt is None:
            self.leave(it)
        if it.doubt is None:
            self.settled(it)

    def settled(self, it: Execution) -> None:
        """Remove what is acknowledged and beyond doubt; what says that an execution is open stays."""
        row = _row(it)
        if row is None or it.is_ended:
            return
        if it.is_delivered and not it.stays:
            self.drop(it)
        elif row.has_body and row.version[1] <= it.fate.delivered:
            self._desk.do(Acknowledge(it.ref, row.version))
            bare = Written(row.version, False, True)
            it.set_disk(Writing(bare, it.disk.before) if isinstance(it.disk, Writing) else bare)

    def drop(self, it: Execution) -> None:
        """Remove what is on disk: it is acknowledged and beyond doubt, or given up."""
        self.leave(it)
        row = _row(it)
        if row is not None:
            self._desk.do(Drop(it.ref, row.version if it.ref.is_row else (max(it.epoch, row.version[0]), ANY)))
            self.forget(it)

    def forget(self, it: Execution) -> None:
        """Note that nothing is on disk."""
        self.rows -= not it.ref.is_row and not isinstance(it.disk, Absent)
        it.set_disk(ABSENT)

    def leave(self, it: Execution) -> None:
        """Write nothing more; what is on disk stays."""
        self._ends.pop(it, None)
        self._others.pop(it, None)
        self._later.discard(it)
        self._taking.discard(it)
        self._timers.remove(it)

    def emptied(self, it: Execution) -> None:
        """Take note that nothing is on disk any more, and write what has to be."""
        self._desk.fate(it, spooled=-1)
        if isinstance(it.disk, Writing):
            it.set_disk(it.disk.emptied())  # what is under way is written to the new file
        elif isinstance(it.disk, Written):
            is_end = it.disk.has_body and it.final is not None and it.final.is_terminal
            self.forget(it)
            self.changed(it, is_end)

    # Writing

    def hold(self, it: Execution, request: Request) -> bool:
        """Write a request that was taken, where that is due; says whether sending it has to wait for the disk."""
        if not self.is_on:
            return False
        if request.is_terminal:
            self.take(it, request)
            return not self.is_behind and isinstance(it.disk, Writing)
        if it in self._taking:
            self.take(it, request)
        return not self.is_behind and isinstance(it.disk, Writing) and not it.disk.row.has_body

    def take(self, it: Execution, request: Request) -> None:
        """Write what was taken for the disk, unless it is there."""
        self._taking.discard(it)
        is_open = not (request.is_terminal or it.outlives or it.final is not None)
        is_over = it.is_ended or (request.revision <= it.fate.delivered and it.doubt is None)
        if is_over or _row(it) == Written(request.version, True, is_open):
            return
        if isinstance(it.disk, Writing) and not it.is_last(request.version, request.is_terminal):
            self._later.add(it)
        elif self.is_on:
            self._persist(it, request.version, request)

    def _persist(self, it: Execution, version: Version, request: Request | None) -> None:
        is_open = not (it.outlives or it.final is not None or (request is not None and request.is_terminal))
        self.rows += isinstance(it.disk, Absent) and not it.ref.is_row
        it.set_disk(Writing(Written(version, request is not None, is_open), it.disk))
        self._under_way += 1
        if request is not None:
            self._free_at = max(self._free_at, self._desk.now) + request.size / MOST_RATE
            self.leave(it)
            self._timers.set(it, self._desk.now + UNACKNOWLEDGED)
        self._desk.do(Persist(it.ref, version, State.OPEN if is_open else State.CLOSED, request))

    def stored(self, it: Execution | None, version: Version, is_on_disk: bool) -> None:
        """Take note of the disk's answer."""
        self.is_behind = False
        self._under_way -= 1
        disk = None if it is None else it.disk
        if it is None or not isinstance(disk, Writing):
            return
        it.set_disk(disk.answered(version, is_on_disk))
        if disk.row.version != version:
            return
        if is_on_disk:
            self._pause = 0.0
        else:
            self.rows -= isinstance(disk.before, Absent) and not it.ref.is_row
            self._pause = min(LONGEST_PAUSE, 2 * self._pause or UNACKNOWLEDGED)
            self._timers.set(it, self._desk.now + self._pause)
        if is_on_disk and disk.row.has_body:
            self._desk.count("spooled")
            self._desk.fate(it, spooled=max(it.fate.spooled, version[1]))
        if it in self._later:
            self._later.discard(it)
            self._others[it] = None

    def fall_behind(self) -> None:
        """Let nothing wait for the disk until it answers."""
        if not self.is_behind:
            self.is_behind = True
            self._desk.log("warning", "The spool is too slow, nothing waits for it until it answers")

    # Time

    def wake(self) -> float:
        """Return when something is to be written."""
        return -inf if self._ends else min(self._timers.next(), self._free_at if self._others else inf)

    def due(self, limit: int | None) -> None:
        """Have taken what is to be written now, in at most so many bytes each."""
        if not (self._ends or self._others or self._timers.at <= self._desk.now):
            return
        for it in self._timers.pop_due(self._desk.now):
            self._others[it] = None
        # Those that are taken to be sent are written then.
        due, self._ends = [it for it in self._ends if not (it in self._taking or isinstance(it.step, Taking))], {}
        for _ in range(AT_ONCE):
            if not self._others or self._free_at > self._desk.now:
                break
            it, _ = self._others.popitem(last=False)
            if isinstance(it.disk, Writing):
                self._later.add(it)
            else:
                due.append(it)
        self._taking.update(due)
        self._desk.do(*(Take(it.ref, limit) for it in due))


def _row(it: Execution) -> Written | None:
    disk = it.disk
    return disk.row if isinstance(disk, Writing) else disk if isinstance(disk, Written) else None


def is_spooled(it: Execution, version: Version | None = None) -> bool:
    """Whether a version is on disk; by default that of the last state."""
    wanted = it.final.version if version is None and it.final is not None else version
    return isinstance(it.disk, Written) and it.disk.has_body and wanted is not None and it.disk.version >= wanted
