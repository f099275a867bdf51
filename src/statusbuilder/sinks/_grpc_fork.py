"""What has to be done around a fork, so that gRPC hangs on neither side of it."""

from __future__ import annotations

import os
import weakref
from functools import cache
from time import monotonic
from typing import Protocol

PATIENCE = 1.0
"""Seconds that a fork waits for calls under way, in all."""


class Forkable(Protocol):
    """Makes calls that a fork should not find under way."""

    def before_fork(self, until: float) -> None: ...

    def after_fork_in_parent(self) -> None: ...

    def after_fork(self) -> None: ...


_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()
_forking: list[Forkable] = []


def watch(line: Forkable) -> None:
    """Call the line's methods around forks."""
    _watched.add(line)


@cache
def register() -> None:
    """Begin to watch for forks; to be called after the first channel was opened."""
    # Hooks before a fork run in reverse order. gRPC registers its own with the first channel, so ours have to be
    # registered after that.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    until = monotonic() + PATIENCE
    for line in list(_watched):
        line.before_fork(until)
        _forking.append(line)


def _after_in_parent() -> None:
    while _forking:
        _forking.pop().after_fork_in_parent()


def _after_in_child() -> None:
    _forking.clear()
    for line in list(_watched):
        line.after_fork()
