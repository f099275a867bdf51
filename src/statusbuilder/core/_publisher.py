"""A state under a lock, and how its sinks come to have it: telling them of changes, and waiting for them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from datetime import datetime
from os import getpid
from time import time_ns
from typing import Any, TypeVar

from .checks import check_time, read_clock
from .model.values import Receipt, Snapshot
from .outlets import Outlets
from .state import PHASE_CHANGED, ExecutionState, Told

_T = TypeVar("_T")
_GRACE = 0.1  # seconds; nobody of this process holds a lock for longer, because nothing foreign runs under it


class Publisher:
    """Changes a state under a lock, and tells its sinks without it.

    A fork's child changes memory only. It is known by its process id, as it is made by C code as well, and looked for
    before a lock is waited for, which a thread of the parent may hold for ever, and before a sink is told.
    """

    __slots__ = (
        "_clock",
        "_final",
        "_last",
        "_lock",
        "_locks",
        "_outlets",
        "_pid",
        "_said",
        "dropped",
        "first",
        "is_left",
        "state",
    )

    def __init__(self, state: ExecutionState, clock: Callable[[], datetime] | None) -> None:
        self.state = state
        self.first = state.revision
        """The revision of the beginning, of which no sink is told."""
        self.dropped = 0
        """How many calls were ignored."""
        self.is_left = False
        """Whether it was closed, and not only dropped."""
        self._clock = clock
        self._last = 0
        """The last reading of the clock."""
        self._outlets: Outlets | None = None
        self._final: Snapshot | None = None
        """The state at the first close(), which is the last that the sinks get; None until then."""
        self._said: set[str] = set()
        self._lock = threading.RLock()  # reentrant for the handlers of signals
        self._pid = getpid()
        self._locks = {self._pid: self._lock}

    def attach(self, outlets: Outlets) -> None:
        """Tell these sinks of all changes to come."""
        self._outlets = outlets

    def forget_clock(self) -> None:
        """Go on by the system's clock."""
        self._clock = None

    # Both take the lock without `with`, so that nobody waits before the process was looked at. `acquire` stands
    # in the `try`, as a Ctrl-C may come right after it; or while it waits, so `release` may find nothing.

    def change(self, make: Callable[[int], int], at: datetime | None = None) -> None:
        """Make a change and tell the sinks; `make` gets the time, which is the present one unless it is given."""
        self.change_task(_make, make, None, None, None, False, at)

    def change_task(
        self,
        make: Callable[..., int],
        task_id: Any,
        name: Any,
        status: Any,
        given: Any,
        again: bool,
        at: datetime | None,
    ) -> None:
        """Change a task by a method of the state, all of which take the same.

        A call with so many arguments takes half as long as one with any number of them.
        """
        if at is not None:
            now: int = Told(check_time(at))
        else:
            now = time_ns() if self._clock is None else read_clock(self._clock)
        lock = self._lock
        try:
            if not lock.acquire(False):
                lock = self._wait_for_lock()
            if at is None and now < self._last:
                now = self._last
            change = make(now, task_id, name, status, given, again)
            if change and at is None:
                self._last = now
            if self._outlets is None:
                return
            if change and self._outlets.takes_all and self._final is None:
                self._outlets.put(self.state.snapshot())
        finally:
            try:  # noqa: SIM105 (a call of suppress() takes as long as the lock)
                lock.release()
            except RuntimeError:
                pass
        if change:
            self._publish(change == PHASE_CHANGED)

    def locked(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Do something with the state that is no change."""
        lock = self._lock
        try:
            if not lock.acquire(False):
                lock = self._wait_for_lock()
            return work(*arguments)
        finally:
            try:  # noqa: SIM105
                lock.release()
            except RuntimeError:
                pass

    def _wait_for_lock(self) -> threading.RLock:
        pid = getpid()
        if pid != self._pid:
            lock = self._lock
            if not lock.acquire(timeout=_GRACE):
                lock = self._locks.setdefault(pid, threading.RLock())
                lock.acquire()
            self._outlets, self._lock, self._pid = None, lock, pid
            return lock
        lock = self._lock  # again, as another thread may have been here meanwhile
        lock.acquire()
        return lock

    def _publish(self, urgent: bool) -> None:
        outlets = self.outlets()
        if outlets is None:
            return
        if self._final is None:
            outlets.publish(urgent)
        elif self.state.revision > self._final.revision:
            self.drop("changes after close() stay in memory")

    def outlets(self) -> Outlets | None:
        """Return the sinks; in a forked child there are none."""
        if self._outlets is not None and getpid() != self._pid:
            self._outlets = None
        return self._outlets

    def snapshot(self) -> Snapshot:
        """Return the present state."""
        return self.locked(self.state.snapshot)

    # Waiting for the sinks

    def flush(self, timeout: float) -> bool:
        """Wait until the sinks have the present revision; False when they do not in time, or will not get it."""
        snapshot, outlets = self.snapshot(), self.outlets()
        if outlets is None or self._is_late(snapshot):
            return outlets is None
        return outlets.flush(snapshot, timeout)

    async def aflush(self, timeout: float) -> bool:
        """Do as `flush`, without blocking the running event loop."""
        snapshot, outlets = self.snapshot(), self.outlets()
        if outlets is None or self._is_late(snapshot):
            return outlets is None
        if not self._has_loop():
            return outlets.flush(snapshot, timeout)
        return await outlets.aflush(snapshot, timeout)

    def close(self, timeout: float, is_patient: bool) -> tuple[Receipt, ...]:
        """Flush, and detach from the sinks; nobody is patient who gave no timeout."""
        outlets, final = self._detach()
        if outlets is None:
            return ()
        outlets.flush(final, timeout, is_patient)
        return outlets.receipts(final)

    async def aclose(self, timeout: float, is_patient: bool) -> tuple[Receipt, ...]:
        """Do as `close`, without blocking the running event loop."""
        if not self._has_loop():
            return self.close(timeout, is_patient)
        outlets, final = self._detach()
        if outlets is None:
            return ()
        await outlets.aflush(final, timeout, is_patient)
        return outlets.receipts(final)

    @property
    def is_closed(self) -> bool:
        """Whether the sinks get nothing more."""
        return self._final is not None

    def _is_late(self, snapshot: Snapshot) -> bool:
        return self._final is not None and snapshot.revision > self._final.revision

    def _detach(self) -> tuple[Outlets | None, Snapshot]:
        if self._final is None:
            self.change(self.state.release)
        is_first, final = self.locked(self._finalize)
        outlets = self.outlets()
        if outlets is not None and is_first:
            outlets.detach(final)
        return outlets, final

    def _finalize(self) -> tuple[bool, Snapshot]:
        if self._final is not None:
            return False, self._final
        self._final, self.is_left = self.state.snapshot(), True
        return True, self._final

    def abandon(self) -> bool:
        """Detach without a wait, because the builder is gone; returns whether there was something to deliver."""
        outlets = self.outlets()
        if outlets is None or self._final is not None:
            return False
        self._final = final = self.state.snapshot()  # no lock: nobody else has it any more
        outlets.detach(final)
        return final.revision > self.first and outlets.has_deliveries

    def _has_loop(self) -> bool:
        """Whether an asyncio loop runs here; where none does, such as in trio, the sync forms wait."""
        asyncio: Any = sys.modules.get("asyncio")
        try:
            asyncio.get_running_loop()
        except (AttributeError, RuntimeError):
            self.say_once("no asyncio loop runs here, so waiting for the sinks blocks this thread, as flush() does")
            return False
        return True

    # What is wrong

    def drop(self, what: str) -> None:
        """Count a call that is ignored; the first one is logged."""
        self.dropped += 1
        if self.dropped == 1:
            self.say_once(f"{what}; this is said once, then counted")

    def say_once(self, what: str) -> None:
        """Log something about the execution, unless it was said before."""
        if what not in self._said:
            self._said.add(what)
            self.warn("Execution %r: %s", self.state.execution_id, what)

    @staticmethod
    def warn(what: str, *facts: object) -> None:
        """Log something that goes wrong."""
        import logging  # takes as long as everything else here

        logging.getLogger("statusbuilder").warning(what, *facts)


def _make(now: int, make: Callable[[int], int], *_: object) -> int:
    return make(now)
