"""Lists of encoded items that are renewed only where an item changed, and fitting them into a request of limited size.

What is shortened depends on the snapshot and the limit alone, never on what was sent before. A status is shortened rung
by rung, and each rung works on one list, from its oldest item to its newest, until the request fits. What a rung made
is remembered block by block, so that sending a large execution again costs what changed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, compress
from operator import is_not
from typing import Any, Final

import attrs

from ._shorten import SHORTER_ENDS, TASK_RUNGS, Rung, Tally

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
        self.columns: list[Column] | None = None
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


# Fitting


class Column:
    """A list, or the older part of it, and what the rungs made of it."""

    __slots__ = ("_lane", "_made", "_rungs", "_whole", "blocks")

    def __init__(self, lane: Lane, rungs: Sequence[Rung | None]) -> None:
        self._lane = lane
        self._rungs = rungs
        self._made: list[list[tuple[Block, Block]]] = [[] for _ in rungs]
        self._whole: list[Block] = []
        self.blocks: list[Block] = []

    def start(self, blocks: list[Block]) -> None:
        """Begin again with the whole list."""
        self._whole, self.blocks = blocks, list(blocks)
        for made in self._made:
            del made[len(blocks) :]

    def tallies(self) -> list[Tally]:
        """Return those of the blocks in which items were folded away."""
        return [block.tally for block in self.blocks if block.tally is not None]

    def shrink(self, level: int, total: int, room: int) -> int:
        """Apply a rung from the oldest item on until `total` is at most `room`; return the new total."""
        rung = self._rungs[level] if level < len(self._rungs) else None
        if rung is None:
            return total
        reserve = self._lane.fold_room if rung.folds and not self.tallies() else 0
        total += reserve
        for number, source in enumerate(self.blocks):
            if total <= room:
                break
            result = self._block(level, rung, number, source)
            if total - (len(source.data) - len(result.data)) <= room and result is not source:
                result = _mixed(source, result, total - room)
                result = self._told(number, result) if rung.folds else result
            total -= len(source.data) - len(result.data)
            self.blocks[number] = result
        return total if not reserve or self.tallies() else total - reserve

    def _block(self, level: int, rung: Rung, number: int, source: Block) -> Block:
        made = self._made[level]
        known = made[number] if number < len(made) else None
        if known is not None and known[0] is source:
            return known[1]
        result = _applied(rung, source, None if known is None else known[1], self._lane.encode_short)
        result = self._told(number, result) if rung.folds and result is not source else result
        made[number : number + 1] = [(source, result)]
        return result

    def _told(self, number: int, block: Block) -> Block:
        """Return a block with the tally of its items that were folded away."""
        before = self._whole[number].lengths
        folded = [
            item for item, whole, left in zip(block.items, before, block.lengths, strict=True) if whole > left == 0
        ]
        tallies = list(map(Tally.of, folded))
        return attrs.evolve(block, tally=sum(tallies[1:], tallies[0]) if tallies else None)


def _applied(rung: Rung, source: Block, old: Block | None, encode: Callable[[Any], bytes]) -> Block:
    if max(source.lengths, default=0) <= rung.least:
        return source
    pieces = dict(zip(map(id, source.items), source.pieces(), strict=True))

    def make(item: Any) -> bytes:
        piece = pieces[id(item)]
        short = rung.shorten(item) if len(piece) > rung.least else item
        made = piece if short is item else b"" if short is None else encode(short)
        return made if len(made) < len(piece) else piece

    result = revised(old, source.items, make)
    # Nothing shorter means nothing different: share the bytes.
    return source if len(result.data) == len(source.data) else attrs.evolve(result, tally=source.tally)


def _mixed(source: Block, result: Block, excess: int) -> Block:
    """Return a block of which only as many items, from the first, are shortened as save `excess` bytes."""
    count = 0
    for before, after in zip(source.lengths, result.lengths, strict=True):
        if excess <= 0:
            break
        excess -= before - after
        count += 1
    rest, short = source.part(count, len(source.items)), result.part(0, count)
    return Block(source.items, short.data + rest.data, short.lengths + rest.lengths, source.tally)


def fit(tracks: Sequence[Track], frame: Callable[[int], tuple[bytes, ...]], room: int) -> list[bytes]:
    """Return the parts of a status of at most `room` bytes; only the frame when nothing else fits.

    Args:
        tracks: the lists, in the wire's order.
        frame: returns what stands before, between and after them; shorter with each level.
        room: in bytes.
    """
    columns = [_started(track) for track in tracks]
    shorter, ends = 0, frame(0)
    lists = sum(track.size for track in tracks)
    for level in range(len(TASK_RUNGS)):
        for column in (each for group in columns for each in group):
            if lists + sum(map(len, ends)) > room:
                lists = column.shrink(level, lists, room - sum(map(len, ends)))
        if level in SHORTER_ENDS and lists + sum(map(len, ends)) > room:
            shorter += 1
            ends = frame(shorter)
    parts = [ends[0]]
    for track, group, after in zip(tracks, columns, ends[1:], strict=True):
        tallies = [tally for column in group for tally in column.tallies()]
        if tallies:
            parts.append(track.lane.encode_short(track.lane.fold(sum(tallies[1:], tallies[0]))))
        parts += [block.data for column in group for block in column.blocks]
        parts.append(after)
    return list(ends) if sum(map(len, parts)) > room else parts


def _started(track: Track) -> list[Column]:
    lane = track.lane
    if track.columns is None:
        track.columns = [Column(lane, rungs) for rungs in lane.rungs]
    parts = split(track.blocks, lane.newest) if len(track.columns) > 1 else (list(track.blocks),)
    for column, blocks in zip(track.columns, parts, strict=True):
        column.start(blocks)
    return track.columns
