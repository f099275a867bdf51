"""Which execution is served next, and which one later."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from ._slot import Slot

TERMINAL, PHASE, OTHER = range(3)
"""Ranks: terminal states first, then other changes of phase, then the longest waiting."""


class ReadyQueue:
    """The slots that may be sent now."""

    def __init__(self) -> None:
        self._ranks: tuple[OrderedDict[Slot, None], ...] = (OrderedDict(), OrderedDict(), OrderedDict())

    def __len__(self) -> int:
        return sum(map(len, self._ranks))

    def push(self, slot: Slot, rank: int) -> None:
        """Queue a slot, or move it forward to a better rank."""
        if slot.rank is not None and slot.rank <= rank:
            return
        self.remove(slot)
        slot.rank = rank
        self._ranks[rank][slot] = None

    def pop(self) -> Slot:
        """Take the slot that is to be served first; the queue is not empty."""
        queue = next(queue for queue in self._ranks if queue)
        slot, _ = queue.popitem(last=False)
        slot.rank = None
        return slot

    def remove(self, slot: Slot) -> None:
        """Take a slot out, if it is queued."""
        if slot.rank is not None:
            del self._ranks[slot.rank][slot]
            slot.rank = None


class Timed(Protocol):
    """What can be looked at later."""

    timer: float | None
    """When; None while it is not to be looked at."""


_T = TypeVar("_T", bound=Timed)


class Timers(Generic[_T]):
    """What is to be looked at later, by `time.monotonic`."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _T]] = []
        self._ticket = count()

    def set(self, item: _T, time: float) -> None:
        """Look at the item at that time, or earlier where it was set to an earlier one."""
        if item.timer is None or time < item.timer:
            item.timer = time
            heapq.heappush(self._heap, (time, next(self._ticket), item))

    def next(self) -> float | None:
        """Return when the next item is due; None without one."""
        while self._heap and self._heap[0][2].timer != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float, most: int | None = None) -> list[_T]:
        """Take out the items that are due, `most` of them at most."""
        due: list[_T] = []
        while (time := self.next()) is not None and time <= now and (most is None or len(due) < most):
            item = heapq.heappop(self._heap)[2]
            item.timer = None
            due.append(item)
        return due
