"""The agent wire: `AgentExecutionStatus`.

An agent's tasks go into two lists, sub-agents and tool calls; its messages name the tool calls that they refer to.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ..agent.model import Message as AgentMessage
from ..agent.model import MessageType, Todo, TodoStatus
from ..core.model.frozen import JsonObject
from ..core.model.values import ExecutionPhase, Task, TaskStatus, TaskType
from ..payload.cut import sole_text
from ._message import Field, Message, Status
from ._read import from_text
from ._shape import AS_TEXT, METADATA, NEVER_SENT, PAYLOAD, TEXT, TIME, enum, items, mapping, part
from ._shorten import shorten_end
from ._workflow import make_task
from .wire import agent_pb2 as pb

_SKIPPED: Final = "skipped"  # the error of a task that was SKIPPED: the wire has FAILED only
_APPROVAL: Final = "approval"
_TEXTS: Final = "statusbuilder.texts"
"""In the metadata on the wire: which payloads are texts, although they look like JSON."""


class _Component(NamedTuple):
    """What says how people see a call."""

    component_type: str | None
    component_group: str | None
    layout_hint: str | None
    metadata: JsonObject


def _component(task: Task) -> _Component | None:
    metadata = _marked(task, "output")
    told = {name: value for name in _Component._fields[:3] if isinstance(value := metadata.get(name), str) and value}
    if task.task_type is TaskType.APPROVAL:
        told["component_type"] = _APPROVAL
    if not told and not metadata:
        return None
    rest = JsonObject((key, value) for key, value in metadata.items() if told.get(key) != value) if told else metadata
    return _Component(told.get("component_type"), told.get("component_group"), told.get("layout_hint"), rest)


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
    for name in values["metadata"].get(_TEXTS, ()):
        if values.get(name) is not None:
            values[name] = JsonObject(value=sole_text(values[name]))
    metadata = JsonObject((key, value) for key, value in values["metadata"].items() if key != _TEXTS)
    if values["status"] is TaskStatus.FAILED and values["error"] == _SKIPPED:
        values |= {"status": TaskStatus.SKIPPED, "error": None}
    return make_task(values | {"metadata": metadata}, default_id)


def _make_call(values: dict[str, Any], place: Any) -> Task:
    component = values.pop("component_metadata") or {"metadata": {}}
    is_approval = component.get("component_type") == _APPROVAL
    told = {key: value for key, value in component.items() if value and key != "metadata" and value != _APPROVAL}
    values["metadata"] = {**component["metadata"], **told}
    values["task_type"] = TaskType.APPROVAL if is_approval else TaskType.TOOL_CALL
    return _make_task(values, place if isinstance(place, str) else f"tool-call-{place}")


def _make_sub_agent(values: dict[str, Any], place: int) -> Task:
    return _make_task(values | {"task_type": TaskType.AGENT_INVOCATION}, f"sub-agent-{place}")


def _make_message(values: dict[str, Any], place: int) -> AgentMessage:
    values["type"] = values["type"] or MessageType.SYSTEM
    values["content"] = values["content"] or ""
    return AgentMessage(message_id=f"message-{place}", **values)


def _make_todo(values: dict[str, Any], key: str) -> Todo:
    values["todo_id"] = values["todo_id"] or key
    values["content"] = values["content"] or ""
    values["status"] = values["status"] or TodoStatus.PENDING
    return Todo(**values)


def is_sub_agent(task: Task) -> bool:
    return task.task_type is TaskType.AGENT_INVOCATION


_COMPONENT: Final = Message(
    pb.ComponentMetadata.DESCRIPTOR,
    Field("component_type", TEXT),
    Field("component_group", TEXT),
    Field("layout_hint", TEXT),
    Field("metadata", METADATA),
)
CALL: Final = Message(
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
_SUB_AGENT: Final = Message(
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
    make=_make_sub_agent,
)
_REFERENCE: Final = Message(pb.ToolCall.DESCRIPTOR, Field("id", TEXT, "task_id"), Field("name", TEXT, "task_name"))
MESSAGE: Final = Message(
    pb.AgentMessage.DESCRIPTOR,
    Field("type", enum(MessageType)),
    Field("content", TEXT),
    Field("timestamp", TIME),
    Field("tool_calls", items(_REFERENCE)),
    Field("metadata", METADATA),
    make=_make_message,
)
_TODO: Final = Message(
    pb.TodoItem.DESCRIPTOR,
    Field("id", TEXT, "todo_id"),
    Field("content", TEXT),
    Field("status", enum(TodoStatus)),
    Field("created_at", TIME),
    Field("updated_at", TIME),
    make=_make_todo,
)
STATUS: Final = Status(
    pb.AgentExecutionStatus.DESCRIPTOR,
    Field("messages", items(MESSAGE)),
    Field("phase", enum(ExecutionPhase)),
    Field("tool_calls", items(CALL), "tasks", only=lambda task: not is_sub_agent(task)),
    Field("sub_agent_executions", items(_SUB_AGENT), "tasks", only=is_sub_agent),
    Field("error", TEXT),
    Field("started_at", TIME),
    Field("completed_at", TIME),
    Field("todos", mapping(_TODO, key=lambda todo: todo.todo_id)),
    Field("callback_token", NEVER_SENT, stays=True),
    shorten=shorten_end,
)
