"""The way back from the agent wire: calls wherever they stand, and everything in the order in which it began."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, Final

import attrs

from ..agent.model import AgentSnapshot, Message
from ..core.model.values import Task, TaskType
from ._agent import CALL, STATUS
from ._read import items

_BEFORE_ALL: Final = datetime.min.replace(tzinfo=timezone.utc)
_FILLED: Final = ("input", "output", "metadata", "started_at", "completed_at")


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
    lists = [[task for task in listed.values() if (task.task_type is TaskType.AGENT_INVOCATION) is sub_agents]
             for sub_agents in (False, True)]  # fmt: skip
    tasks = [pair for group in (lists[0], alone, lists[1]) for pair in _begun(group)]
    tasks.sort(key=lambda pair: pair[0])
    # A map has no order; the one in which they came into being is the best there is.
    todos = sorted(values.pop("todos"), key=lambda todo: (todo.created_at or _BEFORE_ALL, todo.todo_id))
    values |= {"tasks": [task for _, task in tasks], "messages": messages, "todos": tuple(todos)}
    return AgentSnapshot(execution_id, **values)


def _messages(status: Any, read: Iterable[Message]) -> tuple[dict[str, Task], tuple[Message, ...]]:
    """Return the calls that messages have in them, and the messages, which refer to calls by id."""
    calls: dict[str, Task] = {}
    messages = []
    for message, raw in zip(read, items(status, "messages"), strict=True):
        references = []
        for place, call in enumerate(items(raw, "tool_calls"), 1):
            task = CALL.read(call, f"{message.message_id}-call-{place}")
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
