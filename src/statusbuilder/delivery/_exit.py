"""What is done as the process ends, or as a child of it begins."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any

from ..core.process import PerProcess
from ..core.waits import wait
from ._shell import Shell

GRACE = 0.5
"""Seconds that a close waits for the delivery's thread beyond the deadline, which the thread keeps by itself."""

_live: weakref.WeakKeyDictionary[PerProcess[Shell], float] = weakref.WeakKeyDictionary()
_finalized: set[int] = set()


def close_at_exit(make: Callable[[], Shell], timeout: float) -> PerProcess[Shell]:
    """Return a shell for each process, which delivers what is outstanding as it ends, within `timeout` seconds."""

    def begin() -> Shell:
        _finalize_child()
        return make()

    shells = PerProcess(begin)
    _live[shells] = timeout
    return shells


def close_early(shells: PerProcess[Shell]) -> None:
    """Close before the exits of what was made until now, such as a provider of OpenTelemetry that the sink uses."""
    atexit.register(_at_exit, weakref.ref(shells))


def _finalize_child() -> None:
    """See to a child of `multiprocessing`, which ends without the interpreter's exit; once."""
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is None or processes.parent_process() is None or os.getpid() in _finalized:
        return
    _finalized.add(os.getpid())
    from multiprocessing.util import Finalize

    Finalize(None, _at_exit, exitpriority=0)


def _at_exit(only: Callable[[], PerProcess[Shell] | None] | None = None) -> None:
    started = monotonic()
    closing = []
    # All begin before any is waited for, so that they share the time.
    for shells, timeout in list(_live.items()):
        if only is not None and shells is not only():
            continue
        shell, future = shells.peek(), Future[bool]()
        if shell is not None and shell.has_work and shell.post(shell.close, started + timeout, True, future):
            closing.append((shell, future, timeout))
    for shell, future, timeout in closing:
        shell.finish()
        wait([future], started + timeout + GRACE)


atexit.register(_at_exit)
