"""Turning the successive snapshots of one execution into requests, or into JSON of limited size."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import attrs

from ..agent.model import AgentSnapshot, Message
from ..core.model.frozen import EMPTY
from ..core.model.values import Snapshot, Task, TaskType
from . import _agent, _workflow
from ._lane import Lane, Track, chunked, fit
from ._shorten import NEW_MESSAGE_RUNGS, OLD_MESSAGE_RUNGS, TASK_RUNGS, folded_message, folded_task, shorten_end
from .codec import tag, text, varint

_EXECUTION_ID, _STATUS = tag(1), tag(2)
_NEWEST: Final = 16  # messages that stay as they are while anything else can be shortened
_FOLD_ROOM: Final = 320
_JSON_FOLD_ROOM: Final = 1024
_LISTS: Final = ("tasks", "messages")
_dumps = json.JSONEncoder(separators=(",", ":"), default=str).encode  # as Temporal's own converter writes it


class Encoder:
    """Turns the successive snapshots of one execution into requests, and encodes only what changed.

    What a request looks like depends on the snapshot and the limit alone, not on what was encoded before. An encoder
    is for one execution, and for one thread at a time.
    """

    __slots__ = ("_frame", "_tracks")

    def __init__(self, frame: Callable[[Any, int], tuple[bytes, ...]], *lanes: Lane) -> None:
        self._frame = frame
        self._tracks = tuple(map(Track, lanes))

    def encode(self, snapshot: Snapshot, max_bytes: int | None = None) -> bytes:
        """Return the serialized `…UpdateStatusInput`.

        Args:
            snapshot: of the execution that this encoder is for.
            max_bytes: the request's size at most. A snapshot that takes more is shortened: the oldest attempts first,
                then the oldest payloads, then errors, then old tasks fold into one; at the very least phase, times and
                a short error stay, even where `max_bytes` is too small for them. None sends everything.
        """
        head = text(_EXECUTION_ID, snapshot.execution_id) + _STATUS
        room = None if max_bytes is None else max_bytes - len(head) - len(varint(max(max_bytes, 0)))
        parts = self._parts(snapshot, room)
        return b"".join((head, varint(sum(map(len, parts))), *parts))

    def _parts(self, snapshot: Snapshot, room: int | None) -> list[bytes]:
        """Return the parts of the status; of at most `room` bytes, as far as that is possible."""
        for track in reversed(self._tracks):  # messages have the names of tool calls in them
            track.update(snapshot)
        ends = self._frame(snapshot, 0)
        if room is not None and sum(map(len, ends)) + sum(track.size for track in self._tracks) > room:
            return fit(self._tracks, lambda level: self._frame(snapshot, level), room)
        parts = [ends[0]]
        for track, after in zip(self._tracks, ends[1:], strict=True):
            track.columns = None
            parts += track.data
            parts.append(after)
        return parts


def _task_blocks(snapshot: Snapshot) -> Any:
    return getattr(snapshot, "_blocks", None) or chunked(snapshot.tasks)


def _message_blocks(snapshot: Snapshot) -> Any:
    if not isinstance(snapshot, AgentSnapshot):
        return ()  # of a plain builder, whose tasks an agent backend shows as well
    return getattr(snapshot, "_message_blocks", None) or chunked(snapshot.messages)


def _tasks(encode: Callable[[Task], bytes], task_type: TaskType, **more: Any) -> Lane:
    """Return the lane of tasks; `task_type` is that of the task that stands for others, `more` is for the lane."""
    fields = {"encode_short": encode, "fold_room": _FOLD_ROOM, **more}
    return Lane(_task_blocks, encode, rungs=(TASK_RUNGS,), fold=lambda tally: folded_task(tally, task_type), **fields)


def _messages(encode: Callable[[Message], bytes], **more: Any) -> Lane:
    fields = {"fold_room": _FOLD_ROOM, "newest": _NEWEST, **more}
    return Lane(_message_blocks, encode, encode, (OLD_MESSAGE_RUNGS, NEW_MESSAGE_RUNGS), folded_message, **fields)


_workflow_lane = cache(lambda: _tasks(_workflow.STATUS.write_item(_workflow.STATUS.lists[0]), TaskType.CUSTOM))
"""Remembers nothing, so that one does for all executions."""


def workflow_encoder() -> Encoder:
    """Return a new encoder of workflow executions."""
    return Encoder(_workflow.STATUS.frame, _workflow_lane())


def agent_encoder() -> Encoder:
    """Return a new encoder of agents' executions."""
    status = _agent.STATUS
    messages, calls, sub_agents = map(status.write_item, status.lists)
    names = _Names(messages, calls)
    return Encoder(
        status.frame,
        _messages(names.encode_message, is_stale=names.changed),
        _tasks(names.encode_task, TaskType.TOOL_CALL, encode_short=calls),
        _tasks(sub_agents, TaskType.AGENT_INVOCATION),
    )


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
        named: Any = [Task(call, self._names.get(call, "")) for call in message.tool_calls]
        self._missing.update(call.task_id for call in named if not call.task_name)
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


# As JSON


def fit_dict(snapshot: Snapshot, max_bytes: int, *, slim: bool = False) -> dict[str, Any]:
    """Return what `snapshot.to_dict()` does, in at most `max_bytes` bytes of compact JSON.

    A snapshot that takes more is shortened as a request is, and folds as one; `from_dict` reads it all the same.

    Args:
        snapshot: of any kind.
        max_bytes: as ASCII, in which other characters take six bytes and more.
        slim: whether what a task does not have is left out.
    """
    whole = snapshot.to_dict()
    if slim:
        whole["tasks"] = list(map(_slim, whole["tasks"]))
    if len(_dumps(whole)) <= max_bytes:
        return whole

    def encode(item: Any) -> bytes:
        return f"{_dumps(_slim(item.to_dict()) if slim else item.to_dict())},".encode()

    is_agent = isinstance(snapshot, AgentSnapshot)
    lanes = [_tasks(encode, TaskType.TOOL_CALL if is_agent else TaskType.CUSTOM, fold_room=_JSON_FOLD_ROOM)]
    if is_agent:
        lanes.append(_messages(encode, fold_room=_JSON_FOLD_ROOM))
    found = json.loads(b"".join(Encoder(_json_frame, *lanes)._parts(snapshot, max_bytes)))
    return {key: found[key][:-1] if key in _LISTS else found["rest"][key] for key in whole}


def _slim(task: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in task.items() if value not in (None, {})}


def _json_frame(snapshot: Snapshot, level: int) -> tuple[bytes, ...]:
    """Return what stands around the lists; each of them ends with a null, after the last item's comma."""
    lists = [name for name in _LISTS if hasattr(snapshot, name)]
    changes: dict[str, Any] = dict.fromkeys(lists, ())
    for key in ("error", "output", "temporal_workflow_id", "todos"):
        value = getattr(snapshot, key, None)
        if level and value:
            short = shorten_end(key, value, level)
            changes[key] = None if short == EMPTY else short
    rest = _dumps(attrs.evolve(snapshot, **changes).to_dict())
    before = [f'{"null]," if place else "{"}"{name}":[' for place, name in enumerate(lists)]
    return tuple(map(str.encode, (*before, f'null],"rest":{rest}}}')))
