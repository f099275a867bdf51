"""The shapes of fields: how a value becomes the bytes of a field, and how it is read back, whatever is there.

Messages are of our generated classes, the backend's own, or any class with such attributes. Anything odd in them is
read as a default.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from math import copysign, isfinite
from operator import attrgetter
from typing import Any, Final, NoReturn

import attrs

from ..core.model.frozen import EMPTY, JsonArray, JsonObject, freeze
from ..core.model.times import parse_time
from ..payload.cut import sole_text
from .codec import delimited, number, payload, tag, text, time

_EXACT: Final = 2**53
Write = Callable[[Any], bytes]


@attrs.frozen(eq=False)
class Shape:
    """How the values of a field are written and read."""

    writer: Callable[[int], Write]
    """Of the field's number: makes what writes a value that is not None, with its tag."""
    read: Callable[[Any, str], Any]
    """Of a message and the field's name: whatever is there, a default where it is odd."""
    message: Any = None
    """The `Message` that says what a field that holds messages has in them."""
    is_sent: bool = True
    is_list: bool = False


def read_text(message: Any, name: str) -> str | None:
    """Return a text; None when it is empty, which the wire does not tell from absent."""
    value = getattr(message, name, None)
    return value if isinstance(value, str) and value else None


def _read_part(message: Any, name: str) -> Any:
    """Return a message field; None when it is not set."""
    try:
        return getattr(message, name, None) if message.HasField(name) else None
    except (AttributeError, ValueError):
        return None


def _read_payload(message: Any, name: str) -> JsonObject | None:
    """Return a `google.protobuf.Struct` field as JSON; None when it is not set."""
    value = _read_part(message, name)
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
    found: Any = None if kind in (None, "null_value") else getattr(value, kind)
    if kind == "struct_value":
        return _object(found)
    if kind == "list_value":
        return JsonArray(map(_value, found.values))
    return _number(found) if kind == "number_value" else found


def _number(value: float) -> Any:
    if not isfinite(value):
        return json.dumps(value)  # as where payloads enter a builder: NaN, Infinity
    whole = value.is_integer() and abs(value) <= _EXACT and (value != 0 or copysign(1, value) > 0)
    return int(value) if whole else value


TEXT: Final = Shape(lambda field: partial(text, tag(field)), read_text)
TIME: Final = Shape(lambda field: partial(time, tag(field)), lambda message, name: parse_time(read_text(message, name)))
PAYLOAD: Final = Shape(lambda field: partial(payload, tag(field)), _read_payload)
RESULT: Final = attrs.evolve(PAYLOAD, read=lambda message, name: _read_payload(message, name) or None)
"""A payload that replaces an older one by being empty."""
METADATA: Final = Shape(
    lambda field: lambda value: payload(tag(field), value) if value else b"",
    lambda message, name: _read_payload(message, name) or EMPTY,
)
"""A payload that is not there when it is empty."""
AS_TEXT: Final = Shape(
    lambda field: lambda value: text(tag(field), sole_text(value)),
    lambda message, name: from_text(read_text(message, name)),
)
"""A payload whose field is a text."""
NEVER_SENT: Final = Shape(lambda field: lambda value: b"", lambda message, name: None, is_sent=False)


def enum(kind: type[IntEnum], most: int = 2**31) -> Shape:
    """Return the shape of an enum's field.

    Args:
        kind: whose numbers are the wire's.
        most: the largest that the wire has, which goes in the place of larger ones.
    """

    def writer(field: int) -> Write:
        known = {int(member): number(field, min(member, most)) for member in kind}
        # A list is asked by number at once, a dict by an enum's hash, which Python computes.
        return [known.get(value, b"") for value in range(max(kind) + 1)].__getitem__

    def read(message: Any, name: str) -> Any:
        try:
            found = kind(getattr(message, name, 0))
        except (ValueError, TypeError):
            return None
        return found if found <= most else None

    return Shape(writer, read)


def part(message: Any) -> Shape:
    """Return the shape of a field that is one message."""
    return Shape(
        lambda field: entry(field, message),
        lambda holder, name: None if (found := _read_part(holder, name)) is None else message.read(found),
        message,
    )


def items(message: Any) -> Shape:
    """Return the shape of a field that is a list of messages."""

    def writer(field: int) -> Write:
        write = entry(field, message)
        return lambda values: b"".join(map(write, values))

    def read(holder: Any, name: str) -> tuple[Any, ...]:
        return tuple(message.read(item, place) for place, item in enumerate(getattr(holder, name, None) or (), 1))

    return Shape(writer, read, message, is_list=True)


def mapping(pair: Any, key: str) -> Shape:
    """Return the shape of a map from texts to messages, which have their key in an attribute of that name."""

    def writer(field: int) -> Write:
        write = items(pair).writer(field)
        return lambda values: write(sorted(values, key=attrgetter(key)))

    def read(holder: Any, name: str) -> tuple[Any, ...]:
        entries, value = getattr(holder, name, None) or {}, pair.named("value").shape.message
        return tuple(value.read(entries[each], each) for each in entries)

    return Shape(writer, read, pair)


def entry(field: int, message: Any) -> Write:
    """Return what writes one message, with tag and length."""
    start, encode = tag(field), message.encode
    return lambda item: delimited(start, encode(item))
