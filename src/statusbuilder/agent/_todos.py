"""An agent's plan: how a whole list of todos, with or without ids, becomes the next one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from ..payload.members import brief
from .model import Todo, TodoStatus


def read_todos(todos: object, to_text: Callable[[Any], str]) -> list[Todo]:
    """Read the caller's list.

    Raises:
        TypeError: It is no list, or one of its items is no todo.
        ValueError: A status is none of `TodoStatus`, or two todos have one id.
    """
    if isinstance(todos, (str, bytes)) or not isinstance(todos, Iterable):
        raise TypeError(f"todos must be a list of todos, not {brief(todos)}.")
    given = [_read_todo(todo, to_text) for todo in (todos.values() if isinstance(todos, Mapping) else todos)]
    ids = Counter(todo.todo_id for todo in given if todo.todo_id)
    if ids and (twice := ids.most_common(1)[0])[1] > 1:
        raise ValueError(f"Two todos have the id {twice[0]!r}; give each its own, or none.")
    return given


def _read_todo(todo: object, to_text: Callable[[Any], str]) -> Todo:
    if isinstance(todo, str):
        return Todo("", to_text(todo), TodoStatus.PENDING)
    read: Callable[[str], Any] = todo.get if isinstance(todo, Mapping) else lambda name: getattr(todo, name, None)
    content = read("content")
    if content is None:
        raise TypeError(f"A todo is a text, or has a content, a status and perhaps an id; this is {brief(todo)}.")
    todo_id = read("todo_id") or read("id")
    return Todo("" if todo_id is None else to_text(todo_id), to_text(content), _read_status(read("status")))


def _read_status(given: object) -> TodoStatus:
    """Return a status given as such, as its number, or as its name in any case; PENDING when none is given."""
    status: Any = getattr(given, "value", given)
    try:
        if isinstance(status, str):
            return TodoStatus[status.upper()]
        return TodoStatus.PENDING if status is None else TodoStatus(status)
    except (KeyError, ValueError):
        names = ", ".join(TodoStatus.__members__)
        raise ValueError(f"A todo's status must be one of {names}, not {brief(given)}.") from None


def merge_todos(
    present: tuple[Todo, ...], given: list[Todo], now: datetime, new_id: Callable[[set[str]], str]
) -> tuple[Todo, ...]:
    """Return the next list; a todo keeps its id and its times as far as it is the same.

    One without an id is the present one with the same content. What is missing goes away, but the last ones stay, as
    CANCELLED, because a backend cannot be told that a list became empty.

    Args:
        present: The list so far.
        given: The caller's list.
        now: The time of the change.
        new_id: Makes an id that is not among those given to it.
    """
    if not given:
        return tuple(_change(todo, todo.content, TodoStatus.CANCELLED, now) for todo in present)
    by_id = {todo.todo_id: todo for todo in present}
    named = {todo.todo_id for todo in given}
    by_content: dict[str, deque[Todo]] = {}
    for todo in present:
        if todo.todo_id not in named:
            by_content.setdefault(todo.content, deque()).append(todo)
    taken = named | set(by_id)
    following = []
    for item in given:
        if item.todo_id:
            same = by_id.get(item.todo_id)
        else:
            waiting = by_content.get(item.content)
            same = waiting.popleft() if waiting else None
        if same is None:
            same = Todo(item.todo_id or new_id(taken), item.content, item.status, now, now)
            taken.add(same.todo_id)
        following.append(_change(same, item.content, item.status, now))
    return tuple(following)


def _change(todo: Todo, content: str, status: TodoStatus, now: datetime) -> Todo:
    if todo.content == content and todo.status is status:
        return todo
    return attrs.evolve(todo, content=content, status=status, updated_at=now)
