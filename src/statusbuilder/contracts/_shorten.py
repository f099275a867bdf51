"""Shorter forms of tasks, messages and what is around them, for requests that would be too large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import attrs

from ..agent.model import Message, MessageType
from ..core.model.frozen import EMPTY, JsonArray, JsonObject
from ..core.model.metadata import FOLDED, FOLDED_SUB_AGENTS
from ..core.model.reading import read_count
from ..core.model.values import Task, TaskStatus, TaskType
from ..payload.cut import clip, cut_metadata, known_metadata
from ..payload.cut import cut_payload as cut
from .codec import encode_struct

LARGE: Final = 2048  # bytes that a payload keeps when it is cut the first time
SMALL: Final = 256  # and the second time
_LONG: Final = 16 * 1024  # bytes that a newest message's content keeps at first
_ERROR: Final = 1024
_BARE: Final = 128  # bytes of a text when hardly anything else is left
_FORM: Final = 48  # bytes that a cut payload takes on the wire beyond those as JSON
_ALL: Final = 2**31
_ID_ROOM: Final = 64  # bytes of the ids that a fold names


class Rung(NamedTuple):
    """One step of shortening for the items of a list."""

    shorten: Callable[[Any], Any]
    """Return a shorter item; the item itself where it stays as the rung before left it, None to fold it away."""
    least: int = 0
    """Items of at most so many bytes are not looked at."""
    folds: bool = False


def is_fold(task: Task) -> bool:
    """Whether a task stands for others: one that was inherited is only ever folded again."""
    return task.task_id in (FOLDED, FOLDED_SUB_AGENTS)


def _ended_well(task: Task) -> bool:
    return task.status in (TaskStatus.COMPLETED, TaskStatus.SKIPPED)


def _failed(task: Task) -> bool:
    return task.status is TaskStatus.FAILED


def _open(task: Task) -> bool:
    return not task.status.is_terminal


def cut_payload(value: JsonObject, room: int) -> JsonObject:
    """Return a payload that takes at most `room` bytes on the wire: itself or its head and tail."""
    return value if len(encode_struct(value)) <= room else cut(value, room - _FORM)


def _cut_metadata(value: JsonObject, room: int) -> JsonObject:
    if len(encode_struct(value)) <= room:
        return value
    return cut_metadata(value, room - 2 * _FORM) if room > _BARE else JsonObject(known_metadata(value, 64))


def _tasks(whose: Callable[[Task], bool], payload: int | None = None, error: int = _ALL, attempts: int = 0) -> Rung:
    """Return the rung that leaves so many bytes of each payload and error, and so many attempts.

    A task that stands for others is only ever folded again.
    """

    def shorten(task: Task) -> Task:
        known = task.attempts
        if is_fold(task) or not whose(task) or (payload is None and len(known) <= attempts):
            return task
        kept = {"attempts": JsonArray(known[-attempts:])} if attempts else {}
        metadata = JsonObject({key: value for key, value in task.metadata.items() if key != "attempts"} | kept)
        changes: dict[str, Any] = {"error": None if task.error is None else clip(task.error, error)}
        if payload is not None:
            metadata = _cut_metadata(metadata, payload)
            changes["task_name"] = clip(task.task_name, max(payload, error))
            for name in ("input", "output"):
                value = getattr(task, name)
                changes[name] = cut_payload(value, payload) if payload and value is not None else None
        return attrs.evolve(task, metadata=metadata, **changes)

    return Rung(shorten, least=min(payload or 0, error))


_FOLD: Final = Rung(lambda item: None, folds=True)
TASK_RUNGS: Final = (
    _tasks(lambda task: True, attempts=3),
    _tasks(lambda task: True),
    _tasks(_ended_well, LARGE),
    _tasks(_ended_well, SMALL),
    _tasks(_failed, LARGE),
    _tasks(_failed, LARGE, _ERROR),
    Rung(lambda task: None if _ended_well(task) or is_fold(task) else task, folds=True),
    _tasks(_open, LARGE, _ERROR),
    _tasks(lambda task: not _ended_well(task), SMALL, _ERROR),
    _tasks(lambda task: True, 0, _BARE),
    _FOLD,
)
"""How tasks are shortened: old attempts, payloads of those that ended well, large ones of those that failed, errors,
those that ended well as a whole; then payloads of open and failed ones, and at the very end these, too."""


def _cut_message(room: int) -> Rung:
    def shorten(message: Message) -> Message:
        metadata = _cut_metadata(message.metadata, room)
        return attrs.evolve(message, content=clip(message.content, room), metadata=metadata)

    return Rung(shorten, least=room)


OLD_MESSAGE_RUNGS: Final = (None, None, _cut_message(LARGE), _cut_message(SMALL), None, None, _FOLD)
NEW_MESSAGE_RUNGS: Final = (*[None] * 7, _cut_message(_LONG), _cut_message(LARGE), _cut_message(_BARE), _FOLD)
SHORTER_ENDS: Final = (5, 7, 8, 10)
"""The rungs after which what is around the lists is shortened, each time more."""


def shorten_end(key: str, value: Any, level: int) -> Any:
    """Return a shorter value of what is in no list."""
    if key == "error":
        return clip(value, _ERROR if level < 3 else _BARE)
    if key == "output" and level > 1:
        return EMPTY if level > 3 else cut_payload(value, LARGE if level < 3 else SMALL)
    if key == "todos" and level > 1:
        room = SMALL >> (level - 2) * 2
        return [] if level > 3 else [attrs.evolve(todo, content=clip(todo.content, room)) for todo in value]
    return None if key == "temporal_workflow_id" and level > 3 else value


# What stands for items that were folded away


@attrs.frozen
class Tally:
    """The items that were folded away."""

    count: int
    first: str
    last: str
    failed: int = 0
    running: int = 0

    def __add__(self, later: Tally) -> Tally:
        failed, running = self.failed + later.failed, self.running + later.running
        return Tally(self.count + later.count, self.first, later.last, failed, running)

    @classmethod
    def of(cls, item: Task | Message) -> Tally:
        """Return the tally of one item, which may be a fold that was inherited."""
        told = item.metadata
        if isinstance(item, Message):
            return cls(max(read_count(told.get(FOLDED)), 1), "", "")
        failed, running = int(item.status is TaskStatus.FAILED), int(not item.status.is_terminal)
        if not is_fold(item):
            name = clip(item.task_id, _ID_ROOM)
            return cls(1, name, name, failed, running)
        first, last = (clip(str(told.get(key, "")), _ID_ROOM) for key in ("first", "last"))
        failed, running = max(failed, read_count(told.get("failed"))), max(running, read_count(told.get("running")))
        return cls(max(read_count(told.get("count")), 1), first, last, failed, running)


def folded_task(tally: Tally, task_type: TaskType) -> Task:
    """Return the task that stands for folded ones; COMPLETED only where all of them were COMPLETED or SKIPPED."""
    metadata: dict[str, Any] = {"count": tally.count, "first": tally.first, "last": tally.last}
    status = TaskStatus.COMPLETED
    if tally.running:
        status, metadata["running"] = TaskStatus.IN_PROGRESS, tally.running
    if tally.failed:
        status, metadata["failed"] = TaskStatus.FAILED, tally.failed
    task_id = FOLDED_SUB_AGENTS if task_type is TaskType.AGENT_INVOCATION else FOLDED
    name = f"{tally.count} task{'s' * (tally.count > 1)}, not shown"
    error = f"{tally.failed} of them failed" if tally.failed else None
    return Task(task_id, name, task_type, status=status, error=error, metadata=JsonObject(metadata))


def folded_message(tally: Tally) -> Message:
    """Return the message that stands for folded ones."""
    text = f"{tally.count} earlier message{'s' * (tally.count > 1)}, not shown"
    return Message("message-0", MessageType.SYSTEM, text, None, metadata=JsonObject({FOLDED: tally.count}))
