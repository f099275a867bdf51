"""The way back from the agent wire."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from ..agent.model import AgentSnapshot, Message, MessageType, Todo, TodoStatus
from ..core.model.frozen import EMPTY, JsonObject, freeze
from ..core.model.times import from_millis
from ..core.model.values import Task, TaskStatus, TaskType
from ._agent import SKIPPED
from ._read import Read
from .codec import to_text


def read_snapshot(status: Any, execution_id: str) -> AgentSnapshot:
    """Read an `AgentExecutionStatus`; tool calls come first among the tasks, then sub-agents."""
    read = Read(status)
    # By id: where an id comes twice, which no builder takes, the later one counts.
    tasks = tuple({task.task_id: task for task in _tasks(read)}.values())
    return AgentSnapshot(
        execution_id=execution_id,
        phase=read.phase(),
        tasks=tasks,
        error=read.text("error"),
        started_at=read.time("started_at"),
        completed_at=read.time("completed_at"),
        messages=tuple(_message(place, message) for place, message in enumerate(read.items("messages"), 1)),
        todos=_todos(read),
    )


def _tasks(read: Read) -> Iterable[Task]:
    for place, call in enumerate(read.items("tool_calls"), 1):
        fields = Read(call)
        component = fields.message("component_metadata")
        yield _task(
            fields,
            f"tool-call-{place}",
            task_type=TaskType.TOOL_CALL,
            input=fields.payload("args"),
            output=_from_text(fields.text("result")),
            metadata=Read(component).payload("metadata") or EMPTY,
        )
    for place, agent in enumerate(read.items("sub_agent_executions"), 1):
        fields = Read(agent)
        yield _task(
            fields,
            f"sub-agent-{place}",
            task_type=TaskType.AGENT_INVOCATION,
            input=_from_text(fields.text("input")),
            output=_from_text(fields.text("output")),
            metadata=fields.payload("metadata") or EMPTY,
        )


def _task(read: Read, default_id: str, **fields: Any) -> Task:
    task_id = read.text("id") or default_id
    started_at = read.time("started_at")
    status = read.enum("status", TaskStatus, TaskStatus.IN_PROGRESS if started_at else TaskStatus.PENDING)
    error = read.text("error")
    if status is TaskStatus.FAILED and error == SKIPPED:
        status, error = TaskStatus.SKIPPED, None
    return Task(
        task_id=task_id,
        task_name=read.text("name") or task_id,
        status=status,
        error=error,
        started_at=started_at,
        completed_at=read.time("completed_at"),
        **fields,
    )


def _from_text(text: str | None) -> JsonObject | None:
    if text is None:
        return None
    try:
        value = json.loads(text, parse_constant=_refuse)
        # Only what comes out as the same text again was JSON of ours.
        if isinstance(value, dict) and to_text(value) == text:
            return freeze(value)  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        pass
    return JsonObject(value=text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _message(place: int, message: Any) -> Message:
    read = Read(message)
    return Message(
        message_id=f"message-{place}",
        type=read.enum("type", MessageType, MessageType.SYSTEM),
        content=read.text("content") or "",
        timestamp=read.time("timestamp"),
        tool_calls=tuple(call_id for call in read.items("tool_calls") if (call_id := Read(call).text("id"))),
        metadata=read.payload("metadata") or EMPTY,
    )


def _todos(read: Read) -> tuple[Todo, ...]:
    entries = read.mapping("todos")
    todos = [_todo(key, Read(entries[key])) for key in entries]
    # A map has no order; the one in which they came into being is the best there is.
    return tuple(sorted(todos, key=lambda todo: (todo.created_at or from_millis(0), todo.todo_id)))


def _todo(key: str, read: Read) -> Todo:
    return Todo(
        todo_id=read.text("id") or key,
        content=read.text("content") or "",
        status=read.enum("status", TodoStatus, TodoStatus.PENDING),
        created_at=read.time("created_at"),
        updated_at=read.time("updated_at"),
    )
