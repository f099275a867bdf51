"""An append-and-replace list whose immutable copy costs as much as what changed."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

SIZE = 256
"""Items a block; 256 keeps both the joining of blocks and the renewal of one cheap at 10,000 items."""


class Blocks(Generic[T]):
    """Items in order, and the same items in tuples of `SIZE` that are renewed only where an item changed."""

    __slots__ = ("_blocks", "_items", "_stale")

    def __init__(self) -> None:
        self._items: list[T] = []
        self._blocks: list[tuple[T, ...]] = []
        self._stale: set[int] = set()

    def put(self, index: int, item: T) -> None:
        """Replace the item at `index`, or append it when `index` is the length."""
        if index == len(self._items):
            self._items.append(item)
        else:
            self._items[index] = item
        self._stale.add(index // SIZE)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> T:
        return self._items[index]

    def append(self, item: T) -> int:
        """Add an item at the end; returns its index."""
        index = len(self._items)
        self.put(index, item)
        return index

    def freeze(self) -> tuple[tuple[T, ...], tuple[tuple[T, ...], ...]]:
        """Return all items, and the blocks; a block without a change is the same object as before."""
        for number in sorted(self._stale):
            block = tuple(self._items[number * SIZE : (number + 1) * SIZE])
            self._blocks[number : number + 1] = [block]
        self._stale.clear()
        return tuple(self._items), tuple(self._blocks)
