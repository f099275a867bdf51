"""Lists of encoded items that are renewed only where an item changed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, compress
from operator import is_not
from typing import Any, Final

import attrs

SIZE: Final = 256
"""Items a block, where a snapshot does not come in blocks; the builder's blocks have as many."""


@attrs.frozen(eq=False)
class Block:
    """Some items and their bytes, joined: one copy, so that an encoder costs little more than the request."""

    items: tuple[Any, ...]
    data: bytes
    lengths: array[int]
    """Of the items' pieces of `data`, in bytes."""

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
    """One repeated field of a status: where its items are and how each is encoded."""

    blocks: Callable[[Any], Iterable[tuple[Any, ...]]]
    """Of a snapshot; a tuple that is the same object as last time has not changed."""
    encode: Callable[[Any], bytes]
    """Of an item, with tag and length; empty when the item does not belong to the lane."""
    encode_short: Callable[[Any], bytes]
    """The same for an item that was shortened, which nobody is to remember."""


class Track:
    """What one encoder knows of one lane."""

    __slots__ = ("blocks", "columns", "lane")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.blocks: list[Block] = []
        self.columns: list[Any] | None = None
        """The shortened forms of the blocks; None as long as the whole request fits."""

    def update(self, snapshot: Any) -> None:
        """Encode what changed since the last snapshot."""
        encode, old = self.lane.encode, self.blocks
        blocks = []
        for index, items in enumerate(self.lane.blocks(snapshot)):
            known = old[index] if index < len(old) else None
            blocks.append(known if known is not None and known.items is items else _encoded(known, items, encode))
        self.blocks = blocks


def _encoded(old: Block | None, items: tuple[Any, ...], encode: Callable[[Any], bytes]) -> Block:
    return revised(old, items, lambda index: encode(items[index]))


def revised(old: Block | None, items: tuple[Any, ...], make: Callable[[int], bytes]) -> Block:
    """Return a block of `items`, with `make(index)` called only for those that are not in `old` at the same place."""
    if old is None:
        pieces = [make(index) for index in range(len(items))]
        return Block(items, b"".join(pieces), array("I", map(len, pieces)))
    kept = min(len(old.items), len(items))
    lengths = old.lengths[:kept]
    view = memoryview(old.data)
    parts: list[bytes | memoryview] = []
    taken = seen = copied = 0
    for index in compress(range(kept), map(is_not, old.items, items)):
        seen += sum(old.lengths[taken:index])
        piece = make(index)
        parts += (view[copied:seen], piece)
        lengths[index] = len(piece)
        seen += old.lengths[index]
        copied, taken = seen, index + 1
    stop = len(view) if kept == len(old.items) else seen + sum(old.lengths[taken:kept])
    parts.append(view[copied:stop])
    for index in range(kept, len(items)):
        piece = make(index)
        parts.append(piece)
        lengths.append(len(piece))
    return Block(items, b"".join(parts), lengths)


def chunked(items: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
    """Return items in tuples of `SIZE`."""
    return (tuple(items[start : start + SIZE]) for start in range(0, len(items), SIZE))


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
