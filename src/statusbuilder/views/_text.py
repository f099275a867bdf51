"""Texts for people, of values that anybody may have written: nothing in them reaches a terminal as a command."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ..agent.model import AgentSnapshot
from ..core.model.times import format_time
from ..core.model.values import Snapshot, Task, TaskStatus, TaskType

# Control characters steer terminals, and marks of writing direction make a text look like another one. Half a
# surrogate pair, which JSON can have, cannot be written at all.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_LINES: Final = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_SPACE: Final = re.compile(r"\s+")
_LONGEST: Final = 2_000


def one_line(text: str) -> str:
    """Return a text as one line without control characters, cut where no line is that long."""
    line = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", _SPACE.sub(" ", text[:_LONGEST])).strip()
    return line + "…" if len(text) > _LONGEST else line


def many_lines(text: str) -> str:
    """Return a text with its lines, but without control characters."""
    return _UNSAFE_LINES.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))


def seconds(duration: float) -> str:
    """Return a duration as people say it, from `0.04 s` to `3 d 04 h`."""
    duration = max(0.0, duration)
    if duration < 9.995:
        return f"{duration:.2f} s"
    if duration < 59.95:
        return f"{duration:.1f} s"
    whole = round(duration)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def elapsed(item: Task | Snapshot, now: datetime | None) -> str:
    """Return how long something took, or has taken by now; empty when it has not begun."""
    if item.started_at is None:
        return ""
    end = item.completed_at or now
    return "" if end is None else seconds((end - item.started_at).total_seconds())


def clock_time(time: datetime | None) -> str:
    """Return a time as everywhere in the library; a dash when there is none."""
    return "-" if time is None else format_time(time)


def latest_time(snapshot: Snapshot) -> datetime | None:
    """Return the newest time that a snapshot knows: until then it speaks."""
    times = [snapshot.started_at, snapshot.completed_at]
    for task in snapshot.tasks:
        times += (task.started_at, task.completed_at)
    if isinstance(snapshot, AgentSnapshot):
        times += [message.timestamp for message in snapshot.messages]
    return max((time for time in times if time is not None), default=None)


def retries(task: Task) -> int:
    """Return how often a task was retried."""
    count = task.metadata.get("retry_count")
    return int(count) if isinstance(count, (int, float)) and not isinstance(count, bool) and 0 < count < 1e9 else 0


def detail(task: Task) -> str:
    """Return what there is to say about a task, in one line: its error, its message, or what a tool was given."""
    count = retries(task)
    return ", ".join(part for part in (f"retry {count}" if count else "", _detail(task)) if part)


def _detail(task: Task) -> str:
    if task.error is not None:
        return one_line(task.error)
    message = task.metadata.get("message")
    if isinstance(message, str) and message:
        return one_line(message)
    if task.task_type not in (TaskType.TOOL_CALL, TaskType.AGENT_INVOCATION):
        return ""
    given, gave = short(task.input), short(task.output)
    return " → ".join(part for part in (given, gave if task.status is TaskStatus.COMPLETED else "") if part)


def short(payload: Mapping[str, Any] | None) -> str:
    """Return a payload as one short line: `key=value` pairs, or just the text where it is one.

    The pairs are sorted, because the wire has no order of keys, and a line should not change by itself.
    """
    if not payload:
        return ""
    if list(payload) == ["value"]:
        return _value(payload["value"])
    return " ".join(f"{one_line(key)}={_value(value)}" for key, value in sorted(payload.items())[:8])


def _value(value: object) -> str:
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = one_line(value[:200])
    return text if len(text) <= 60 else text[:59] + "…"


def counts(snapshot: Snapshot) -> str:
    """Return how many tasks are where, leaving out what there is none of."""
    progress = snapshot.progress
    pending = progress.total - progress.finished - progress.running
    numbers = (
        (progress.running, "running"),
        (progress.failed, "failed"),
        (progress.completed, "completed"),
        (progress.skipped, "skipped"),
        (pending, "pending"),
    )
    return ", ".join(f"{number:,} {word}" for number, word in numbers if number) or "no tasks"
