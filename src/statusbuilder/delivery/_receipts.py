"""Telling an application what became of its executions, on a thread of its own, so that no send waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from ..core.model.values import Receipt

log = logging.getLogger("statusbuilder")

PATIENCE = 0.5
"""Seconds that closing waits for the last calls."""


class Receipts:
    """Calls `on_receipt`, one call at a time; what it raises is logged and harms nothing."""

    def __init__(self, call: Callable[[Receipt], object] | None) -> None:
        self._call = call
        self._queue: SimpleQueue[Receipt | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def tell(self, receipt: Receipt) -> None:
        """Hand a receipt over; returns at once, but for the exit of the interpreter."""
        if self._call is None:
            return
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="statusbuilder-receipts", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is exiting
                self._tell(self._call, receipt)
                return
            self._thread = thread
        self._queue.put(receipt)

    def finish(self) -> None:
        """Wait a little for what was handed over."""
        self._queue.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)

    def _work(self) -> None:
        while (receipt := self._queue.get()) is not None:
            if self._call is not None:
                self._tell(self._call, receipt)

    @staticmethod
    def _tell(call: Callable[[Receipt], object], receipt: Receipt) -> None:
        try:
            call(receipt)
        except BaseException:  # nothing may end the thread
            log.exception("on_receipt failed for %r", receipt)
