"""Plain lines: one for each thing that happened, for files, pipes and logs."""

from __future__ import annotations

import sys
import threading
from datetime import datetime
from typing import IO

import attrs

from ..agent.model import AgentSnapshot, MessageType
from ..core.model.printable import one_line
from ..core.model.times import format_time
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus
from .texts import attempt, counts, detail, elapsed, latest_time

_MOST_LINES = 20
_MOST_EXECUTIONS = 10_000
_NEVER = " " * 24
"""In the place of a time, and as long."""


@attrs.define
class _Seen:
    """What was last said of one execution."""

    phase: ExecutionPhase | None = None
    statuses: dict[str, tuple[object, ...]] = attrs.Factory(dict)
    messages: int = 0


class PlainLines:
    """Turns the successive snapshots of executions into lines about what changed."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def lines(self, snapshot: Snapshot) -> list[str]:
        """Return the lines for what changed since the last snapshot of the same execution.

        At most 20 tasks have a line of their own each time, failed ones first; the rest are counted.
        """
        seen = self._seen[snapshot.execution_id] = self._seen.pop(snapshot.execution_id, _Seen())
        if len(self._seen) > _MOST_EXECUTIONS:
            del self._seen[next(iter(self._seen))]
        name = one_line(snapshot.execution_id)
        phase_changed, seen.phase = seen.phase is not snapshot.phase, snapshot.phase
        if snapshot.is_terminal and not phase_changed:
            return []  # it was sent a second time
        changed = self._changed(seen, snapshot)
        found: list[str] = []
        if phase_changed and not snapshot.is_terminal:
            found.append(f"{_time(snapshot.started_at)} {name} {snapshot.phase.name}")
        news = _task_lines(name, snapshot, changed)
        if isinstance(snapshot, AgentSnapshot):
            news = sorted([*_message_lines(name, seen, snapshot), *news], key=lambda line: line[: len(_NEVER)])
        found += news
        if snapshot.is_terminal:
            found.append(_last_line(name, snapshot))
            self._seen[snapshot.execution_id] = _Seen(snapshot.phase)
        return found

    def _changed(self, seen: _Seen, snapshot: Snapshot) -> list[Task]:
        # What a backend answers has no revisions of tasks, so that all are compared.
        changed = []
        for task in snapshot.tasks:
            now, was = (task.status, attempt(task), task.waiting_for), seen.statuses.get(task.task_id)
            if now != was:
                seen.statuses[task.task_id] = now
                begins_to_wait = task.waiting_for is not None
                is_new = task.status is not TaskStatus.PENDING if was is None else now[:2] != was[:2]
                if is_new or begins_to_wait:
                    changed.append(task)
        return changed


def _task_lines(name: str, snapshot: Snapshot, changed: list[Task]) -> list[str]:
    failed_first = sorted(changed, key=lambda task: task.status is not TaskStatus.FAILED)
    shown = sorted(failed_first[:_MOST_LINES], key=lambda task: _time(task.completed_at or task.started_at))
    names = {task.task_id: task.task_name for task in snapshot.tasks} if any(task.parent_id for task in shown) else {}
    lines = [_task_line(name, task, names.get(task.parent_id or "")) for task in shown]
    rest = len(changed) - len(shown)
    if rest:
        lines.append(f"{_time(latest_time(snapshot))} {name}: {rest:,} more tasks changed; now {counts(snapshot)}")
    return lines


def _task_line(name: str, task: Task, parent: str | None) -> str:
    time = task.completed_at or task.started_at
    took = "" if task.status is TaskStatus.SKIPPED else elapsed(task, None)
    about = detail(task)
    place = "" if parent is None else f"{one_line(parent)} / "
    return (
        f"{_time(time)} {name}: task {place}{one_line(task.task_name)} {task.status.name}"
        f"{f' after {took}' if took else ''}{f': {about}' if about else ''}"
    )


def _message_lines(name: str, seen: _Seen, snapshot: AgentSnapshot) -> list[str]:
    # The last message may still grow, and is said once something follows it.
    whole = len(snapshot.messages) - (not snapshot.is_terminal)
    fresh = snapshot.messages[seen.messages : max(whole, seen.messages)]
    seen.messages = max(whole, seen.messages)
    return [
        f"{_time(message.timestamp)} {name}: {message.type.name} says: {one_line(message.content)}"
        for message in fresh
        if message.content and message.type is not MessageType.TOOL
    ]


def _last_line(name: str, snapshot: Snapshot) -> str:
    took = elapsed(snapshot, None)
    error = "" if snapshot.error is None else f": {one_line(snapshot.error)}"
    after = f" after {took}" if took else ""
    return f"{_time(snapshot.completed_at)} {name} {snapshot.phase.name}{after} ({counts(snapshot)}){error}"


def _time(time: datetime | None) -> str:
    return _NEVER if time is None else format_time(time)


class PlainScreen:
    """Writes plain lines to a file; once that fails, because nobody reads any more, it is silent."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = sys.stdout if file is None else file
        self._lines = PlainLines()
        self._lock = threading.Lock()
        self._note = ""
        self._gone = False

    def show(self, snapshot: Snapshot) -> bool:
        """Write what changed; False once nobody reads any more."""
        with self._lock:
            self._note = ""
            self._write(self._lines.lines(snapshot))
            return not self._gone

    def note(self, text: str) -> None:
        """Write a remark, once as long as it stays the same."""
        with self._lock:
            if text != self._note:
                self._note = text
                self._write([one_line(text)] if text else [])

    def close(self) -> None:
        """Nothing: every line was written whole."""

    def _write(self, lines: list[str]) -> None:
        if not lines or self._gone:
            return
        encoding = getattr(self._file, "encoding", None) or "utf-8"
        text = "".join(f"{line}\n" for line in lines).encode(encoding, "replace").decode(encoding)
        try:
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError):  # a broken pipe, a closed file
            self._gone = True
