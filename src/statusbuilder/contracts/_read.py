"""Reading what a backend says, whatever it says: anything odd becomes a default.

Messages are of our generated classes, the backend's own, or any class with such attributes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import IntEnum
from math import copysign, isfinite
from typing import Any, Final, NoReturn, TypeVar

from ..core.model.frozen import JsonArray, JsonObject, freeze
from ..core.model.times import parse_time
from ..payload.cut import sole_text

_E = TypeVar("_E", bound=IntEnum)
_EXACT: Final = 2**53


def text(message: Any, name: str) -> str | None:
    """Return a text; None when it is empty, which the wire does not tell from absent."""
    value = getattr(message, name, None)
    return value if isinstance(value, str) and value else None


def time(message: Any, name: str) -> datetime | None:
    return parse_time(text(message, name))


def enum(message: Any, name: str, kind: type[_E]) -> _E | None:
    try:
        return kind(getattr(message, name, 0))
    except (ValueError, TypeError):
        return None


def items(message: Any, name: str) -> Iterable[Any]:
    return getattr(message, name, None) or ()


def mapping(message: Any, name: str) -> Mapping[str, Any]:
    return getattr(message, name, None) or {}


def part(message: Any, name: str) -> Any:
    """Return a message field; None when it is not set."""
    try:
        return getattr(message, name, None) if message.HasField(name) else None
    except (AttributeError, ValueError):
        return None


def payload(message: Any, name: str) -> JsonObject | None:
    """Return a `google.protobuf.Struct` field as JSON; None when it is not set."""
    value = part(message, name)
    return None if value is None else _object(value)


def from_text(value: str | None) -> JsonObject | None:
    """Return the payload that a text stands for: the JSON object that it is, else the text."""
    if value is None:
        return None
    if value[:1] == "{" and value[-1:] == "}":
        try:
            found = json.loads(value, parse_constant=_refuse)
            # Only what comes out as the same text again was JSON of ours.
            if isinstance(found, dict) and sole_text(JsonObject(found)) == value:
                return freeze(found)  # type: ignore[no-any-return]
        except (ValueError, RecursionError):
            pass
    return JsonObject(value=value)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _object(value: Any) -> JsonObject:
    return JsonObject({key: _value(item) for key, item in value.fields.items()})


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        return _number(value.number_value)
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return _object(value.struct_value)
    if kind == "list_value":
        return JsonArray(_value(item) for item in value.list_value.values)
    return None


def _number(value: float) -> Any:
    if not isfinite(value):
        return json.dumps(value)  # as where payloads enter a builder: NaN, Infinity
    whole = value.is_integer() and abs(value) <= _EXACT and (value != 0 or copysign(1, value) > 0)
    return int(value) if whole else value
