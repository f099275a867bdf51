"""What there is to say about a snapshot and its tasks, in short texts, and in tables of plain text."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any
from unicodedata import combining, east_asian_width

from ..agent.model import AgentSnapshot
from ..core.model.printable import one_line
from ..core.model.times import format_time
from ..core.model.values import Snapshot, Task, TaskStatus, TaskType
from ._tree import as_tree


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
    numbers = [(getattr(progress, word), word) for word in ("running", "failed", "completed", "skipped")]
    return ", ".join(f"{number:,} {word}" for number, word in (*numbers, (pending, "pending")) if number) or "no tasks"


# Tables


def execution_table(snapshots: Iterable[Snapshot]) -> list[str]:
    """Return a line for each execution, below a line of headings."""
    return table(("EXECUTION", "PHASE", "TASKS", "STARTED", "TOOK", ""), map(_execution_row, snapshots))


def task_table(snapshot: Snapshot) -> list[str]:
    """Return an execution in a line, and a line for each of its tasks."""
    took = elapsed(snapshot, latest_time(snapshot))
    error = [f"  {one_line(snapshot.error)}"] if snapshot.error is not None else []
    head = f"{one_line(snapshot.execution_id)}  {snapshot.phase.name}  {took}  {counts(snapshot)}"
    tasks = table(("  TASK", "STATUS", "TOOK", ""), (_task_row(depth, task) for depth, task in as_tree(snapshot.tasks)))
    return [head, *error, *(tasks if snapshot.tasks else [])]


def _execution_row(snapshot: Snapshot) -> Sequence[str]:
    progress = snapshot.progress
    return (
        one_line(snapshot.execution_id),
        snapshot.phase.name,
        f"{progress.finished:,}/{progress.total:,}",
        clock_time(snapshot.started_at),
        elapsed(snapshot, None),
        "" if snapshot.error is None else one_line(snapshot.error),
    )


def _task_row(depth: int, task: Task) -> Sequence[str]:
    took = "" if task.status is TaskStatus.SKIPPED else elapsed(task, None)
    return f"{'  ' * (depth + 1)}{one_line(task.task_name)}", task.status.name, took, detail(task)


def cells(text: str) -> int:
    """Return the columns that a terminal takes for a text."""
    return sum(0 if combining(sign) else 1 + (east_asian_width(sign) in "WF") for sign in text)


def cut(line: str, width: int) -> str:
    """Cut what is too wide for a terminal at its right end, with a mark."""
    if cells(line) <= width:
        return line
    taken = list(accumulate(map(cells, line)))
    return f"{line[: bisect_left(taken, width)]}…"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns, below a line of headings."""
    lines = [headings, *rows]
    widths = [max(cells(row[column]) for row in lines) for column in range(len(headings))]
    return [
        "  ".join(text + " " * (width - cells(text)) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in lines
    ]
