"""The agent wire: `AgentExecutionStatus`.

An agent's tasks go into two lists, sub-agents and tool calls; its messages name the tool calls that they refer to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from operator import itemgetter
from typing import Any, Final

import attrs

from ..agent.model import AgentSnapshot, Message, MessageType, Todo, TodoStatus
from ..core.model.frozen import JsonObject
from ..core.model.values import ExecutionPhase, Task, TaskStatus, TaskType
from ..payload.cut import sole_text
from . import _message as wire
from ._message import Field, Status
from ._shape import AS_TEXT, METADATA, NEVER_SENT, PAYLOAD, TEXT, TIME, enum, from_text, items, mapping, part
from ._shorten import shorten_end
from ._workflow import make_task
from .wire import agent_pb2 as pb

_SKIPPED: Final = "skipped"  # the error of a task that was SKIPPED: the wire has FAILED only
_APPROVAL: Final = "approval"
_SHOWN: Final = ("component_type", "component_group", "layout_hint")
_BEFORE_ALL: Final = datetime.min.replace(tzinfo=timezone.utc)
_FILLED: Final = ("input", "output", "metadata", "started_at", "completed_at")
_TEXTS: Final = "statusbuilder.texts"
"""In the metadata on the wire: which payloads are texts, although they look like JSON."""


def _component(task: Task) -> dict[str, Any] | None:
    """Return what says how people see a call; None for nothing."""
    metadata = _marked(task, "output")
    told = {name: value for name in _SHOWN if isinstance(value := metadata.get(name), str) and value}
    if task.task_type is TaskType.APPROVAL:
        told["component_type"] = _APPROVAL
    rest = JsonObject((key, value) for key, value in metadata.items() if told.get(key) != value) if told else metadata
    return {**dict.fromkeys(_SHOWN), **told, "metadata": rest} if told or metadata else None


def _marked(task: Task, *names: str) -> JsonObject:
    """Return a task's metadata, which also says which of its texts would be read as JSON."""
    marks = [name for name in names if _misleads(getattr(task, name))]
    return JsonObject({**task.metadata, _TEXTS: marks}) if marks else task.metadata


def _misleads(payload: JsonObject | None) -> bool:
    told = None if payload is None or len(payload) > 1 else payload.get("value")
    return isinstance(told, str) and told[:1] == "{" and from_text(told) != payload


def _error(task: Task) -> str | None:
    return _SKIPPED if task.status is TaskStatus.SKIPPED else task.error


def _make_task(values: dict[str, Any], default_id: str) -> Task:
    marks = values["metadata"].get(_TEXTS)
    for name in ("input", "output"):
        if isinstance(marks, list) and name in marks and values[name] is not None:
            values[name] = JsonObject(value=sole_text(values[name]))
    metadata = JsonObject((key, value) for key, value in values["metadata"].items() if key != _TEXTS)
    if values["status"] is TaskStatus.FAILED and values["error"] == _SKIPPED:
        values |= {"status": TaskStatus.SKIPPED, "error": None}
    return make_task(values | {"metadata": metadata}, default_id)


def _make_call(values: dict[str, Any], place: Any) -> Task:
    component = values.pop("component_metadata") or {"metadata": {}}
    metadata = component.pop("metadata")
    is_approval = component.get("component_type") == _APPROVAL
    if is_approval:
        del component["component_type"]
    values["metadata"] = {**metadata, **{key: value for key, value in component.items() if value}}
    values["task_type"] = TaskType.APPROVAL if is_approval else TaskType.TOOL_CALL
    return _make_task(values, place if isinstance(place, str) else f"tool-call-{place}")


def is_sub_agent(task: Task) -> bool:
    return task.task_type is TaskType.AGENT_INVOCATION


_COMPONENT: Final = wire.Message(
    pb.ComponentMetadata.DESCRIPTOR,
    *(Field(name, TEXT, itemgetter(name)) for name in _SHOWN),
    Field("metadata", METADATA, itemgetter("metadata")),
)
_CALL: Final = wire.Message(
    pb.ToolCall.DESCRIPTOR,
    Field("id", TEXT, "task_id"),
    Field("name", TEXT, "task_name"),
    Field("args", PAYLOAD, "input"),
    Field("result", AS_TEXT, "output"),
    Field("status", enum(TaskStatus, most=TaskStatus.FAILED)),
    Field("component_metadata", part(_COMPONENT), _component),
    Field("started_at", TIME),
    Field("completed_at", TIME),
    Field("error", TEXT, _error),
    make=_make_call,
)
_SUB_AGENT: Final = wire.Message(
    pb.SubAgentExecution.DESCRIPTOR,
    Field("id", TEXT, "task_id"),
    Field("name", TEXT, "task_name"),
    Field("input", AS_TEXT),
    Field("output", AS_TEXT),
    Field("status", enum(TaskStatus, most=TaskStatus.FAILED)),
    Field("started_at", TIME),
    Field("completed_at", TIME),
    Field("error", TEXT, _error),
    Field("metadata", METADATA, lambda task: _marked(task, "input", "output")),
    make=lambda values, place: _make_task(values | {"task_type": TaskType.AGENT_INVOCATION}, f"sub-agent-{place}"),
)
_REFERENCE: Final = wire.Message(pb.ToolCall.DESCRIPTOR, Field("id", TEXT, "task_id"), Field("name", TEXT, "task_name"))
_MESSAGE: Final = wire.Message(
    pb.AgentMessage.DESCRIPTOR,
    Field("type", enum(MessageType), default=MessageType.SYSTEM),
    Field("content", TEXT, default=""),
    Field("timestamp", TIME),
    Field("tool_calls", items(_REFERENCE)),
    Field("metadata", METADATA),
    make=lambda values, place: Message(message_id=f"message-{place}", **values),
)
_TODO: Final = wire.Message(
    pb.TodoItem.DESCRIPTOR,
    Field("id", TEXT, "todo_id"),
    Field("content", TEXT, default=""),
    Field("status", enum(TodoStatus), default=TodoStatus.PENDING),
    Field("created_at", TIME),
    Field("updated_at", TIME),
    make=lambda values, key: Todo(**{**values, "todo_id": values["todo_id"] or key}),
)
_TODO_PAIR: Final = wire.Message(
    pb.AgentExecutionStatus.TodosEntry.DESCRIPTOR,
    Field("key", TEXT, "todo_id"),
    Field("value", part(_TODO), lambda todo: todo),
)
STATUS: Final = Status(
    pb.AgentExecutionStatus.DESCRIPTOR,
    Field("messages", items(_MESSAGE)),
    Field("phase", enum(ExecutionPhase)),
    Field("tool_calls", items(_CALL), "tasks", only=lambda task: not is_sub_agent(task)),
    Field("sub_agent_executions", items(_SUB_AGENT), "tasks", only=is_sub_agent),
    Field("error", TEXT),
    Field("started_at", TIME),
    Field("completed_at", TIME),
    Field("todos", mapping(_TODO_PAIR, key="todo_id")),
    Field("callback_token", NEVER_SENT, stays=True),
    shorten=shorten_end,
)


# The way back: calls wherever they stand, and everything in the order in which it began


def read_snapshot(status: Any, execution_id: str) -> AgentSnapshot:
    """Read an `AgentExecutionStatus`; a call that stands only inside a message is a task, too."""
    values = STATUS.read(status)
    in_messages, messages = _messages(status, values.pop("messages"))
    # By id: where an id comes twice, which no builder takes, the later one counts.
    listed = {task.task_id: task for task in values.pop("tasks")}
    for task_id, task in in_messages.items():
        if task_id in listed:
            listed[task_id] = _filled(listed[task_id], task)
    alone = [task for task_id, task in in_messages.items() if task_id not in listed]
    calls, sub_agents = ([task for task in listed.values() if is_sub_agent(task) is wanted] for wanted in (False, True))
    tasks = [pair for group in (calls, alone, sub_agents) for pair in _begun(group)]
    tasks.sort(key=lambda pair: pair[0])
    # A map has no order; the one in which they came into being is the best there is.
    todos = sorted(values.pop("todos"), key=lambda todo: (todo.created_at or _BEFORE_ALL, todo.todo_id))
    values |= {"tasks": [task for _, task in tasks], "messages": messages, "todos": tuple(todos)}
    return AgentSnapshot(execution_id, **values)


def _messages(status: Any, read: Iterable[Message]) -> tuple[dict[str, Task], tuple[Message, ...]]:
    """Return the calls that messages have in them, and the messages, which refer to calls by id."""
    calls: dict[str, Task] = {}
    messages = []
    for message, raw in zip(read, getattr(status, "messages", None) or (), strict=True):
        references = []
        for place, call in enumerate(getattr(raw, "tool_calls", None) or (), 1):
            task = _CALL.read(call, f"{message.message_id}-call-{place}")
            if _is_more_than_named(call, task):
                calls[task.task_id] = task
            elif not getattr(call, "id", ""):
                continue
            references.append(task.task_id)
        messages.append(attrs.evolve(message, tool_calls=tuple(references)))
    return calls, tuple(messages)


def _is_more_than_named(call: Any, task: Task) -> bool:
    """Whether a call in a message is all there is of it; our messages, and others' later ones, only refer to calls."""
    named = Task(task.task_id, task.task_name, TaskType.TOOL_CALL)
    return bool(getattr(call, "status", 0)) or task != named


def _filled(task: Task, other: Task) -> Task:
    """Return a task with what only another record of it tells."""
    missing = {name: value for name in _FILLED if not getattr(task, name) and (value := getattr(other, name))}
    return attrs.evolve(task, **missing) if missing else task


def _begun(tasks: Iterable[Task]) -> Iterator[tuple[datetime, Task]]:
    """Say of each task when it started; one that has not, or does not tell, stays behind the one before it."""
    last = _BEFORE_ALL
    for task in tasks:
        last = task.started_at or last
        yield last, task
