"""The report: one execution as one page, with nothing to load and nothing that runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Final

import attrs

from ..agent.model import AgentSnapshot, Message, Todo
from ..core.model.printable import one_line
from ..core.model.values import Snapshot, TaskStatus
from .report_style import STYLE
from .texts import clock_time, counts, elapsed, latest_time
from .timeline import Scale, line, lines, sign, task_rows, time_cell, timeline, to_json, took_cell, whole, words

_MOST_FAILURES: Final = 20
_TODO_SIGNS: Final = {"PENDING": "☐", "IN_PROGRESS": "◐", "COMPLETED": "☑", "CANCELLED": "☒"}


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
        f"<title>{line(snapshot.execution_id)}: {snapshot.phase.name}</title>\n<style>{STYLE}</style></head>",
        f'<body style="--len:{max(scale.length, 0.001):.3f}">',
        *_summary(snapshot, end),
        *_failures(snapshot),
        *(_conversation(snapshot) if isinstance(snapshot, AgentSnapshot) else ()),
        *timeline(snapshot, scale),
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
        "tasks": {f"t{place}": row for place, row in task_rows(snapshot, scale)},
    }
    if isinstance(snapshot, AgentSnapshot):
        groups["plan"]["plan"] = "".join(_plan(snapshot))
        groups["talk"] = {f"m{place}": text for place, text in enumerate(_messages(snapshot))}
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
    badge = f'<span class="badge {phase.name}">{sign(phase)} {phase.name}</span>'
    error = f'<div class="note">{line(snapshot.error)}</div>' if snapshot.error is not None else ""
    cells = (
        f'<th role="rowheader" scope="row"><a href="{escape(address)}">{line(snapshot.execution_id)}</a>{error}</th>'
        f'<td role="cell">{badge}</td>'
        f"{time_cell(f'{progress.finished:,}/{progress.total:,}' if progress.total else '')}"
        f"{took_cell(snapshot)}"
        f'<td role="cell">{"".join(_meter(snapshot))}<span class="soft">{clock_time(snapshot.started_at)}</span></td>'
    )
    return f'<tr role="row" class="task {phase.name}" id="e{escape(address)}">{cells}</tr>'


def _summary(snapshot: Snapshot, end: datetime | None) -> Iterable[str]:
    phase = snapshot.phase
    badge = f'<span class="badge {phase.name}">{sign(phase)} {phase.name}</span>'
    yield f'<header id="head"><h1>{line(snapshot.execution_id)} {badge}</h1>'
    facts = [
        ("Started", clock_time(snapshot.started_at)),
        ("Tasks", f"{snapshot.progress.total:,}: {counts(snapshot)}" if snapshot.tasks else "none"),
    ]
    if snapshot.is_terminal or end is not None:
        until = ("Ended", clock_time(snapshot.completed_at)) if snapshot.is_terminal else ("As of", clock_time(end))
        facts[1:1] = [until, ("Took", elapsed(snapshot, end) or "-")]
    if snapshot.temporal_workflow_id:
        facts.append(("Temporal workflow", snapshot.temporal_workflow_id))
    shown = [f"<div><dt>{name}</dt><dd>{line(text)}</dd></div>" for name, text in facts]
    if end is None and not snapshot.is_terminal and snapshot.started_at is not None:
        shown.insert(1, f'<div><dt>Running</dt><dd data-since="{clock_time(snapshot.started_at)}"></dd></div>')
    yield f"<dl>{''.join(shown)}</dl>"
    yield from _meter(snapshot)
    if snapshot.error is not None:
        yield f'<div class="error" role="alert">{whole(snapshot.error)}</div>'
    if snapshot.output:
        yield f"<details><summary>Output</summary><pre>{lines(to_json(snapshot.output))}</pre></details>"
    yield "</header>"


def _meter(snapshot: Snapshot) -> Iterable[str]:
    progress = snapshot.progress
    if not progress.total:
        return
    counted = progress.finished if snapshot.is_terminal else progress.completed + progress.skipped
    begun = max(0.0, progress.fraction * progress.total - counted)  # what tasks that have not ended have done
    ended = {"COMPLETED": progress.completed, "FAILED": progress.failed, "SKIPPED": progress.skipped}
    shares = ended | {"IN_PROGRESS": begun, "IN_PROGRESS rest": max(0.0, progress.running - begun)}
    widths = ((name, 100 * number / progress.total) for name, number in shares.items() if number)
    spans = "".join(f'<span class="{name}" style="width:{width:.3f}%"></span>' for name, width in widths)
    yield f'<div class="meter" role="img" aria-label="{escape(counts(snapshot))}">{spans}</div>'


def _failures(snapshot: Snapshot) -> Iterable[str]:
    failed = [(place, task) for place, task in enumerate(snapshot.tasks) if task.status is TaskStatus.FAILED]
    if not failed:
        return
    failed.sort(key=lambda pair: pair[1].cancelled)  # the cause before what was cancelled for it
    yield '<section id="failures"><h2>What failed</h2><ol class="failures">'
    for place, task in failed[:_MOST_FAILURES]:
        error = f": {line(_gist(task.error))}" if task.error else ""
        yield f'<li><a href="#t{place}">{line(task.task_name)}</a>{error}</li>'
    yield "</ol>"
    if len(failed) > _MOST_FAILURES:
        yield f"<p>and {len(failed) - _MOST_FAILURES:,} more; choose “failed” below.</p>"
    yield "</section>"


def _gist(error: str) -> str:
    """Return what an error says, without the way that led to it: a traceback's last line."""
    lines = error.strip().splitlines()
    return lines[-1] if lines and lines[0].startswith("Traceback (most recent call last)") else error


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
    text = f'{line(todo.content)} <span class="soft">({words(todo.status)})</span>'
    return f'<li><span aria-hidden="true">{_TODO_SIGNS[todo.status.name]}</span> {text}</li>'


def _message(place: int, message: Message, places: Mapping[str, int], names: Mapping[str, str]) -> str:
    calls = ", ".join(
        f'<a href="#t{places[call]}">{line(names[call])}</a>' if call in places else line(call)
        for call in message.tool_calls
    )
    called = f'<p class="soft">Tool calls: {calls}</p>' if calls else ""
    # A tool's message says its name, which the link says, too.
    is_name = [names.get(call) for call in message.tool_calls] == [message.content]
    said = f"<p>{lines(message.content)}</p>" if message.content and not is_name else ""
    head = f'<span class="soft">{message.type.name} {clock_time(message.timestamp)}</span>'
    return f'<article class="message {message.type.name}" id="m{place}">{head}{said}{called}</article>'
