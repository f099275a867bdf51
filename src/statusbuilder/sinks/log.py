"""A sink that writes transitions to the standard library's logging."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import attrs

from ..core.model.metadata import KEYS
from ..core.model.printable import one_line
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus

_MOST_EXECUTIONS = 10_000


@attrs.define
class _Seen:
    """What was last logged of one execution."""

    epoch: int
    revision: int = -1
    phase: ExecutionPhase | None = None
    statuses: dict[str, tuple[TaskStatus, str | None]] = attrs.Factory(dict)


class LogSink:
    """Writes one line per transition: when the execution's phase or a task's status changes.

    Other changes (messages, outputs, metadata) are not logged. Each record carries as `extra` what its line says, for
    structured handlers: `execution_id`, `revision`, `phase`, `from_status`, `to_status` (names; `from_status` is None
    at first), and for a task also `task_id`, `task_name` and `known` (what its metadata has under the fixed keys), and
    `error` where there is one. A task's attempt, and what it begins to wait for, are in the line. These are the values
    as they are; the line is one line of characters that can be seen. FAILED is logged as a WARNING, all else as INFO.

    Args:
        logger: where to write; by default the logger `statusbuilder.status`.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logging.getLogger("statusbuilder.status") if logger is None else logger
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def send(self, snapshot: Snapshot, /) -> None:
        """Log what changed since the last snapshot of the same execution."""
        for arguments in self._transitions(snapshot):
            self._log(snapshot, **arguments)

    def __repr__(self) -> str:
        return f"LogSink({getattr(self._logger, 'name', self._logger)!r})"

    def _transitions(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        with self._lock:
            seen = self._seen.pop(snapshot.execution_id, None)
            if seen is None or seen.epoch != snapshot.epoch:
                seen = _Seen(snapshot.epoch)
            if not snapshot.is_terminal:  # nothing follows, so nothing has to be remembered
                self._seen[snapshot.execution_id] = seen
                if len(self._seen) > _MOST_EXECUTIONS:
                    del self._seen[next(iter(self._seen))]  # the one that is silent for the longest time
            return _changes(seen, snapshot)

    def _log(self, snapshot: Snapshot, was: Any, now: Any, task: Task | None, error: str | None) -> None:
        extra: dict[str, Any] = {"execution_id": snapshot.execution_id, "revision": snapshot.revision}
        extra |= {"phase": snapshot.phase.name, "from_status": None if was is None else was.name, "to_status": now.name}
        form, arguments, notes = "Execution %s", [snapshot.execution_id], ""
        if task is not None:
            known = {key: task.metadata[key] for key in KEYS if key in task.metadata}
            extra |= {"task_id": task.task_id, "task_name": task.task_name, "known": known}
            form, notes = f"{form}: task %s", ", ".join(_notes(task))
            arguments.append(task.task_id)
        if error is not None:
            extra["error"] = error
        change = [(" %s", now.name)] if was is None else [(" %s", was.name), (" -> %s", now.name)]
        for part, text in (*change, (" (%s)", notes or None), (": %s", error)):
            if text is not None:
                form += part
                arguments.append(text)
        level = logging.WARNING if now.name == "FAILED" else logging.INFO
        self._logger.log(level, form, *map(one_line, arguments), extra=extra)


def _notes(task: Task) -> Iterator[str]:
    if task.attempts:
        yield f"attempt {task.attempts[-1]['number']:.0f}"
    if task.waiting_for is not None:
        yield f"waiting for {task.waiting_for}"


def _changes(seen: _Seen, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the transitions that `seen` does not know, and make it know them."""
    found: list[dict[str, Any]] = []
    for task in snapshot.changed_since(seen.revision):
        was, waited = seen.statuses.get(task.task_id, (None, None))
        if was is not task.status or (task.waiting_for is not None and task.waiting_for != waited):
            found.append({"was": was, "now": task.status, "task": task, "error": task.error})
        seen.statuses[task.task_id] = (task.status, task.waiting_for)
    if seen.phase is not snapshot.phase:
        phase = {"was": seen.phase, "now": snapshot.phase, "task": None, "error": snapshot.error}
        found.insert(0 if seen.phase is None else len(found), phase)
    seen.phase, seen.revision = snapshot.phase, snapshot.revision
    return found
