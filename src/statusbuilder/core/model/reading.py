"""Reading JSON that another release may have written: what is unknown becomes a default, and nothing raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from math import inf, isfinite
from typing import Any, TypeVar

from .frozen import EMPTY, JsonArray, JsonObject

_E = TypeVar("_E", bound=IntEnum)
_T = TypeVar("_T")


def valid_unicode(text: str) -> str:
    """Return the text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def read_enum(kind: type[_E], name: object, default: _E) -> _E:
    return kind.__members__.get(name, default) if isinstance(name, str) else default


def read_text(value: object) -> str | None:
    return valid_unicode(value) if isinstance(value, str) else None


def read_object(value: object) -> JsonObject | None:
    try:
        return read_json(value) if isinstance(value, Mapping) else None
    except Exception:  # nested deeper than Python recurses, or nothing that came from JSON
        return None


def make_object(value: Mapping[str, Any] | None) -> JsonObject | None:
    """Return a payload as one that cannot be changed; what is no mapping is `{"value": x}`, as where it enters."""
    if value is None or type(value) is JsonObject:
        return value
    try:
        return read_json(value if isinstance(value, Mapping) else {"value": value})  # type: ignore[no-any-return]
    except Exception:
        return EMPTY


def make_metadata(value: Mapping[str, Any] | None) -> JsonObject:
    """Return metadata as one payload that cannot be changed; without any it is empty."""
    return value if type(value) is JsonObject else make_object(value) or EMPTY


def read_items(read: Callable[[Mapping[str, Any]], _T], items: object) -> tuple[_T, ...]:
    """Return what `read` makes of each mapping in a list; anything else is left out."""
    return tuple(read(item) for item in items if isinstance(item, Mapping)) if isinstance(items, (list, tuple)) else ()


def read_json(value: Any) -> Any:
    """Freeze a payload; what JSON does not have becomes a text, as it does when it enters a builder."""
    kind = type(value)
    if kind is str:
        return valid_unicode(value)
    if kind in (int, bool, JsonObject, JsonArray) or value is None:
        return value
    if isinstance(value, Mapping):
        return JsonObject((valid_unicode(str(key)), read_json(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return JsonArray(map(read_json, value))
    if isinstance(value, float) and not isfinite(value):
        return {inf: "Infinity", -inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, (int, float)):
        return float(value) if isinstance(value, float) else int(value)
    return valid_unicode(str(value))


def read_count(value: object, default: int = 0) -> int:
    """Read a whole number that is at least 0; a Struct makes a float of it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 2**53:
        return default
    return max(0, int(value))


def read_int(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
