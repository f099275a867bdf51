"""A thread that is told what to do, by calls that others put into its inbox."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, TypeVar

log = logging.getLogger("statusbuilder")
T = TypeVar("T")

_BATCH = 1000
"""Calls that are made before the thread looks at what they have made ready."""

_LONGEST = 3600.0
"""Seconds between two turns at most; a backend may ask for a wait that is longer than the system can wait."""


_PAUSE = 0.05
"""Seconds without a turn after a defect."""


def _is_patched() -> bool:
    """Whether gevent has replaced the threads of this process."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


WAS_PATCHED = _is_patched()
"""Whether all threads that the library starts are one, and the application's."""

LATE_GEVENT = (
    "gevent was patched in after statusbuilder had been imported, so that its threads would stop all others; "
    "call gevent.monkey.patch_all() before anything else is imported"
)


class Mailbox:
    """A shell's inbox and its thread, which is started by the first call and ends when `closed` is set.

    The inbox is a `queue.SimpleQueue`, whose `put` is safe even in finalizers and signal handlers, so that there is no
    lock that a runner could wait for. A forked child's calls end here: they would never be made.

    Args:
        begin: what is done first.
        turn: receives what has come, and does what is due.
    """

    def __init__(self, begin: Callable[[], object], turn: Callable[[], object]) -> None:
        self._begin = begin
        self._turn = turn
        self.closed = False
        self._pid = os.getpid()
        self._inbox: SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = SimpleQueue()
        self._left: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._has_said = False

    # For any thread

    @property
    def over(self) -> str:
        """Why nothing is done any more; empty while it is."""
        if self._pid != os.getpid():
            return "it is left to the process that this one was forked from"
        if _is_patched() and not WAS_PATCHED:
            if not self._has_said:
                self._has_said = True
                log.error("Nothing is delivered: %s", LATE_GEVENT)
            return LATE_GEVENT
        return "the sink is closed" if self.closed else ""

    def post(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Have a call made on the shell's thread; False when it never will be."""
        if self.over:
            return False
        self._inbox.put((call, arguments))
        if self._thread is None:
            self._start()
        elif self.closed:
            self._refuse()
        return True

    def leave(self, until: float, call: Callable[..., None], *arguments: Any) -> None:
        """Have a call made at the thread's next turn, before all that is posted later; one comes after `until`."""
        self._left.append((call, arguments))
        if monotonic() >= until:
            self._inbox.put((_nothing, ()))  # the turn may have been before that

    def ask(self, future: Future[T], otherwise: Callable[[], T], call: Callable[..., None], *facts: Any) -> Future[T]:
        """Have a call made that answers the future, its last argument; `otherwise` answers where it never will be."""
        if not self.post(call, *facts, future):
            future.set_result(otherwise())
        return future

    def reply(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have a call made that something under way has been waiting for, also while closing."""
        self._inbox.put((call, arguments))

    def _start(self) -> None:
        # Not waiting for the lock: a finalizer may run here while this very thread holds it.
        if self._starting.acquire(blocking=False):
            try:
                if self._thread is None:
                    thread = threading.Thread(target=self.run, name="statusbuilder-delivery", daemon=True)
                    thread.start()
                    self._thread = thread
            except RuntimeError:
                return  # the interpreter is exiting; what is in the inbox is done by `finish`
            finally:
                self._starting.release()

    @property
    def is_running(self) -> bool:
        """Whether there is a thread to stop."""
        return self._thread is not None and not self.closed

    @property
    def has_work(self) -> bool:
        """Whether there ever was something to do, and closing has not been seen to."""
        return not self.closed and (self._thread is not None or not self._inbox.empty())

    def finish(self) -> None:
        """Make sure that somebody works the inbox, also at exit, when no thread can be started any more."""
        if self._thread is None and self._starting.acquire(blocking=False):
            self.run()

    # The thread

    def run(self) -> None:
        """Work until closed; nothing that is raised ends it, whatever it is."""
        self._guarded(self._begin)
        while not self.closed:
            self._guarded(self._turn)
        while self._guarded(self._receive, 0.0):
            continue
        self._refuse()

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except BaseException:  # SystemExit out of a user's function, an exception that was thrown into this thread
            log.exception("A delivery met a defect and goes on")
            sleep(_PAUSE)  # whatever it is, it does not take the processor from the work
            return True

    def _receive(self, wait: float | None) -> bool:
        """Make the calls that have come, after waiting for the first; False when none has."""
        try:
            call, arguments = self._inbox.get(timeout=wait if wait is None else min(max(0.0, wait), _LONGEST))
            self._make_left()
            call(*arguments)
            for _ in range(_BATCH):
                call, arguments = self._inbox.get_nowait()
                self._make_left()
                call(*arguments)
        except Empty:
            self._make_left()
            return False
        return True

    def _make_left(self) -> None:
        while self._left:
            call, arguments = self._left.popleft()
            self._guarded(call, *arguments)

    def _refuse(self) -> None:
        """Answer those who called while the thread was ending."""
        while True:
            try:
                _, arguments = self._inbox.get_nowait()
            except Empty:
                return
            for argument in arguments:
                if isinstance(argument, Future) and not argument.done():
                    argument.set_result(False)


def _nothing() -> None:
    """Only wake."""


def seconds_until(time: float | None) -> float | None:
    """Return the seconds until a time of `time.monotonic`; None when there is none."""
    return None if time is None else time - monotonic()
