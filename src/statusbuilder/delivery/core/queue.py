"""Which execution is served next, and what is looked at later."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from math import inf
from typing import Generic, TypeVar

from .values import Rank

T = TypeVar("T", bound=Hashable)

_MOST_STALE = 100
"""Entries of a heap that nobody waits for any more, beside as many as somebody does."""


class ReadyQueue(Generic[T]):
    """What may be sent now: the better rank first, then whoever waits longest."""

    def __init__(self) -> None:
        self._queues: tuple[OrderedDict[T, None], ...] = tuple(OrderedDict() for _ in Rank)
        self.ranks: dict[T, Rank] = {}
        """What is queued."""

    @property
    def best(self) -> int:
        """The rank of what is served first."""
        return next((rank for rank, queue in enumerate(self._queues) if queue), len(self._queues))

    @property
    def first(self) -> T:
        """What is served first; there is something."""
        return next(iter(self._queues[self.best]))

    def push(self, item: T, rank: Rank) -> None:
        """Queue an item, or move it to another rank; it keeps its place in its own."""
        if self.ranks.get(item) is not rank:
            self.remove(item)
            self.ranks[item] = rank
            self._queues[rank][item] = None

    def pop(self) -> T:
        """Take the item that is to be served first; there is one."""
        item = self.first
        self.remove(item)
        return item

    def remove(self, item: T) -> None:
        """Take an item out, if it is queued."""
        rank = self.ranks.pop(item, None)
        if rank is not None:
            del self._queues[rank][item]


class Timers(Generic[T]):
    """What is to be looked at later; each item once."""

    def __init__(self) -> None:
        self.at = inf
        """Nothing is due before that; never without an item."""
        self._times: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._ticket = 0

    def __contains__(self, item: T) -> bool:
        return item in self._times

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._times))

    def set(self, item: T, time: float) -> None:
        """Look at the item at that time, and not at another one; not at all, where that never comes."""
        if time == inf:
            self._times.pop(item, None)
        elif self._times.get(item) != time:
            self._times[item] = time
            self._ticket += 1
            if len(self._heap) > 2 * len(self._times) + _MOST_STALE:
                self._heap = [entry for entry in self._heap if self._times.get(entry[2]) == entry[0]]
                heapq.heapify(self._heap)
            heapq.heappush(self._heap, (time, self._ticket, item))
            self.at = self._heap[0][0]

    def remove(self, item: T) -> None:
        """Do not look at the item."""
        self._times.pop(item, None)

    def next(self) -> float:
        """Return when the next item is due; never without one."""
        heap = self._heap
        while heap and self._times.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        self.at = heap[0][0] if heap else inf
        return self.at

    def pop_due(self, now: float) -> list[T]:
        """Take out the items that are due."""
        due: list[T] = []
        while self.at <= now and self.next() <= now:
            item = heapq.heappop(self._heap)[2]
            del self._times[item]
            due.append(item)
        return due
