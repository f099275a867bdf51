"""Shorter forms of payloads, texts and tasks, for requests that would be too large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from ..core.model.frozen import JsonObject
from ..core.model.values import Task, TaskStatus
from .codec import encode_struct, to_json, to_text, utf8

LARGE: Final = 2048
"""Bytes that a payload keeps when it is cut the first time."""
SMALL: Final = 256
"""Bytes that a payload keeps when it is cut the second time."""
ERROR: Final = 1024
"""Bytes that an error keeps."""
BARE: Final = 128
"""Bytes that an error keeps when hardly anything else is left."""
_FORM: Final = 96  # bytes of a cut payload beside its head and tail
_MARK: Final = 40  # bytes of the note in a clipped text
_ENDED_WELL: Final = (TaskStatus.COMPLETED, TaskStatus.SKIPPED)


def ended_well(task: Task) -> bool:
    return task.status in _ENDED_WELL


def _ends(data: bytes, head: int, tail: int) -> tuple[str, str]:
    # A cut may fall into a character, whose rest then goes too.
    return data[:head].decode(errors="ignore"), data[len(data) - tail :].decode(errors="ignore")


def clip(text: str, room: int) -> str:
    """Return the text's head and tail, with a note of what is missing, in at most `room` bytes of UTF-8."""
    if len(text) * 4 <= room or len(data := utf8(text)) <= room:
        return text
    tail = max(room - _MARK, 0) // 3
    head, end = _ends(data, max(room - _MARK, 0) - tail, tail)
    return f"{head}\n… {len(text) - len(head) - len(end)} characters cut …\n{end}"


def cut_payload(value: JsonObject, room: int) -> JsonObject:
    """Return a payload that takes at most `room` bytes on the wire: itself or its head and tail."""
    return value if len(encode_struct(value)) <= room else JsonObject(_cut(value, (room - _FORM) // 2))


def _cut(value: Mapping[str, Any], end: int) -> dict[str, Any]:
    if value.get("truncated") is True and isinstance(value.get("head"), str) and isinstance(value.get("tail"), str):
        size, first, last = value.get("bytes"), utf8(value["head"]), utf8(value["tail"])
    else:
        # As where payloads are cut as they enter a builder: the text itself where there is nothing but a text.
        first = last = utf8(to_text(value))
        size = len(utf8(to_json(value)))
    return {"truncated": True, "bytes": size, "head": _ends(first, end, 0)[0], "tail": _ends(last, 0, end)[1]}


def _cut_metadata(value: JsonObject, room: int) -> JsonObject:
    """Cut metadata, but keep what the library itself put there."""
    if len(encode_struct(value)) <= room:
        return value
    own: dict[str, Any] = {
        key: value[key] for key in ("retry_count", "cancelled") if isinstance(value.get(key), (bool, int, float))
    }
    if isinstance(message := value.get("message"), str):
        own["message"] = clip(message, room // 4)
    return JsonObject(_cut(value, max((room - _FORM - room // 4 - 64) // 2, 0)) | own)


def shortened(task: Task, payload: int | None, error: int | None) -> Task:
    """Return a task whose payloads and error take at most so many bytes each; None leaves them as they are."""
    changes: dict[str, Any] = {}
    if payload is not None:
        changes = {
            "input": None if task.input is None else cut_payload(task.input, payload),
            "output": None if task.output is None else cut_payload(task.output, payload),
            "metadata": _cut_metadata(task.metadata, payload),
        }
    if error is not None and task.error is not None:
        changes["error"] = clip(task.error, error)
    return attrs.evolve(task, **changes)


def bare(task: Task) -> Task:
    """Return a task with nothing but what it is, how it went, and the gist of its error."""
    return Task(
        task_id=task.task_id,
        task_name=clip(task.task_name, BARE),
        task_type=task.task_type,
        status=task.status,
        error=None if task.error is None else clip(task.error, BARE),
        started_at=task.started_at,
        completed_at=task.completed_at,
    )
