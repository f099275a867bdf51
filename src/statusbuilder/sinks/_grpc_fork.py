"""What has to be done around a fork, so that gRPC hangs on neither side of it."""

from __future__ import annotations

import os
import weakref
from functools import cache
from typing import Protocol


class Forkable(Protocol):
    """Has a connection that a fork should not find open."""

    def before_fork(self) -> None: ...

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
    # Hooks before a fork run in reverse order. gRPC registers its own with the first channel, and stops the threads
    # that closing has to wait for, so ours have to be registered after that.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    # With this variable gRPC hangs in the child of a fork during a call, also in one that makes no calls.
    if os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() in ("1", "true", "yes"):
        for line in list(_watched):
            line.before_fork()
            _forking.append(line)


def _after_in_parent() -> None:
    while _forking:
        _forking.pop().after_fork_in_parent()


def _after_in_child() -> None:
    _forking.clear()
    for line in list(_watched):
        line.after_fork()
