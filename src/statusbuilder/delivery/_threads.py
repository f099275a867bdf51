"""Whether a thread can be started, which at the exit of the interpreter depends on its release."""

from __future__ import annotations

import threading

BLOCKING = 2.0
"""Seconds of an attempt at most, while no thread can be started and the worker has to wait for it."""


def can_start_threads() -> bool:
    """Whether a thread can be started now.

    It can while the main thread lives. After that it is tried: Python 3.12.0 and 3.12.1 start none from then on, though
    other threads may go on for hours, later ones of 3.12 none at exit, and the others always do.
    """
    if threading.main_thread().is_alive():
        return True
    try:
        threading.Thread(target=int, daemon=True).start()
    except RuntimeError:
        return False
    return True
