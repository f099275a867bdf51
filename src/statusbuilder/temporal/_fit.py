"""Snapshots as JSON of limited size, for all that Temporal limits: headers, query answers, heartbeats, arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from ..core.model.values import Snapshot

LIMIT: Final = 256 * 1024
"""Bytes of JSON; Temporal warns above it, and refuses at 2 MiB."""
FOLDED: Final = "statusbuilder.folded"
ERROR_ROOM: Final = 1024
OUTPUT_ROOM: Final = 16 * 1024
_ENDED_WELL = ("COMPLETED", "SKIPPED")
_ENDED = (*_ENDED_WELL, "FAILED")
_KEPT = ("message", "retry_count", "last_error", "cancelled", "fraction", "workflow_id")


def size_of(value: object) -> int:
    """Return the bytes that a JSON value takes as Temporal's own converter writes it."""
    return len(json.dumps(value, separators=(",", ":")))


def fit(snapshot: Snapshot, limit: int = LIMIT) -> dict[str, Any]:
    """Return a snapshot as `to_dict` does, in at most `limit` bytes of JSON.

    Payloads of finished tasks go first, the oldest ones before the others; then those of open tasks, long errors, and
    an agent's oldest messages. Then the oldest tasks that ended well fold into one, `statusbuilder.folded`, and last
    the others.
    """
    data = snapshot.to_dict()
    excess = size_of(data) - limit
    if excess <= 0:
        return data
    tasks = data["tasks"]
    excess -= _bare((task for task in tasks if task["status"] in _ENDED), excess)
    excess -= _bare((task for task in tasks if task["status"] not in _ENDED), excess)
    excess -= _cut_ends(data, excess)
    excess -= _drop_messages(data, excess)
    for statuses in (_ENDED_WELL, _ENDED, None):
        if excess > 0:
            excess = _fold(data, statuses, limit)
    return data


def slim(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a task does not have; `from_dict` reads it all the same."""
    tasks = [{key: value for key, value in task.items() if value not in (None, {})} for task in data["tasks"]]
    return {**data, "tasks": tasks}


def _bare(tasks: Iterable[dict[str, Any]], excess: int) -> int:
    """Take the payloads of tasks away until `excess` bytes are saved; return what was saved."""
    saved = 0
    for task in tasks:
        if saved >= excess:
            break
        if task["task_id"] == FOLDED:
            continue
        before = size_of(task)
        task["input"] = task["output"] = None
        task["metadata"] = {key: _short(task["metadata"][key]) for key in _KEPT if key in task["metadata"]}
        task["error"] = _short(task["error"])
        task["task_name"] = _short(task["task_name"])
        saved += before - size_of(task)
    return saved


def _short(value: Any) -> Any:
    return f"{value[:ERROR_ROOM]}…" if isinstance(value, str) and len(value) > ERROR_ROOM else value


def _cut_ends(data: dict[str, Any], excess: int) -> int:
    """Shorten what the execution itself gave, and why it failed."""
    if excess <= 0:
        return 0
    before = size_of([data["output"], data["error"]])
    data["error"] = _short(data["error"])
    if data["output"] is not None:
        text = json.dumps(data["output"])
        if len(text) > OUTPUT_ROOM:
            half = OUTPUT_ROOM // 2
            cut = {"truncated": True, "bytes": len(text), "head": text[:half], "tail": text[-half:]}
            data["output"] = cut
    return before - size_of([data["output"], data["error"]])


def _drop_messages(data: dict[str, Any], excess: int) -> int:
    """Drop an agent's oldest messages, but not the last one, which is cut instead."""
    messages, saved = data.get("messages") or [], 0
    while len(messages) > 1 and saved < excess:
        saved += size_of(messages.pop(0)) + 1
    if messages and saved < excess and isinstance(messages[0].get("content"), str):
        before = size_of(messages[0])
        messages[0]["content"] = messages[0]["content"][-ERROR_ROOM:]
        saved += before - size_of(messages[0])
    return saved


def _fold(data: dict[str, Any], statuses: tuple[str, ...] | None, limit: int) -> int:
    """Fold the oldest tasks of these statuses into one until the data fits; return what is still too much."""
    folded = [task for task in data["tasks"] if task["task_id"] == FOLDED]
    known: dict[str, Any] = {"count": 0, "first": "", "last": ""}
    if folded:
        known.update(
            (key, value) for key, value in folded[0]["metadata"].items() if type(value) is type(known.get(key))
        )
    rest = [task for task in data["tasks"] if task["task_id"] != FOLDED]
    longest = _stand_in({"count": 10**9, "first": "x" * 64, "last": "x" * 64})
    excess = size_of({**data, "tasks": [longest, *rest]}) - limit
    kept = []
    for task in rest:
        if excess > 0 and (statuses is None or task["status"] in statuses):
            known = {"count": known["count"] + 1, "first": known["first"] or task["task_id"], "last": task["task_id"]}
            excess -= size_of(task) + 1
        else:
            kept.append(task)
    data["tasks"] = [_stand_in(known), *kept]
    return size_of(data) - limit


def _stand_in(known: dict[str, Any]) -> dict[str, Any]:
    shown = {**known, "first": known["first"][:64], "last": known["last"][:64]}
    name = f"{known['count']} earlier tasks"
    return {"task_id": FOLDED, "task_name": name, "task_type": "CUSTOM", "status": "COMPLETED", "metadata": shown}
