"""Lists of encoded items that are renewed only where an item changed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, compress
from operator import is_not
from typing import Any, Final

import attrs

from ._shorten import Rung, Tally

SIZE: Final = 256
"""Items a block, where a snapshot does not come in blocks; the builder's blocks have as many."""


@attrs.frozen(eq=False)
class Block:
    """Some items and their bytes, joined: one copy, so that an encoder costs little more than the request."""

    items: tuple[Any, ...]
    data: bytes
    lengths: array[int]
    """Of the items' pieces of `data`, in bytes."""
    tally: Tally | None = None
    """Of the items that were folded away."""

    def pieces(self) -> list[bytes]:
        """Return the bytes of each item."""
        ends = list(accumulate(self.lengths))
        return [self.data[end - length : end] for end, length in zip(ends, self.lengths, strict=True)]

    def part(self, start: int, stop: int) -> Block:
        """Return the block of `items[start:stop]`."""
        skipped = sum(self.lengths[:start])
        lengths = self.lengths[start:stop]
        return Block(self.items[start:stop], self.data[skipped : skipped + sum(lengths)], lengths)


@attrs.frozen(eq=False)
class Lane:
    """One list of a status: where its items are, and how they are encoded and shortened."""

    blocks: Callable[[Any], Sequence[tuple[Any, ...]]]
    """Of a snapshot; a tuple that is the same object as last time has not changed."""
    encode: Callable[[Any], bytes]
    """Of an item, with all that is around it; empty when the item does not belong to the lane."""
    encode_short: Callable[[Any], bytes]
    """The same for an item that was shortened, which nobody is to remember."""
    rungs: tuple[tuple[Rung | None, ...], ...]
    """Of all items; or of the old ones and of the newest ones, which are treated apart."""
    fold: Callable[[Tally], Any]
    """Makes the item that stands for folded ones."""
    fold_room: int
    """Bytes kept free for it, at least its size."""
    newest: int = 0
    """How many items are the newest ones."""
    is_stale: Callable[[Any], bool] = lambda snapshot: False
    """Whether all has to be encoded again, although no item changed."""


class Track:
    """What one encoder knows of one lane."""

    __slots__ = ("_items", "blocks", "columns", "data", "lane", "size")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self._forget()

    def _forget(self) -> None:
        self.columns: list[Any] | None = None
        """The shortened forms of the blocks; None as long as the whole request fits."""
        self._items: Sequence[tuple[Any, ...]] = ()
        self.blocks: list[Block] = []
        self.data: list[bytes] = []
        """That of each block."""
        self.size = 0
        """All of it, in bytes."""

    def update(self, snapshot: Any) -> None:
        """Encode what changed since the last snapshot."""
        if self.lane.is_stale(snapshot):
            self._forget()
        known, present = self._items, self.lane.blocks(snapshot)
        blocks, data, kept = self.blocks, self.data, min(len(known), len(present))
        for index in (*compress(range(kept), map(is_not, known, present)), *range(kept, len(present))):
            items = present[index]
            made = revised(blocks[index] if index < kept else None, items, self.lane.encode)
            self.size += len(made.data) - (len(data[index]) if index < kept else 0)
            blocks[index : index + 1] = [made]
            data[index : index + 1] = [made.data]
        self.size -= sum(map(len, data[len(present) :]))
        del blocks[len(present) :], data[len(present) :]
        self._items = present


def revised(old: Block | None, items: tuple[Any, ...], make: Callable[[Any], bytes]) -> Block:
    """Return a block of `items`, with `make(item)` called only for those that are not in `old` at the same place."""
    if old is None:
        pieces = list(map(make, items))
        return Block(items, b"".join(pieces), array("I", map(len, pieces)))
    kept = min(len(old.items), len(items))
    lengths = old.lengths[:kept]
    view = memoryview(old.data)
    parts: list[bytes | memoryview] = []
    taken = seen = copied = 0
    for index in compress(range(kept), map(is_not, old.items, items)):
        seen += sum(old.lengths[taken:index])
        piece = make(items[index])
        parts += (view[copied:seen], piece)
        lengths[index] = len(piece)
        seen += old.lengths[index]
        copied, taken = seen, index + 1
    stop = len(view) if kept == len(old.items) else seen + sum(old.lengths[taken:kept])
    added = list(map(make, items[kept:]))
    lengths.extend(map(len, added))
    return Block(items, b"".join((*parts, view[copied:stop], *added)), lengths)


def chunked(items: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return items in tuples of `SIZE`."""
    return [tuple(items[start : start + SIZE]) for start in range(0, len(items), SIZE)]


def split(blocks: Sequence[Block], newest: int) -> tuple[list[Block], list[Block]]:
    """Return the blocks without the last `newest` items, and those items' blocks."""
    early, late = list(blocks), list[Block]()
    while early and newest > 0:
        block = early.pop()
        size = len(block.items)
        if size > newest:
            early.append(block.part(0, size - newest))
            block = block.part(size - newest, size)
        late.insert(0, block)
        newest -= size
    return early, late
