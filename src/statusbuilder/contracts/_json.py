"""A snapshot as JSON of limited size, shortened as requests are."""

from __future__ import annotations

import json
from typing import Any

import attrs

from ..agent.model import AgentSnapshot
from ..core.model.values import Snapshot, TaskType
from ._encoder import StatusEncoder, message_lane, task_lane
from ._shorten import shorten_end

_LISTS = ("tasks", "messages")
_FOLD_ROOM = 1024
_dumps = json.JSONEncoder(separators=(",", ":"), default=str).encode  # as Temporal's own converter writes it


def fit_dict(snapshot: Snapshot, max_bytes: int, *, slim: bool = False) -> dict[str, Any]:
    """Return what `snapshot.to_dict()` does, in at most `max_bytes` bytes of compact JSON.

    A snapshot that takes more is shortened as a request is, and folds as one; `from_dict` reads it all the same.

    Args:
        snapshot: of any kind.
        max_bytes: as ASCII, in which other characters take six bytes and more.
        slim: whether what a task does not have is left out.
    """
    whole = snapshot.to_dict()
    if slim:
        whole["tasks"] = list(map(_slim, whole["tasks"]))
    if len(_dumps(whole)) <= max_bytes:
        return whole

    def encode(item: Any) -> bytes:
        return f"{_dumps(_slim(item.to_dict()) if slim else item.to_dict())},".encode()

    is_agent = isinstance(snapshot, AgentSnapshot)
    lanes = [task_lane(encode, TaskType.TOOL_CALL if is_agent else TaskType.CUSTOM, fold_room=_FOLD_ROOM)]
    if is_agent:
        lanes.append(message_lane(encode, fold_room=_FOLD_ROOM))
    parts = StatusEncoder(_frame, tuple(lanes)).encode(snapshot, max_bytes)
    found = json.loads(b"".join(parts))
    return {key: found[key][:-1] if key in _LISTS else found["rest"][key] for key in whole}


def _slim(task: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in task.items() if value not in (None, {})}


def _frame(snapshot: Snapshot, level: int) -> tuple[bytes, ...]:
    """Return what stands around the lists; each of them ends with a null, after the last item's comma."""
    lists = [name for name in _LISTS if hasattr(snapshot, name)]
    changes: dict[str, Any] = dict.fromkeys(lists, ())
    for key in ("error", "output", "temporal_workflow_id", "todos"):
        value = getattr(snapshot, key, None)
        if level and value:
            changes[key] = shorten_end(key, value, level)
    rest = _dumps(attrs.evolve(snapshot, **changes).to_dict())
    before = [f'{"null]," if place else "{"}"{name}":[' for place, name in enumerate(lists)]
    return tuple(map(str.encode, (*before, f'null],"rest":{rest}}}')))
