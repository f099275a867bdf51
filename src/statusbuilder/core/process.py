"""What belongs to one process, so that a fork's child begins anew, whether or not a hook of Python ran."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value that each process makes for itself, when it first asks for it.

    What a child has inherited is kept and never touched: its locks may be held by threads that only the parent has, and
    closing it may harm the parent. There is no lock here, for the same reason.
    """

    __slots__ = ("__weakref__", "_make", "_values")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}

    def get(self) -> T:
        """Return the value of this process; of several threads that ask first, all get the same."""
        pid = os.getpid()
        try:
            return self._values[pid]
        except KeyError:
            return self._values.setdefault(pid, self._make())

    def peek(self) -> T | None:
        """Return the value, if this process has made it."""
        return self._values.get(os.getpid())

    def inherited(self) -> list[T]:
        """Return what the processes before this one have left in memory, the latest first."""
        pid = os.getpid()
        return [value for owner, value in reversed(self._values.items()) if owner != pid]
