"""Turning the successive snapshots of one execution into statuses, of which only what changed is encoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs

from ..agent.model import AgentSnapshot, Message
from ..core.model.values import Snapshot, Task, TaskType
from . import _agent, _workflow
from ._fit import fit, folded_message, folded_task
from ._lane import Lane, Track, chunked
from ._shorten import NEW_MESSAGE_RUNGS, OLD_MESSAGE_RUNGS, TASK_RUNGS

NEWEST = 16
"""How many messages stay as they are while anything else can be shortened."""
FOLD_ROOM = 320


class StatusEncoder:
    """Encodes one execution's statuses; for one thread at a time.

    Args:
        frame: returns what stands around a snapshot's lists; shorter with each level.
        lanes: the lists, in order.
    """

    __slots__ = ("_frame", "_tracks")

    def __init__(self, frame: Callable[[Snapshot, int], tuple[bytes, ...]], lanes: tuple[Lane, ...]) -> None:
        self._frame = frame
        self._tracks = tuple(map(Track, lanes))

    def encode(self, snapshot: Snapshot, room: int | None) -> list[bytes]:
        """Return the parts of the status; of at most `room` bytes, as far as that is possible."""
        tracks = self._tracks
        for track in reversed(tracks):  # messages have the names of tool calls in them
            track.update(snapshot)
        ends = self._frame(snapshot, 0)
        if room is not None and sum(map(len, ends)) + sum(track.size for track in tracks) > room:
            return fit(tracks, lambda level: self._frame(snapshot, level), room)
        parts = [ends[0]]
        for track, after in zip(tracks, ends[1:], strict=True):
            track.columns = None
            parts += track.data
            parts.append(after)
        return parts


def task_blocks(snapshot: Snapshot) -> Any:
    return getattr(snapshot, "_blocks", None) or chunked(snapshot.tasks)


def message_blocks(snapshot: Snapshot) -> Any:
    if not isinstance(snapshot, AgentSnapshot):
        return ()  # of a plain builder, whose tasks an agent backend shows as well
    return getattr(snapshot, "_message_blocks", None) or chunked(snapshot.messages)


def task_lane(encode: Callable[[Task], bytes], task_type: TaskType, **more: Any) -> Lane:
    """Return the lane of tasks.

    Args:
        encode: a task.
        task_type: of the task that stands for others.
        more: of `Lane`.
    """
    fields = {"encode_short": encode, "fold_room": FOLD_ROOM, **more}
    return Lane(task_blocks, encode, rungs=(TASK_RUNGS,), fold=lambda tally: folded_task(tally, task_type), **fields)


def message_lane(encode: Callable[[Message], bytes], **more: Any) -> Lane:
    """Return the lane of messages; takes what `task_lane` takes."""
    fields = {"fold_room": FOLD_ROOM, "newest": NEWEST, **more}
    rungs = OLD_MESSAGE_RUNGS, NEW_MESSAGE_RUNGS
    return Lane(message_blocks, encode, encode, rungs, folded_message, **fields)


def workflow_encoder() -> StatusEncoder:
    """Return a new encoder of workflow statuses."""
    (tasks,) = _workflow.STATUS.lists
    return StatusEncoder(_workflow.STATUS.frame, (task_lane(_workflow.STATUS.write_item(tasks), TaskType.CUSTOM),))


def agent_encoder() -> StatusEncoder:
    """Return a new encoder of agents' statuses."""
    status = _agent.STATUS
    messages, calls, sub_agents = map(status.write_item, status.lists)
    names = _Names(messages, calls)
    return StatusEncoder(
        status.frame,
        (
            message_lane(names.encode_message, is_stale=names.changed),
            task_lane(names.encode_task, TaskType.TOOL_CALL, encode_short=calls),
            task_lane(sub_agents, TaskType.AGENT_INVOCATION),
        ),
    )


class _Reference(NamedTuple):
    """A tool call that a message refers to."""

    task_id: str
    task_name: str | None


class _Names:
    """The names of the tasks, for the messages that refer to them."""

    __slots__ = ("_missing", "_names", "_stale", "_write_message", "_write_task")

    def __init__(self, write_message: Callable[[Any], bytes], write_task: Callable[[Task], bytes]) -> None:
        self._write_message = write_message
        self._write_task = write_task
        self._names: dict[str, str] = {}
        self._missing: set[str] = set()
        self._stale = False

    def encode_task(self, task: Task) -> bytes:
        known = self._names.get(task.task_id)
        if known != task.task_name:
            self._stale = self._stale or known is not None or task.task_id in self._missing
            self._names[task.task_id] = task.task_name
        return self._write_task(task)

    def encode_message(self, message: Message) -> bytes:
        if not message.tool_calls:
            return self._write_message(message)
        named: Any = [_Reference(call, self._names.get(call)) for call in message.tool_calls]
        self._missing.update(call.task_id for call in named if call.task_name is None)
        return self._write_message(attrs.evolve(message, tool_calls=named))

    def changed(self, snapshot: Snapshot) -> bool:
        """Whether messages that were encoded before have to be encoded again; call it once the tasks are."""
        if len(self._names) != len(snapshot.tasks):  # there are names of tasks that have gone
            names = {task.task_id: task.task_name for task in snapshot.tasks}
            self._stale = self._stale or names != self._names
            self._names = names
        stale, self._stale = self._stale, False
        if stale:
            self._missing.clear()
        return stale
