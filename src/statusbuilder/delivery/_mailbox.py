"""A thread that is told what to do, by calls that others put into its inbox."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

log = logging.getLogger("statusbuilder")

_BATCH = 1000
"""Calls that are made before the thread looks at what they have made ready."""

_LONGEST = 3600.0
"""Seconds between two turns at most; a backend may ask for a wait that is longer than the system can wait."""


class Mailbox:
    """The base of a worker: its inbox and its thread, which is started by the first call and ends when `closed` is set.

    The inbox is a `queue.SimpleQueue`, whose `put` is safe even in finalizers and signal handlers, so that there is no
    lock that a runner could wait for.
    """

    def __init__(self) -> None:
        self.closed = False
        self._inbox: SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    # For any thread

    def post(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Have a call made on the worker's thread; False when the worker has ended."""
        if self.closed:
            return False
        self._inbox.put((call, arguments))
        if self._thread is None:
            self._start()
        return True

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
        """Work until closed."""
        while not self.closed:
            try:
                self._receive()
                self._turn()
            except Exception:
                log.exception("A delivery met a defect and goes on")
        self._refuse(self._rest())

    def _receive(self) -> None:
        wake = self._next_wake()
        wait = None if wake is None else min(max(0.0, wake - monotonic()), _LONGEST)
        try:
            call, arguments = self._inbox.get(timeout=wait)
            call(*arguments)
            for _ in range(_BATCH):
                call, arguments = self._inbox.get_nowait()
                call(*arguments)
        except Empty:
            return

    def _rest(self) -> Iterator[tuple[Callable[..., None], tuple[Any, ...]]]:
        while not self._inbox.empty():
            yield self._inbox.get()

    # The worker's part

    def _next_wake(self) -> float | None:
        """Return when the next turn is due, by `time.monotonic`; None when only a call makes one so."""
        raise NotImplementedError

    def _turn(self) -> None:
        """Do what is due."""
        raise NotImplementedError

    def _refuse(self, calls: Iterator[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
        """Answer those who called while the worker was ending."""
        raise NotImplementedError
