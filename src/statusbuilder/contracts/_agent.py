"""An agent's snapshot on the agent wire: `AgentExecutionStatus`.

Its tasks go into two lists, sub-agents and tool calls; its messages name the tool calls that they refer to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from ..agent.model import AgentSnapshot, Message, Todo
from ..core.model.frozen import EMPTY, JsonObject
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType
from ._fit import FOLDED, FRAME, TASK_RUNGS, Encode, Fitting, Rung, Tally, folded_task
from ._lane import Lane, Track, chunked
from ._shorten import BARE, ERROR, LARGE, SMALL, clip, cut_payload
from ._workflow import task_blocks
from .codec import delimited, number, payload, tag, text, time, to_text, utf8

NEWEST: Final = 16
"""How many messages stay as they are while anything else can be shortened."""
SKIPPED: Final = "skipped"
"""The error of a task that was SKIPPED: the wire has FAILED only."""
_LONG: Final = 16 * 1024  # bytes that a newest message's content keeps at first
_SYSTEM: Final = 4

# AgentExecutionStatus
_MESSAGE, _TOOL_CALL, _SUB_AGENT, _ERROR = tag(1), tag(3), tag(4), tag(6)
_STARTED_AT, _COMPLETED_AT, _TODO = tag(7), tag(8), tag(9)
# The first four fields of the smaller messages
_1, _2, _3, _4, _5, _6, _7, _8, _9 = (tag(field) for field in range(1, 10))
_STATUSES: Final = {status: number(5, min(status, TaskStatus.FAILED)) for status in TaskStatus}


def _error(task: Task) -> str | None:
    return SKIPPED if task.status is TaskStatus.SKIPPED else task.error


def encode_tool_call(task: Task) -> bytes:
    """Return the task as an entry of `tool_calls`; nothing for a sub-agent."""
    if task.task_type is TaskType.AGENT_INVOCATION:
        return b""
    data = b"".join(
        (
            text(_1, task.task_id),
            text(_2, task.task_name),
            payload(_3, task.input),
            text(_4, to_text(task.output)),
            _STATUSES[task.status],
            delimited(_6, payload(_4, task.metadata)) if task.metadata else b"",
            time(_7, task.started_at),
            time(_8, task.completed_at),
            text(_9, _error(task)),
        )
    )
    return delimited(_TOOL_CALL, data)


def encode_sub_agent(task: Task) -> bytes:
    """Return the task as an entry of `sub_agent_executions`; nothing for a tool call."""
    if task.task_type is not TaskType.AGENT_INVOCATION:
        return b""
    data = b"".join(
        (
            text(_1, task.task_id),
            text(_2, task.task_name),
            text(_3, to_text(task.input)),
            text(_4, to_text(task.output)),
            _STATUSES[task.status],
            time(_6, task.started_at),
            time(_7, task.completed_at),
            text(_8, _error(task)),
            payload(_9, task.metadata or None),
        )
    )
    return delimited(_SUB_AGENT, data)


def _todo(todo: Todo) -> bytes:
    data = b"".join(
        (
            text(_1, todo.todo_id),
            text(_2, todo.content),
            number(3, todo.status),
            time(_4, todo.created_at),
            time(_5, todo.updated_at),
        )
    )
    # A map entry always has both, also when one is empty.
    return delimited(_TODO, delimited(_1, utf8(todo.todo_id)) + delimited(_2, data))


class _Calls:
    """The names of the tool calls, for the messages that refer to them."""

    __slots__ = ("_missing", "_names", "_stale")

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._missing: set[str] = set()
        self._stale = False

    def encode(self, task: Task) -> bytes:
        known = self._names.get(task.task_id)
        if known != task.task_name:
            self._stale = self._stale or known is not None or task.task_id in self._missing
            self._names[task.task_id] = task.task_name
        return encode_tool_call(task)

    def encode_message(self, message: Message) -> bytes:
        data = b"".join(
            (
                number(1, message.type),
                text(_2, message.content),
                time(_3, message.timestamp),
                *map(self._reference, message.tool_calls),
                payload(_5, message.metadata or None),
            )
        )
        return delimited(_MESSAGE, data)

    def _reference(self, task_id: str) -> bytes:
        name = self._names.get(task_id)
        if name is None:
            self._missing.add(task_id)
        return delimited(_4, text(_1, task_id) + text(_2, name))

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


class _Messages(Track):
    """The messages' track, which starts anew when a tool call has got another name."""

    __slots__ = ("_calls",)

    def __init__(self, calls: _Calls) -> None:
        super().__init__(Lane(_message_blocks, calls.encode_message, calls.encode_message))
        self._calls = calls

    def update(self, snapshot: Snapshot) -> None:
        if self._calls.changed(snapshot):
            self.blocks, self.columns = [], None
        super().update(snapshot)


def _message_blocks(snapshot: Snapshot) -> Iterable[tuple[Message, ...]]:
    if not isinstance(snapshot, AgentSnapshot):
        return ()  # of a plain builder, whose tasks an agent backend shows as well
    return getattr(snapshot, "_message_blocks", None) or chunked(snapshot.messages)


_SUB_AGENTS: Final = Lane(task_blocks, encode_sub_agent, encode_sub_agent)


def tracks() -> tuple[Track, ...]:
    """Return what a new encoder starts with."""
    calls = _Calls()
    return _Messages(calls), Track(Lane(task_blocks, calls.encode, encode_tool_call)), Track(_SUB_AGENTS)


def _cut(room: int) -> Callable[[Message, Encode], bytes]:
    def shorten(message: Message, encode: Encode) -> bytes:
        metadata = cut_payload(message.metadata, room)
        return encode(attrs.evolve(message, content=clip(message.content, room), metadata=metadata))

    return shorten


def _bare(message: Message, encode: Encode) -> bytes:
    return encode(attrs.evolve(message, content=clip(message.content, BARE), metadata=EMPTY, tool_calls=()))


_FOLD: Final = Rung(lambda message, encode: b"", folds=True)
_OLD_MESSAGES: Final = (Rung(_cut(LARGE), least=LARGE), Rung(_cut(SMALL), least=SMALL), _FOLD)
_NEW_MESSAGES: Final = (Rung(_cut(_LONG), least=_LONG), Rung(_cut(LARGE), least=LARGE), Rung(_bare, least=64), _FOLD)


def _folded_message(tally: Tally) -> bytes:
    note = text(_2, f"{tally.count} earlier messages, not shown")
    return delimited(_MESSAGE, number(1, _SYSTEM) + note + payload(_5, JsonObject({FOLDED: tally.count})))


def _frame(snapshot: Snapshot, level: int) -> tuple[bytes, bytes, bytes, bytes]:
    error = snapshot.error if snapshot.phase is ExecutionPhase.FAILED else None
    if error is not None and level:
        error = clip(error, ERROR if level < 3 else BARE)
    present = snapshot.todos if isinstance(snapshot, AgentSnapshot) and level < 4 else ()
    todos = {todo.todo_id: todo for todo in present}
    if level > 1:
        todos = {
            key: attrs.evolve(todo, content=clip(todo.content, SMALL >> (level - 2) * 2)) for key, todo in todos.items()
        }
    rest = (
        text(_ERROR, error),
        time(_STARTED_AT, snapshot.started_at),
        time(_COMPLETED_AT, snapshot.completed_at),
        *(_todo(todos[key]) for key in sorted(todos)),
    )
    return b"", number(2, snapshot.phase), b"", b"".join(rest)


_OLD, _NEW, _TOOLS, _SUBS = range(4)
FITTING: Final = Fitting(
    frame=_frame,
    # Old payloads, errors, old items; then the same for the newest messages and for what failed or is open.
    steps=(
        *(_OLD, _TOOLS, _SUBS) * 2,
        *(_TOOLS, _SUBS) * 2,
        FRAME,
        *(_OLD, _TOOLS, _SUBS),
        *(_NEW, _TOOLS, _SUBS, FRAME) * 2,
        *(_NEW, _TOOLS, _SUBS) * 2,
        FRAME,
    ),
    rungs=((_OLD_MESSAGES, _NEW_MESSAGES), (TASK_RUNGS,), (TASK_RUNGS,)),
    folds=(
        _folded_message,
        lambda tally: encode_tool_call(folded_task(tally, TaskType.TOOL_CALL)),
        lambda tally: encode_sub_agent(folded_task(tally, TaskType.AGENT_INVOCATION)),
    ),
    newest=NEWEST,
)


def call_statuses(status: Any) -> tuple[tuple[str, int], ...]:
    """Return the ids and status numbers of an `AgentExecutionStatus`: tool calls, then sub-agents."""
    return tuple((call.id, call.status) for calls in (status.tool_calls, status.sub_agent_executions) for call in calls)
