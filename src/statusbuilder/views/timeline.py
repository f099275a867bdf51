"""The table of tasks, with the time that each took on one scale; and how texts become HTML."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any, Final

from ..agent.model import TodoStatus
from ..core.model.metadata import KEYS, is_link
from ..core.model.printable import many_lines, one_line
from ..core.model.reading import read_enum
from ..core.model.times import parse_time
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus
from ._tree import as_tree
from .texts import clock_time, done_of, elapsed, seconds

_CHUNK: Final = 100
_DEEPEST: Final = 8
_MOST_TEXT: Final = 20_000
_PAYLOADS: Final = 4_000_000
"""Characters of all payloads together, about; each has at most 4,000."""
_SIGNS: Final = {"PENDING": "·", "IN_PROGRESS": "▸", "COMPLETED": "✓", "FAILED": "✗", "SKIPPED": "»", "CANCELLED": "■"}


def sign(status: TaskStatus | ExecutionPhase) -> str:
    """Return the sign of a task's status, or of an execution's phase."""
    return _SIGNS[status.name]


def words(status: TaskStatus | TodoStatus) -> str:
    """Return a status as people say it."""
    return status.name.lower().replace("_", " ")


def line(text: str) -> str:
    """Return a text as one line of HTML."""
    return escape(one_line(text))


def whole(error: str) -> str:
    """Return all of an error; it is what people came for, and a request holds only so much."""
    return escape(many_lines(error))


def lines(text: str, most: int = _MOST_TEXT) -> str:
    """Return a text as HTML, cut where it is long."""
    rest = len(text) - most
    return escape(many_lines(text[:most])) + (f"… ({rest:,} characters more)" if rest > 0 else "")


def to_json(value: Mapping[str, Any]) -> str:
    """Return a payload as people read it: a text, or JSON."""
    if list(value) == ["value"] and isinstance(value["value"], str):
        return value["value"]
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)


def timeline(snapshot: Snapshot, scale: Scale) -> Iterable[str]:
    """Yield the table of tasks."""
    if not snapshot.tasks:
        return
    yield "<section><h2>Timeline</h2>"
    yield from status_filter({task.status for task in snapshot.tasks})
    yield task_table_head(scale.axis())
    rows = [row for _, row in task_rows(snapshot, scale)]
    for first in range(0, len(rows), _CHUNK):
        chunk = rows[first : first + _CHUNK]
        height, text = f"contain-intrinsic-size:auto {len(chunk) * 2.1:.1f}rem", "\n".join(chunk)
        yield f'<tbody role="rowgroup" style="{height}">{text}</tbody>'
    yield "</table></section>"


def task_rows(snapshot: Snapshot, scale: Scale) -> Iterator[tuple[int, str]]:
    """Yield a row for each task, as a tree, with the task's place in the snapshot."""
    payloads = sum((task.input is not None) + (task.output is not None) for task in snapshot.tasks)
    most = max(200, min(4_000, _PAYLOADS // max(1, payloads)))
    places = {id(task): place for place, task in enumerate(snapshot.tasks)}
    for depth, task in as_tree(snapshot.tasks):
        place = places[id(task)]
        yield place, _row(place, task, depth, scale, most)


def task_table_head(axis: str) -> str:
    """Return the beginning of the table of tasks, with its headings."""
    return table_head("Tasks", "tasks", ("Task", "Status", "Start", "Duration", axis))


def table_head(label: str, kind: str, headings: Iterable[str]) -> str:
    """Return the beginning of a table of five columns, of which the third and the fourth have numbers."""
    # Roles, because a browser forgets that it is a table when it is laid out as a grid.
    numeric = ' class="num"'
    cells = "".join(
        f'<th role="columnheader" scope="col"{numeric if place in (2, 3) else ""}>{text}</th>'
        for place, text in enumerate(headings)
    )
    head = f'<thead role="rowgroup"><tr role="row">{cells}</tr></thead>'
    return f'<table role="table" class="{kind}" aria-label="{label}">{head}'


class Scale:
    """Where in the timeline a time lies."""

    def __init__(self, snapshot: Snapshot, end: datetime | None) -> None:
        starts = [task.started_at for task in snapshot.tasks if task.started_at is not None]
        starts += [snapshot.started_at] if snapshot.started_at is not None else []
        self.start = min(starts, default=None)
        self.end = end
        self.length = 0.0 if self.start is None or end is None else max(0.0, (end - self.start).total_seconds())

    def offset(self, time: datetime) -> float:
        """Return the seconds since the beginning."""
        return 0.0 if self.start is None else max(0.0, (time - self.start).total_seconds())

    def axis(self) -> str:
        """Return the heading of the lanes."""
        marks = "".join(f"<span>{seconds(self.length * part / 2)}</span>" for part in range(3))
        return f'<span class="axis">{marks}</span>'


def status_filter(present: Collection[TaskStatus]) -> Iterable[str]:
    """Yield a choice between tasks of these statuses, and all."""
    if len(present) < 2:
        return
    choices = [("all", "all", True)]
    choices += [(status.name, words(status), False) for status in TaskStatus if status in present]
    yield from (
        f'<input class="pick" type="radio" name="pick" id="f-{key}"{" checked" if on else ""}>'
        for key, _, on in choices
    )
    labels = "".join(f'<label for="f-{key}">{text}</label>' for key, text, _ in choices)
    yield f'<div class="picks" role="group" aria-label="Show tasks that are">{labels}</div>'


def _row(place: int, task: Task, depth: int, scale: Scale, most: int) -> str:
    status = task.status.name
    start = "" if task.started_at is None else seconds(scale.offset(task.started_at))
    bars = "".join(_bars(task, scale))
    note = "".join(f'<div class="note">{text}</div>' for text in _notes(task))
    inset = f' style="--depth:{min(depth, _DEEPEST)}"' if depth else ""
    cells = (
        f'<th role="rowheader" scope="row"{inset}>{line(task.task_name)}{note}{_payloads(task, most)}</th>'
        f'<td role="cell" class="status">{sign(task.status)} {words(task.status)}</td>'
        f"{time_cell(start)}{took_cell(task, scale.end)}"
        f'<td role="cell"><div class="lane" aria-hidden="true">{bars}</div></td>'
    )
    return f'<tr role="row" class="task {status}" id="t{place}">{cells}</tr>'


def _bars(task: Task, scale: Scale) -> Iterable[str]:
    """Yield what lies in a task's lane: the time it was queued, and each of its attempts.

    A bar that goes on has no end of its own, so that a page on which time passes need not make it anew.
    """
    if task.queued_at is not None:
        yield _bar("queued", scale, task.queued_at, task.started_at)
    *earlier, present = task.attempts or [{"started_at": clock_time(task.started_at)}]
    for attempt in earlier:
        begun, ended = parse_time(attempt.get("started_at")), parse_time(attempt.get("completed_at"))
        if ended is not None:
            status = read_enum(TaskStatus, attempt.get("status"), TaskStatus.PENDING)
            yield _bar(status.name, scale, begun, ended)
    is_part = task.progress is not None and not task.status.is_terminal
    done = f'<b style="width:{100 * (task.progress or 0):.1f}%"></b>' if is_part else ""
    yield _bar(task.status.name, scale, parse_time(present.get("started_at")), task.completed_at, done)


def _bar(kind: str, scale: Scale, begun: datetime | None, ended: datetime | None, inside: str = "") -> str:
    if begun is None:
        return ""
    end, kind = (f";--b:{scale.offset(ended):.3f}", kind) if ended is not None else ("", f"{kind} open")
    return f'<i class="{kind}" style="--a:{scale.offset(begun):.3f}{end}">{inside}</i>'


def time_cell(text: str) -> str:
    """Return the cell of a time, or of none."""
    return f'<td role="cell" class="num{"" if text else " none"}">{text or "-"}</td>'


def took_cell(item: Task | Snapshot, end: datetime | None = None) -> str:
    """Return the cell that says how long something took."""
    if item.started_at is not None and item.completed_at is None and end is None:
        return f'<td role="cell" class="num" data-since="{clock_time(item.started_at)}"></td>'
    skipped = isinstance(item, Task) and item.status is TaskStatus.SKIPPED
    return time_cell("" if skipped else elapsed(item, end))


def _notes(task: Task) -> Iterable[str]:
    if task.retry_count:
        yield f"retried {task.retry_count:,} times" if task.retry_count > 1 else "retried once"
    if task.waiting_for:
        yield f"waiting for {lines(task.waiting_for, 2_000)}"
    if task.progress is not None and not task.status.is_terminal:
        yield f"{done_of(task)} done"
    if task.error:
        yield whole(task.error)
    if task.message:
        yield lines(task.message, 2_000)
    yield from map(_attempt, task.attempts[:-1])
    where = [
        f"on {line(task.worker)}" if task.worker else "",
        f"queued {clock_time(task.queued_at)}" if task.queued_at else "",
        f"due {clock_time(task.deadline)}" if task.deadline else "",
        _log(task.log_url) if task.log_url else "",
    ]
    if any(where):
        yield ", ".join(filter(None, where))


def _attempt(attempt: Mapping[str, Any]) -> str:
    """Return what is known of an attempt that has ended."""
    begun, ended = parse_time(attempt.get("started_at")), parse_time(attempt.get("completed_at"))
    took = f" after {seconds((ended - begun).total_seconds())}" if begun and ended else ""
    status, error = attempt.get("status"), attempt.get("error")
    said = f" {line(status).lower().replace('_', ' ')}" if isinstance(status, str) else ""
    return f"attempt {attempt['number']:,.0f}{said}{took}{f': {whole(error)}' if isinstance(error, str) else ''}"


def _log(url: str) -> str:
    link = f'<a href="{line(url)}" rel="noopener noreferrer">log</a>'
    return link if is_link(url) else f"log: {line(url)}"


def _payloads(task: Task, most: int) -> str:
    more = {key: value for key, value in task.metadata.items() if key not in KEYS}
    given = (("Input", task.input), ("Output", task.output), ("Metadata", more))
    shown = "".join(f"{name}<pre>{lines(to_json(value), most)}</pre>" for name, value in given if value)
    return f"<details><summary>Details of {line(task.task_id)}</summary>{shown}</details>" if shown else ""
