"""Who waits: for a revision of an execution, or for all."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf

from .desk import Desk
from .effects import Settle
from .events import Flush, FlushAll
from .execution import Execution, Waiter
from .keeper import Keeper
from .target import Target


class Waiting:
    """Answers everybody who waits once, by the deadline at the latest."""

    def __init__(self, desk: Desk, target: Target, keeper: Keeper) -> None:
        self._desk = desk
        self._target = target
        self._keeper = keeper
        self._waiters = desk.waiters
        self._for_all: dict[Hashable, float] = {}

    def flush(self, it: Execution | None, event: Flush) -> None:
        """Wait for a revision."""
        now = self._desk.now
        if it is None or now >= event.deadline:
            self._desk.do(Settle(event.waiter, it is not None and it.fate.delivered >= event.revision))
            return
        waiter = Waiter(it, event.revision, event.waiter, now, event.deadline, event.is_patient)
        it.set_waiters((*it.waiters, waiter))
        self._waiters.set(waiter, event.deadline)
        self._desk.settle(it)
        if it.backoff.refused is not None and it.backoff.until > event.deadline:
            self._desk.answer(waiter, False)

    def flush_all(self, event: FlushAll) -> None:
        """Wait until nothing is left."""
        self._for_all[event.waiter] = event.deadline

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._for_all and self._waiters.at == inf

    def wake(self) -> float:
        """Return when somebody is to be answered, if nothing else happens."""
        waits = self._waiters.next()
        return min(waits, inf if waits == inf else self._target.away_at(self._desk.now), *self._for_all.values())

    def look(self, is_done: bool) -> None:
        """Answer those for whom waiting is over; `is_done` where nothing is left to send."""
        now = self._desk.now
        for waiter in self._waiters.pop_due(now):
            if waiter in waiter.of.waiters:
                self._target.keep_waiting(waiter.since, now)
                self._desk.answer(waiter, False)
        for waiter in self._waiters if self._target.is_away(now) else ():
            # Whoever is not patient waits for the disk at most.
            if not waiter.is_patient and (not self._keeper.hopes or waiter.of.fate.spooled >= waiter.revision):
                self._desk.answer(waiter, False)
        if self._for_all:
            self.end(is_done, inf if is_done else now)

    def end(self, is_done: bool, by: float = inf) -> None:
        """Answer those who wait for all, by that time at the latest."""
        for name in [name for name, deadline in self._for_all.items() if deadline <= by]:
            del self._for_all[name]
            self._desk.do(Settle(name, is_done))
