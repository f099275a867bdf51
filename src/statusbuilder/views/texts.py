"""What there is to say about a snapshot and its tasks, in short texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..agent.model import AgentSnapshot
from ..core.model.printable import one_line
from ..core.model.times import format_time
from ..core.model.values import Snapshot, Task, TaskStatus, TaskType


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


def detail(task: Task) -> str:
    """Return what there is to say about a task, in one line, what matters most first.

    Its attempt, how far it is, what it waits for; its error, its message, or what a tool was given; where it runs.
    """
    is_open = not task.status.is_terminal
    parts = (
        attempt(task),
        done_of(task) if is_open or task.status is TaskStatus.FAILED else "",
        f"waiting for {one_line(task.waiting_for)}" if task.waiting_for else "",
        _detail(task),
        f"on {one_line(task.worker)}" if task.worker else "",
        f"due {format_time(task.deadline)}" if task.deadline and is_open else "",
        f"queued {format_time(task.queued_at)}" if task.queued_at and task.started_at is None else "",
        one_line(task.log_url) if task.log_url else "",
    )
    return ", ".join(filter(None, parts))


def attempt(task: Task) -> str:
    """Return which attempt at a task it is; empty for the first."""
    if task.retry_count:
        return f"retry {task.retry_count:,}"
    return f"attempt {task.attempts[-1]['number']:,.0f}" if task.attempts else ""


def done_of(task: Task) -> str:
    """Return how much of a task is done, as `40/100` or `40%`; empty where that is not known."""
    if task.progress is None:
        return ""
    pair = task.metadata.get("progress")
    done, total = (pair["done"], pair["total"]) if isinstance(pair, Mapping) else (task.progress, 1)
    return f"{task.progress:.0%}" if total == 1 or done % 1 or total % 1 else f"{done:,.0f}/{total:,.0f}"


def _detail(task: Task) -> str:
    if task.error is not None:
        return one_line(task.error)
    if task.message is not None:
        return one_line(task.message)
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
