"""Tables of plain text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from unicodedata import combining, east_asian_width

from ..core.model.printable import one_line
from ..core.model.values import Snapshot, Task, TaskStatus
from ._text import clock_time, counts, detail, elapsed, latest_time
from ._tree import as_tree


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
