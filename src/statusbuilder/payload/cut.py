"""The one way of cutting: what is too large keeps its beginning and its end, and says what is missing."""

from __future__ import annotations

import json
from typing import Any, Final

from ..core.model.frozen import JsonObject
from ..core.model.metadata import EXACT, KEYS

LEAST_BYTES: Final = 128
"""The least room that a payload needs."""
_TEXTS: Final = ("message", "waiting_for")
_KEPT: Final = (*KEYS, "component_type", "component_group", "layout_hint", "message_id")
_CUT: Final = ("truncated", "bytes", "head", "tail")

to_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
"""Compact JSON of anything that may stand in a snapshot, also of one that no builder made."""


def gap(count: int) -> str:
    """Return what stands between the beginning and the end of a text whose middle is left out."""
    return f"\n… {count} characters cut …\n"


def clip(text: str, room: int) -> str:
    """Return a text in at most `room` bytes of UTF-8: itself, or its beginning and its end."""
    return text if len(text) * 4 <= room or _size(text) <= room else join_ends(text, text, len(text), room)


def join_ends(head: str, tail: str, length: int, room: int) -> str:
    """Return the beginning of `head` and the end of `tail`, in at most `room` bytes of UTF-8.

    Args:
        head: where the beginning is from.
        tail: where the end is from.
        length: how many characters the whole text has, at least.
        room: in bytes.
    """
    room = max(0, room - _size(gap(length)))
    half = room // 2
    # A cut may fall into a character, whose rest then goes too.
    begin = _bytes(head[: room - half])[: room - half].decode(errors="ignore")
    end = _bytes(tail[-half:])[-half:].decode(errors="ignore") if half else ""
    return f"{begin}{gap(length - len(begin) - len(end))}{end}"


def cut_payload(value: JsonObject, room: int) -> JsonObject:
    """Return what is left of a payload in at most `room` bytes of compact JSON; of one that was cut before, less."""
    return cut_ends(*_ends_of(value), room)


def cut_ends(head: str, tail: str, size: int, room: int) -> JsonObject:
    """Return what stands for a payload: its size, the beginning of `head` and the end of `tail`, in `room` bytes."""
    cut: dict[str, Any] = {"truncated": True, "bytes": size, "head": "", "tail": ""}
    # Whoever writes it with a space after each colon and comma, as `json.dumps` does, gets no more than the limit, too.
    room = max(0, room - _size(to_text(cut)) - 7)
    cut["head"] = _fitting(head, room - room // 2, 1)
    cut["tail"] = _fitting(tail, room // 2, -1)
    return JsonObject(cut)


def cut_metadata(metadata: JsonObject, room: int) -> JsonObject:
    """Return what is left of metadata in about `room` bytes of compact JSON.

    The fixed keys stay: `parent_id`, `retry_count`, `progress` and `cancelled` as they are, texts clipped. The attempts
    go, and anything else becomes a cut payload.
    """
    own = known_metadata(metadata, max(48, room // 4))
    rest = JsonObject((key, item) for key, item in metadata.items() if key not in own and key != "attempts")
    if not rest:
        return JsonObject(own)
    return JsonObject({**cut_ends(*_ends_of(rest), max(LEAST_BYTES, room) - _size(to_text(own))), **own})


def known_metadata(metadata: JsonObject, room: int) -> dict[str, Any]:
    """Return the fixed keys of metadata but the attempts.

    Texts take at most `room` bytes each; with 0 there are only those that are never cut.
    """
    own: dict[str, Any] = {}
    for key in _KEPT:
        value = metadata.get(key)
        if isinstance(value, str):
            if key in _TEXTS and room:
                own[key] = _clip_json(value, room)
            elif key in EXACT or len(value) <= room:
                own[key] = value
        elif key in EXACT and value is not None and _size(to_text(value)) <= LEAST_BYTES:
            own[key] = value
    return own


def fit_metadata(metadata: JsonObject, max_bytes: int) -> tuple[JsonObject, int]:
    """Return metadata that grew, in at most `max_bytes` bytes, and how many it takes at most.

    Where it is too large it is cut to half of them, so that it is not cut again with each key to come.
    """
    size = _size(to_text(metadata))
    if size <= max_bytes:
        return metadata, size
    room = max(max_bytes // 2, LEAST_BYTES)
    attempts = {"attempts": metadata["attempts"]} if "attempts" in metadata else {}
    return JsonObject({**cut_metadata(metadata, room - _size(to_text(attempts))), **attempts}), room


def sole_text(payload: JsonObject) -> str:
    """Return the text of a payload that is nothing but a text, else its JSON text."""
    text = payload.get("value") if len(payload) == 1 else None
    return text if type(text) is str else to_text(payload)


def _ends_of(payload: JsonObject) -> tuple[str, str, int]:
    """Return where the head and the tail of a payload come from, and its size; what was cut before stays cut."""
    head, tail, size = (payload.get(key) for key in ("head", "tail", "bytes"))
    is_cut = payload.get("truncated") is True
    if is_cut and isinstance(head, str) and isinstance(tail, str) and isinstance(size, int):
        later = {key: item for key, item in payload.items() if key not in _CUT}
        added = to_text(later) if later else ""
        return head, tail + added, size + _size(added)
    text = sole_text(payload)
    return text, text, _size(to_text(payload))


def _fitting(text: str, room: int, step: int) -> str:
    """Return as much of the text's beginning (step 1) or end (step -1) as takes at most `room` bytes as JSON."""
    part = text[:room] if step > 0 else text[max(0, len(text) - room) :]
    for _ in range(8):
        size = _size(to_text(part)) - 2
        if size <= room:
            return part
        keep = len(part) * room // size
        part = part[:keep] if step > 0 else part[len(part) - keep :]
    keep = room // 6
    return part[:keep] if step > 0 else part[len(part) - keep :]


def _clip_json(text: str, room: int) -> str:
    """Clip a text so that it takes at most about `room` bytes as JSON, where a control character takes six."""
    short = clip(text, room)
    size = _size(to_text(short)) - 2
    return short if size <= room else clip(text, room * room // size)


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _size(text: str) -> int:
    return len(_bytes(text))
