"""Fitting a status into a request of limited size.

What is shortened depends on the snapshot and the limit alone, never on what was sent before. A status is shortened rung
by rung, and each rung works on one list, from its oldest item to its newest, until the request fits. What a rung made
is remembered block by block, so that sending a large execution again costs what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from ..agent.model import Message, MessageType
from ..core.model.frozen import JsonObject
from ..core.model.metadata import FOLDED, FOLDED_SUB_AGENTS
from ..core.model.reading import read_count
from ..core.model.values import Task, TaskStatus, TaskType
from ..payload.cut import clip
from ._lane import Block, Lane, Track, revised, split
from ._shorten import SHORTER_ENDS, TASK_RUNGS, Rung, is_fold

_ID_ROOM: Final = 64  # bytes of the ids that a fold names

_Place = tuple[int, int, str]
"""Which block, which item in it, and its id."""


@attrs.frozen
class Tally:
    """The items that were folded away."""

    count: int
    first: _Place
    last: _Place
    failed: int = 0
    running: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.count + other.count,
            min(self.first, other.first),
            max(self.last, other.last),
            self.failed + other.failed,
            self.running + other.running,
        )

    @classmethod
    def of(cls, item: Task | Message, block: int, index: int) -> Tally:
        """Return the tally of one item, which may be a fold that was inherited."""
        metadata = item.metadata
        if isinstance(item, Message):
            return cls(max(read_count(metadata.get(FOLDED)), 1), (block, index, ""), (block, index, ""))
        count, failed, running = 1, int(item.status is TaskStatus.FAILED), int(not item.status.is_terminal)
        names = [item.task_id] * 2
        if is_fold(item):
            count = max(read_count(metadata.get("count")), 1)
            failed = max(failed, read_count(metadata.get("failed")))
            running = max(running, read_count(metadata.get("running")))
            names = [str(metadata.get(key, "")) for key in ("first", "last")]
        first, last = ((block, index, clip(name, _ID_ROOM)) for name in names)
        return cls(count, first, last, failed, running)


def folded_task(tally: Tally, task_type: TaskType) -> Task:
    """Return the task that stands for folded ones; COMPLETED only where all of them were COMPLETED or SKIPPED."""
    metadata: dict[str, Any] = {"count": tally.count, "first": tally.first[2], "last": tally.last[2]}
    status = TaskStatus.COMPLETED
    if tally.running:
        status, metadata["running"] = TaskStatus.IN_PROGRESS, tally.running
    if tally.failed:
        status, metadata["failed"] = TaskStatus.FAILED, tally.failed
    return Task(
        task_id=FOLDED_SUB_AGENTS if task_type is TaskType.AGENT_INVOCATION else FOLDED,
        task_name=f"{tally.count} task{'s' * (tally.count > 1)}, not shown",
        task_type=task_type,
        status=status,
        error=f"{tally.failed} of them failed" if tally.failed else None,
        metadata=JsonObject(metadata),
    )


def folded_message(tally: Tally) -> Message:
    """Return the message that stands for folded ones."""
    text = f"{tally.count} earlier message{'s' * (tally.count > 1)}, not shown"
    return Message("message-0", MessageType.SYSTEM, text, None, metadata=JsonObject({FOLDED: tally.count}))


class Column:
    """A list, or the older part of it, and what the rungs made of it."""

    __slots__ = ("_lane", "_made", "_rungs", "blocks", "tally")

    def __init__(self, lane: Lane, rungs: Sequence[Rung | None]) -> None:
        self._lane = lane
        self._rungs = rungs
        self._made: list[list[tuple[Block, Block, Tally | None]]] = [[] for _ in rungs]
        self.blocks: list[Block] = []
        self.tally: Tally | None = None

    def start(self, blocks: list[Block]) -> None:
        """Begin again with the whole list."""
        self.blocks, self.tally = blocks, None
        for made in self._made:
            del made[len(blocks) :]

    def shrink(self, level: int, total: int, room: int) -> int:
        """Apply a rung from the oldest item on until `total` is at most `room`; return the new total."""
        rung = self._rungs[level] if level < len(self._rungs) else None
        if rung is None:
            return total
        reserve = self._lane.fold_room if rung.folds and self.tally is None else 0
        total += reserve
        for number, source in enumerate(self.blocks):
            if total <= room:
                break
            result, tally = self._block(level, rung, number, source)
            saved = len(source.data) - len(result.data)
            if not saved:
                continue
            if total - saved <= room:
                result = _mixed(source, result, total - room)
                tally = _tally(number, source, result) if rung.folds else None
            total -= len(source.data) - len(result.data)
            self.blocks[number] = result
            if tally is not None:
                self.tally = tally if self.tally is None else self.tally + tally
        return total if self.tally is not None else total - reserve

    def _block(self, level: int, rung: Rung, number: int, source: Block) -> tuple[Block, Tally | None]:
        made = self._made[level]
        known = made[number] if number < len(made) else None
        if known is not None and known[0] is source:
            return known[1], known[2]
        result = _applied(rung, source, None if known is None else known[1], self._lane.encode_short)
        tally = _tally(number, source, result) if rung.folds else None
        made[number : number + 1] = [(source, result, tally)]
        return result, tally


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
    return source if len(result.data) == len(source.data) else result


def _mixed(source: Block, result: Block, excess: int) -> Block:
    """Return a block of which only as many items, from the first, are shortened as save `excess` bytes."""
    count = 0
    for before, after in zip(source.lengths, result.lengths, strict=True):
        if excess <= 0:
            break
        excess -= before - after
        count += 1
    rest, short = source.part(count, len(source.items)), result.part(0, count)
    return Block(source.items, short.data + rest.data, short.lengths + rest.lengths)


def _tally(number: int, source: Block, result: Block) -> Tally | None:
    gone = [
        Tally.of(item, number, index)
        for index, (item, before, after) in enumerate(zip(source.items, source.lengths, result.lengths, strict=True))
        if before and not after
    ]
    return sum(gone[1:], gone[0]) if gone else None


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
        tallies = [column.tally for column in group if column.tally is not None]
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
