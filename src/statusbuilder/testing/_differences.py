"""How what is there differs from what was expected, in lines that people read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from ..core.model.times import format_time
from ..core.model.values import Snapshot, Task

_LONGEST = 200
_OF_EXECUTION = ("phase", "error", "output", "started_at", "completed_at")
_OF_TASK = ("status", "error", "output", "input", "metadata", "task_name", "task_type", "started_at", "completed_at")


def differences(found: Snapshot, expected: Snapshot) -> list[str]:
    """Return a line for each difference; epochs and revisions do not count, because no wire carries them."""
    lines = _compare("", _values(found, _OF_EXECUTION), _values(expected, _OF_EXECUTION))
    there = {task.task_id: task for task in found.tasks}
    wanted = {task.task_id: task for task in expected.tasks}
    for task_id, task in wanted.items():
        if task_id in there:
            lines += _compare(f"task {task_id!r}: ", _values(there[task_id], _OF_TASK), _values(task, _OF_TASK))
        else:
            lines.append(f"task {task_id!r}: missing, expected {task.status.name}")
    lines += [
        f"task {task_id!r}: not expected, is {there[task_id].status.name}" for task_id in there if task_id not in wanted
    ]
    if not lines and list(there) != list(wanted):
        lines.append(f"order of tasks: {show(list(there))}, expected {show(list(wanted))}")
    return lines + _compare("", _extras(found), _extras(expected))


def show(value: object) -> str:
    """Return a value as a reader wants to see it."""
    text = value.name if isinstance(value, Enum) else repr(value)
    if isinstance(value, datetime):
        text = format_time(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def _values(holder: Snapshot | Task, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(holder, name) for name in names}


def _extras(snapshot: Snapshot) -> dict[str, Any]:
    """Return what only agents' snapshots have."""
    return {name: getattr(snapshot, name) for name in ("messages", "todos") if hasattr(snapshot, name)}


def _compare(prefix: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    return [
        f"{prefix}{name} is {show(found.get(name))}, expected {show(value)}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
