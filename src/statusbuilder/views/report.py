"""The report: one execution as one page, with nothing to load and nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any, Final

import attrs

from ..agent.model import AgentSnapshot, Message, Todo, TodoStatus
from ..core.model.metadata import KEYS, is_link
from ..core.model.printable import many_lines, one_line
from ..core.model.reading import read_enum
from ..core.model.times import parse_time
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus
from ._text import clock_time, counts, done_of, elapsed, latest_time, seconds
from ._tree import as_tree
from .report_style import STYLE

_CHUNK: Final = 100
_DEEPEST: Final = 8
_MOST_FAILURES: Final = 20
_MOST_TEXT: Final = 20_000
_PAYLOADS: Final = 4_000_000
"""Characters of all payloads together, about; each has at most 4,000."""
_SIGNS: Final = {
    TaskStatus.PENDING: "·",
    TaskStatus.IN_PROGRESS: "▸",
    TaskStatus.COMPLETED: "✓",
    TaskStatus.FAILED: "✗",
    TaskStatus.SKIPPED: "»",
}
_PHASE_SIGNS: Final = {
    ExecutionPhase.PENDING: "·",
    ExecutionPhase.IN_PROGRESS: "▸",
    ExecutionPhase.COMPLETED: "✓",
    ExecutionPhase.FAILED: "✗",
    ExecutionPhase.CANCELLED: "■",
}
_TODO_SIGNS: Final = {
    TodoStatus.PENDING: "☐",
    TodoStatus.IN_PROGRESS: "◐",
    TodoStatus.COMPLETED: "☑",
    TodoStatus.CANCELLED: "☒",
}


def html_report(snapshot: Snapshot) -> str:
    """Return a snapshot as a page of HTML that needs nothing else: no file, no network, no script.

    The same snapshot gives the same page. Of an execution that goes on, it shows the time until its last change.
    Payloads and messages are cut where they are long, errors are not; all of them are escaped.
    """
    end = latest_time(snapshot)
    scale = Scale(snapshot, end)
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing may be loaded or run, even if something in a status were not escaped.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{_line(snapshot.execution_id)}: {snapshot.phase.name}</title>\n<style>{STYLE}</style></head>",
        f'<body style="--len:{max(scale.length, 0.001):.3f}">',
        *_summary(snapshot, end),
        *_failures(snapshot),
        *(_conversation(snapshot) if isinstance(snapshot, AgentSnapshot) else ()),
        *_timeline(snapshot, scale),
        "</body></html>\n",
    ]
    return "\n".join(parts)


@attrs.frozen
class Parts:
    """An execution in parts that can each be put in the place of what a page shows."""

    parts: dict[str, str]
    """HTML of one element each, by its id."""
    order: dict[str, list[str]]
    """The ids of each group, in order: `head`, `failures`, `plan`, `talk` and `tasks`."""
    start: datetime | None
    """Where the timeline begins."""
    end: datetime | None
    """Where it ends; None while the execution goes on."""
    title: str


def live_parts(snapshot: Snapshot) -> Parts:
    """Return a snapshot in the parts of a page on which time passes, which `html_report` is the still of.

    The times of what goes on are left to the page: such a bar has no `--b`, and such a duration is empty and has the
    start as `data-since`.
    """
    scale = Scale(snapshot, snapshot.completed_at if snapshot.is_terminal else None)
    groups: dict[str, dict[str, str]] = {
        "head": {"head": "\n".join(_summary(snapshot, scale.end))},
        "failures": {"failures": "\n".join(_failures(snapshot))},
        "plan": {},
        "talk": {},
        "tasks": {},
    }
    if isinstance(snapshot, AgentSnapshot):
        groups["plan"]["plan"] = "".join(_plan(snapshot))
        groups["talk"] = {f"m{place}": text for place, text in enumerate(_messages(snapshot))}
    most = _most_of_payloads(snapshot)
    places = {id(task): place for place, task in enumerate(snapshot.tasks)}
    for depth, task in as_tree(snapshot.tasks):
        place = places[id(task)]
        groups["tasks"][f"t{place}"] = _row(place, task, depth, scale, most)
    parts = {key: text for group in groups.values() for key, text in group.items() if text}
    order = {name: [key for key in group if key in parts] for name, group in groups.items()}
    return Parts(parts, order, scale.start, scale.end, f"{one_line(snapshot.execution_id)}: {snapshot.phase.name}")


def list_parts(executions: Iterable[tuple[str, Snapshot]]) -> Parts:
    """Return executions, each with the address of its page, as the rows of a list."""
    rows = {f"e{escape(address)}": _execution_row(address, snapshot) for address, snapshot in executions}
    rows = rows or {"none": '<tr role="row"><td role="cell" class="soft">There is none yet.</td></tr>'}
    return Parts(rows, {"executions": list(rows)}, None, None, "Executions")


def _execution_row(address: str, snapshot: Snapshot) -> str:
    progress, phase = snapshot.progress, snapshot.phase
    badge = f'<span class="badge {phase.name}">{_PHASE_SIGNS[phase]} {phase.name}</span>'
    error = f'<div class="note">{_line(snapshot.error)}</div>' if snapshot.error is not None else ""
    cells = (
        f'<th role="rowheader" scope="row"><a href="{escape(address)}">{_line(snapshot.execution_id)}</a>{error}</th>'
        f'<td role="cell">{badge}</td>'
        f"{_time_cell(f'{progress.finished:,}/{progress.total:,}' if progress.total else '')}"
        f"{_took_cell(snapshot)}"
        f'<td role="cell">{"".join(_meter(snapshot))}<span class="soft">{clock_time(snapshot.started_at)}</span></td>'
    )
    return f'<tr role="row" class="task {phase.name}" id="e{escape(address)}">{cells}</tr>'


def _words(status: TaskStatus | TodoStatus) -> str:
    return status.name.lower().replace("_", " ")


def _line(text: str) -> str:
    return escape(one_line(text))


def _whole(error: str) -> str:
    """Return all of an error; it is what people came for, and a request holds only so much."""
    return escape(many_lines(error))


def _lines(text: str, most: int = _MOST_TEXT) -> str:
    rest = len(text) - most
    return escape(many_lines(text[:most])) + (f"… ({rest:,} characters more)" if rest > 0 else "")


def _summary(snapshot: Snapshot, end: datetime | None) -> Iterable[str]:
    phase = snapshot.phase
    badge = f'<span class="badge {phase.name}">{_PHASE_SIGNS[phase]} {phase.name}</span>'
    yield f'<header id="head"><h1>{_line(snapshot.execution_id)} {badge}</h1>'
    facts = [
        ("Started", clock_time(snapshot.started_at)),
        ("Tasks", f"{snapshot.progress.total:,}: {counts(snapshot)}" if snapshot.tasks else "none"),
    ]
    if snapshot.is_terminal or end is not None:
        facts.insert(
            1, ("Ended", clock_time(snapshot.completed_at)) if snapshot.is_terminal else ("As of", clock_time(end))
        )
        facts.insert(2, ("Took", elapsed(snapshot, end) or "-"))
    if snapshot.temporal_workflow_id:
        facts.append(("Temporal workflow", snapshot.temporal_workflow_id))
    shown = [f"<div><dt>{name}</dt><dd>{_line(text)}</dd></div>" for name, text in facts]
    if end is None and not snapshot.is_terminal and snapshot.started_at is not None:
        shown.insert(1, f'<div><dt>Running</dt><dd data-since="{clock_time(snapshot.started_at)}"></dd></div>')
    yield f"<dl>{''.join(shown)}</dl>"
    yield from _meter(snapshot)
    if snapshot.error is not None:
        yield f'<div class="error" role="alert">{_whole(snapshot.error)}</div>'
    if snapshot.output:
        yield f"<details><summary>Output</summary><pre>{_lines(_json(snapshot.output))}</pre></details>"
    yield "</header>"


def _meter(snapshot: Snapshot) -> Iterable[str]:
    progress = snapshot.progress
    if not progress.total:
        return
    counted = progress.finished if snapshot.is_terminal else progress.completed + progress.skipped
    begun = max(0.0, progress.fraction * progress.total - counted)  # what tasks that have not ended have done
    shares = (
        ("COMPLETED", progress.completed),
        ("FAILED", progress.failed),
        ("SKIPPED", progress.skipped),
        ("IN_PROGRESS", begun),
        ("IN_PROGRESS rest", max(0.0, progress.running - begun)),
    )
    spans = "".join(
        f'<span class="{name}" style="width:{100 * number / progress.total:.3f}%"></span>'
        for name, number in shares
        if number
    )
    yield f'<div class="meter" role="img" aria-label="{escape(counts(snapshot))}">{spans}</div>'


def _failures(snapshot: Snapshot) -> Iterable[str]:
    failed = [(place, task) for place, task in enumerate(snapshot.tasks) if task.status is TaskStatus.FAILED]
    if not failed:
        return
    failed.sort(key=lambda pair: pair[1].cancelled)  # the cause before what was cancelled for it
    yield '<section id="failures"><h2>What failed</h2><ol class="failures">'
    for place, task in failed[:_MOST_FAILURES]:
        error = f": {_line(_gist(task.error))}" if task.error else ""
        yield f'<li><a href="#t{place}">{_line(task.task_name)}</a>{error}</li>'
    yield "</ol>"
    if len(failed) > _MOST_FAILURES:
        yield f"<p>and {len(failed) - _MOST_FAILURES:,} more; choose “failed” below.</p>"
    yield "</section>"


def _gist(error: str) -> str:
    """Return what an error says, without the way that led to it: a traceback's last line."""
    lines = error.strip().splitlines()
    return lines[-1] if lines and lines[0].startswith("Traceback (most recent call last)") else error


# The timeline


def _timeline(snapshot: Snapshot, scale: Scale) -> Iterable[str]:
    if not snapshot.tasks:
        return
    yield "<section><h2>Timeline</h2>"
    yield from status_filter({task.status for task in snapshot.tasks})
    yield f"{task_table_head(scale.axis())}"
    most = _most_of_payloads(snapshot)
    places = {id(task): place for place, task in enumerate(snapshot.tasks)}
    tree = as_tree(snapshot.tasks)
    for first in range(0, len(tree), _CHUNK):
        chunk = tree[first : first + _CHUNK]
        rows = "\n".join(_row(places[id(task)], task, depth, scale, most) for depth, task in chunk)
        height = f"contain-intrinsic-size:auto {len(chunk) * 2.1:.1f}rem"
        yield f'<tbody role="rowgroup" style="{height}">{rows}</tbody>'
    yield "</table></section>"


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


def _most_of_payloads(snapshot: Snapshot) -> int:
    payloads = sum((task.input is not None) + (task.output is not None) for task in snapshot.tasks)
    return max(200, min(4_000, _PAYLOADS // max(1, payloads)))


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
    choices += [(status.name, _words(status), False) for status in TaskStatus if status in present]
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
        f'<th role="rowheader" scope="row"{inset}>{_line(task.task_name)}{note}{_payloads(task, most)}</th>'
        f'<td role="cell" class="status">{_SIGNS[task.status]} {_words(task.status)}</td>'
        f"{_time_cell(start)}{_took_cell(task, scale.end)}"
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


def _time_cell(text: str) -> str:
    return f'<td role="cell" class="num{"" if text else " none"}">{text or "-"}</td>'


def _took_cell(item: Task | Snapshot, end: datetime | None = None) -> str:
    if item.started_at is not None and item.completed_at is None and end is None:
        return f'<td role="cell" class="num" data-since="{clock_time(item.started_at)}"></td>'
    skipped = isinstance(item, Task) and item.status is TaskStatus.SKIPPED
    return _time_cell("" if skipped else elapsed(item, end))


def _notes(task: Task) -> Iterable[str]:
    if task.retry_count:
        yield f"retried {task.retry_count:,} times" if task.retry_count > 1 else "retried once"
    if task.waiting_for:
        yield f"waiting for {_lines(task.waiting_for, 2_000)}"
    if task.progress is not None and not task.status.is_terminal:
        yield f"{done_of(task)} done"
    if task.error:
        yield _whole(task.error)
    if task.message:
        yield _lines(task.message, 2_000)
    yield from map(_attempt, task.attempts[:-1])
    where = [
        f"on {_line(task.worker)}" if task.worker else "",
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
    said = f" {_line(status).lower().replace('_', ' ')}" if isinstance(status, str) else ""
    return f"attempt {attempt['number']:,.0f}{said}{took}{f': {_whole(error)}' if isinstance(error, str) else ''}"


def _log(url: str) -> str:
    link = f'<a href="{_line(url)}" rel="noopener noreferrer">log</a>'
    return link if is_link(url) else f"log: {_line(url)}"


def _payloads(task: Task, most: int) -> str:
    more = {key: value for key, value in task.metadata.items() if key not in KEYS}
    given = (("Input", task.input), ("Output", task.output), ("Metadata", more))
    shown = "".join(f"{name}<pre>{_lines(_json(value), most)}</pre>" for name, value in given if value)
    return f"<details><summary>Details of {_line(task.task_id)}</summary>{shown}</details>" if shown else ""


def _json(value: Mapping[str, Any]) -> str:
    if list(value) == ["value"] and isinstance(value["value"], str):
        return value["value"]
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)


# What agents say


def _conversation(snapshot: AgentSnapshot) -> Iterable[str]:
    yield from _plan(snapshot)
    if snapshot.messages:
        yield from ("<section><h2>Conversation</h2>", *_messages(snapshot), "</section>")


def _plan(snapshot: AgentSnapshot) -> Iterable[str]:
    if snapshot.todos:
        todos = "".join(map(_todo, snapshot.todos))
        yield f'<section id="plan"><h2>Plan</h2><ul class="todos">{todos}</ul></section>'


def _messages(snapshot: AgentSnapshot) -> Iterable[str]:
    places = {task.task_id: place for place, task in enumerate(snapshot.tasks)}
    names = {task.task_id: task.task_name for task in snapshot.tasks}
    for place, message in enumerate(snapshot.messages):
        yield _message(place, message, places, names)


def _todo(todo: Todo) -> str:
    text = f'{_line(todo.content)} <span class="soft">({_words(todo.status)})</span>'
    return f'<li><span aria-hidden="true">{_TODO_SIGNS[todo.status]}</span> {text}</li>'


def _message(place: int, message: Message, places: Mapping[str, int], names: Mapping[str, str]) -> str:
    calls = ", ".join(
        f'<a href="#t{places[call]}">{_line(names[call])}</a>' if call in places else _line(call)
        for call in message.tool_calls
    )
    called = f'<p class="soft">Tool calls: {calls}</p>' if calls else ""
    # A tool's message says its name, which the link says, too.
    is_name = [names.get(call) for call in message.tool_calls] == [message.content]
    said = f"<p>{_lines(message.content)}</p>" if message.content and not is_name else ""
    head = f'<span class="soft">{message.type.name} {clock_time(message.timestamp)}</span>'
    return f'<article class="message {message.type.name}" id="m{place}">{head}{said}{called}</article>'
