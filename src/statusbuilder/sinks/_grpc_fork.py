"""What has to be done around a fork, so that gRPC hangs on neither side of it."""

from __future__ import annotations

import os
import weakref
from functools import cache
from time import monotonic
from typing import Any

PATIENCE = 1.0
"""Seconds that a fork waits for calls under way, in all."""

watched: weakref.WeakSet[Any] = weakref.WeakSet()
"""Lines whose `before_fork`, `after_fork_in_parent` and `after_fork` are called around forks."""


@cache
def register() -> None:
    """Begin to watch for forks; to be called after the first channel was opened."""
    # Hooks before a fork run in reverse order. gRPC registers its own with the first channel, so ours have to be
    # registered after that.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    until = monotonic() + PATIENCE
    for line in list(watched):
        line.before_fork(until)


def _after_in_parent() -> None:
    for line in list(watched):
        line.after_fork_in_parent()


def _after_in_child() -> None:
    for line in list(watched):
        line.after_fork()
