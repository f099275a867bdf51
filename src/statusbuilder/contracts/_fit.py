"""Fitting a status into a request of limited size.

What is shortened depends on the snapshot and the limit alone, never on what was sent before. A status is shortened step
by step, and each step works on one list, from its oldest item to its newest, until the request fits. What a step made
is remembered block by block, so that sending a large execution again costs what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from ..core.model.frozen import JsonObject
from ..core.model.values import Task, TaskStatus, TaskType
from ._lane import Block, Track, revised, split
from ._shorten import ERROR, LARGE, SMALL, bare, clip, ended_well, shortened

FOLDED: Final = "statusbuilder.folded"
"""The id of the task that stands for those that did not fit."""
FOLDED_SUB_AGENTS: Final = "statusbuilder.folded_sub_agents"
"""The same among an agent's sub-agents, which the wire keeps apart from its tool calls."""
FOLD_ROOM: Final = 320
"""Bytes kept free for it, at least its size."""
FRAME: Final = -1
"""The step that shortens what is not in a list."""
_ID_ROOM: Final = 64

Encode = Callable[[Any], bytes]


@attrs.frozen
class Rung:
    """One step of shortening for the items of a list."""

    shorten: Callable[[Any, Encode], bytes | None]
    """Return the item's shorter bytes, empty when it is folded away; None leaves it as the rung before did."""
    least: int = 0
    """Items of at most so many bytes are not looked at."""
    folds: bool = False


@attrs.frozen
class Tally:
    """The items that were folded away."""

    count: int
    first: tuple[tuple[int, int], str]
    """Where it was, for comparisons, and its id."""
    last: tuple[tuple[int, int], str]
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


class Column:
    """A list, or the older part of it, and what the rungs made of it."""

    __slots__ = ("_encode", "_level", "_made", "_rungs", "blocks", "tally")

    def __init__(self, rungs: Sequence[Rung], encode: Encode) -> None:
        self._rungs = rungs
        self._encode = encode
        self._made: list[list[tuple[Block, Block, Tally | None]]] = [[] for _ in rungs]
        self._level = 0
        self.blocks: list[Block] = []
        self.tally: Tally | None = None

    def start(self, blocks: list[Block]) -> None:
        """Begin again with the whole list."""
        self.blocks, self.tally, self._level = blocks, None, 0
        for made in self._made:
            del made[len(blocks) :]

    def shrink(self, total: int, room: int) -> int:
        """Apply the next rung from the oldest item on until `total` is at most `room`; return the new total."""
        level, rung = self._level, self._rungs[self._level]
        self._level += 1
        reserve = FOLD_ROOM if rung.folds and self.tally is None else 0
        total += reserve
        for number, source in enumerate(self.blocks):
            result, tally = self._block(level, number, source)
            saved = len(source.data) - len(result.data)
            if not saved:
                continue
            if total - saved <= room:
                count = _enough(source, result, total - room)
                result, saved = _mixed(source, result, count)
                tally = _tally(number, source, result) if rung.folds else None
            self.blocks[number] = result
            total -= saved
            if tally is not None:
                self.tally = tally if self.tally is None else self.tally + tally
            if total <= room:
                break
        return total if self.tally is not None else total - reserve

    def _block(self, level: int, number: int, source: Block) -> tuple[Block, Tally | None]:
        made, rung = self._made[level], self._rungs[level]
        known = made[number] if number < len(made) else None
        if known is not None and known[0] is source:
            return known[1], known[2]
        result = _applied(rung, source, None if known is None else known[1], self._encode)
        tally = _tally(number, source, result) if rung.folds else None
        made[number : number + 1] = [(source, result, tally)]
        return result, tally


def _applied(rung: Rung, source: Block, old: Block | None, encode: Encode) -> Block:
    if max(source.lengths, default=0) <= rung.least:
        return source
    pieces = source.pieces()

    def make(index: int) -> bytes:
        piece = pieces[index]
        short = rung.shorten(source.items[index], encode) if len(piece) > rung.least else None
        return piece if short is None or len(short) >= len(piece) else short

    result = revised(old, source.items, make)
    # Nothing shorter means nothing different: share the bytes.
    return source if len(result.data) == len(source.data) else result


def _enough(source: Block, result: Block, excess: int) -> int:
    """Return how many items, from the first, must be shortened to save `excess` bytes."""
    count = 0
    for before, after in zip(source.lengths, result.lengths, strict=True):
        if excess <= 0:
            break
        excess -= before - after
        count += 1
    return count


def _mixed(source: Block, result: Block, count: int) -> tuple[Block, int]:
    rest = source.part(count, len(source.items))
    short = result.part(0, count)
    mixed = Block(source.items, short.data + rest.data, short.lengths + rest.lengths)
    return mixed, len(source.data) - len(mixed.data)


def _tally(number: int, source: Block, result: Block) -> Tally | None:
    if len(source.data) == len(result.data):
        return None
    tallies = [
        _tally_of((number, index), item)
        for index, item in enumerate(source.items)
        if source.lengths[index] and not result.lengths[index]
    ]
    first, last = tallies[0], tallies[-1]
    return Tally(
        sum(tally.count for tally in tallies),
        first.first,
        last.last,
        sum(tally.failed for tally in tallies),
        sum(tally.running for tally in tallies),
    )


def _tally_of(place: tuple[int, int], item: Any) -> Tally:
    if not isinstance(item, Task):
        return Tally(max(_count(item.metadata.get(FOLDED)), 1), (place, ""), (place, ""))
    if item.task_id in (FOLDED, FOLDED_SUB_AGENTS):
        # An execution that goes on from what a backend holds may have inherited a fold.
        count, failed, running = (_count(item.metadata.get(key)) for key in ("count", "failed", "running"))
        first, last = (clip(str(item.metadata.get(key, "")), _ID_ROOM) for key in ("first", "last"))
        return Tally(max(count, 1), (place, first), (place, last), failed, running)
    name = clip(item.task_id, _ID_ROOM)
    running = not item.status.is_terminal
    return Tally(1, (place, name), (place, name), int(item.status is TaskStatus.FAILED), int(running))


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def folded_task(tally: Tally, task_type: TaskType) -> Task:
    """Return the task that stands for folded ones; COMPLETED unless not all of them were COMPLETED or SKIPPED."""
    metadata: dict[str, Any] = {"count": tally.count, "first": tally.first[1], "last": tally.last[1]}
    status = TaskStatus.COMPLETED
    if tally.running:
        status, metadata["running"] = TaskStatus.IN_PROGRESS, tally.running
    if tally.failed:
        status, metadata["failed"] = TaskStatus.FAILED, tally.failed
    return Task(
        task_id=FOLDED_SUB_AGENTS if task_type is TaskType.AGENT_INVOCATION else FOLDED,
        task_name=f"{tally.count} tasks, not shown",
        task_type=task_type,
        status=status,
        error=f"{tally.failed} of them failed" if tally.failed else None,
        metadata=JsonObject(metadata),
    )


def _cut(
    payload: int, whose: Callable[[Task], bool], error: int | None = None
) -> Callable[[Task, Encode], bytes | None]:
    def shorten(task: Task, encode: Encode) -> bytes | None:
        return encode(shortened(task, payload, error)) if whose(task) else None

    return shorten


def _failed(task: Task) -> bool:
    return task.status is TaskStatus.FAILED


def _open(task: Task) -> bool:
    return not task.status.is_terminal


def _failed_or_open(task: Task) -> bool:
    return not ended_well(task)


def _cut_error(task: Task, encode: Encode) -> bytes | None:
    if task.error is None or len(task.error) * 4 <= ERROR:
        return None
    return encode(shortened(task, SMALL if ended_well(task) else LARGE if _failed(task) else None, ERROR))


TASK_RUNGS: Final = (
    Rung(_cut(LARGE, ended_well), least=LARGE),
    Rung(_cut(SMALL, ended_well), least=SMALL),
    Rung(_cut(LARGE, _failed), least=LARGE),
    Rung(_cut_error, least=ERROR),
    Rung(lambda task, _: b"" if ended_well(task) else None, folds=True),
    Rung(_cut(LARGE, _open, ERROR), least=LARGE),
    Rung(_cut(SMALL, _failed_or_open, ERROR), least=SMALL),
    Rung(lambda task, encode: encode(bare(task)), least=64),
    Rung(lambda task, encode: b"", folds=True),
)
"""How tasks are shortened: payloads of those that ended well, large ones of those that failed, errors, those that ended
well as a whole; then payloads of open and failed ones, and at the very end these, too."""


@attrs.frozen(eq=False)
class Fitting:
    """How one contract's statuses are shortened."""

    frame: Callable[[Any, int], tuple[bytes, ...]]
    """Of a snapshot and a level: what stands before, between and after the lanes; shorter with each level."""
    steps: tuple[int, ...]
    """Which column takes its next rung, or FRAME."""
    rungs: tuple[tuple[tuple[Rung, ...], ...], ...]
    """For each lane the rungs of its columns: one, or two where the newest items are treated apart."""
    folds: tuple[Callable[[Tally], bytes], ...]
    """For each lane the item that stands for folded ones."""
    newest: int = 0
    """How many items the second column of a lane has."""

    def fit(self, tracks: Sequence[Track], snapshot: Any, room: int) -> list[bytes]:
        """Return the parts of a status of at most `room` bytes; only the frame when nothing else fits."""
        lanes = [self._started(*each) for each in zip(tracks, self.rungs, strict=True)]
        columns = [column for lane in lanes for column in lane]
        level, frame = 0, self.frame(snapshot, 0)
        lists = sum(len(block.data) for column in columns for block in column.blocks)
        for step in self.steps:
            room_left = room - sum(map(len, frame))
            if lists <= room_left:
                break
            if step == FRAME:
                level += 1
                frame = self.frame(snapshot, level)
            else:
                lists = columns[step].shrink(lists, room_left)
        parts = self._joined(lanes, frame)
        return list(frame) if sum(map(len, parts)) > room else parts

    def _started(self, track: Track, rungs: tuple[tuple[Rung, ...], ...]) -> list[Column]:
        if track.columns is None:
            track.columns = [Column(each, track.lane.encode_short) for each in rungs]
        columns: list[Column] = track.columns
        parts = split(track.blocks, self.newest) if len(columns) > 1 else (list(track.blocks),)
        for column, blocks in zip(columns, parts, strict=True):
            column.start(blocks)
        return columns

    def _joined(self, lanes: list[list[Column]], frame: tuple[bytes, ...]) -> list[bytes]:
        parts = [frame[0]]
        for columns, fold, after in zip(lanes, self.folds, frame[1:], strict=True):
            tallies = [column.tally for column in columns if column.tally is not None]
            if tallies:
                parts.append(fold(sum(tallies[1:], tallies[0])))
            parts += [block.data for column in columns for block in column.blocks]
            parts.append(after)
        return parts
