"""Telling an application what became of its executions, on a thread of its own, so that no send waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

log = logging.getLogger("statusbuilder")

PATIENCE = 0.5
"""Seconds that closing waits for the last calls."""


class Teller:
    """Makes an application's calls, one at a time; what they raise is logged and harms nothing."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[str, Callable[..., object], tuple[Any, ...]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def tell(self, name: str, call: Callable[..., object], *facts: Any) -> None:
        """Have a call made; returns at once, but at the exit of the interpreter."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="statusbuilder-receipts", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is exiting
                _tell(name, call, facts)
                return
            self._thread = thread
        self._queue.put((name, call, facts))

    def finish(self) -> None:
        """Wait a little for what was handed over."""
        self._queue.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            _tell(*job)
            del job  # or the last receipt would keep its sink for ever


def _tell(name: str, call: Callable[..., object], facts: tuple[Any, ...]) -> None:
    try:
        call(*facts)
    except BaseException:  # nothing may end the thread
        log.exception("%s failed for %r", name, facts[0])


def say(level: str, text: str, extra: dict[str, Any], is_loss: bool) -> None:
    """Log a line; what was lost also where the application's logging set-up has switched our logger off."""
    number = getattr(logging, level.upper())
    if log.disabled and is_loss:
        number = max(number, logging.WARNING)
        logging.getLogger().handle(log.makeRecord(log.name, number, __file__, 0, text, (), None, extra=extra))
    else:
        log.log(number, "%s", text, extra=extra)
