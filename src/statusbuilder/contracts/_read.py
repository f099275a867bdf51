"""Reading what a backend says, whatever it says: anything odd becomes a default."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import IntEnum
from math import copysign, isfinite
from typing import Any, Final, TypeVar

from ..core.model.frozen import JsonArray, JsonObject
from ..core.model.times import parse_time
from ..core.model.values import ExecutionPhase

_E = TypeVar("_E", bound=IntEnum)
_EXACT: Final = 2**53


class Read:
    """The fields of one message, of our generated classes, the backend's own, or any class with such attributes."""

    __slots__ = ("_message",)

    def __init__(self, message: Any) -> None:
        self._message = message

    def text(self, name: str) -> str | None:
        """Return a text; None when it is empty, which the wire does not tell from absent."""
        value = getattr(self._message, name, None)
        return value if isinstance(value, str) and value else None

    def time(self, name: str) -> datetime | None:
        return parse_time(self.text(name))

    def enum(self, name: str, kind: type[_E], default: _E) -> _E:
        try:
            return kind(getattr(self._message, name, 0))
        except (ValueError, TypeError):
            return default

    def phase(self) -> ExecutionPhase:
        started = self.time("started_at") is not None
        return self.enum("phase", ExecutionPhase, ExecutionPhase.IN_PROGRESS if started else ExecutionPhase.PENDING)

    def items(self, name: str) -> Iterable[Any]:
        return getattr(self._message, name, None) or ()

    def mapping(self, name: str) -> Mapping[str, Any]:
        return getattr(self._message, name, None) or {}

    def message(self, name: str) -> Any:
        """Return a message field; None when it is not set."""
        try:
            return getattr(self._message, name, None) if self._message.HasField(name) else None
        except (AttributeError, ValueError):
            return None

    def payload(self, name: str) -> JsonObject | None:
        """Return a `google.protobuf.Struct` field as JSON; None when it is not set."""
        value = self.message(name)
        return None if value is None else _object(value)


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
