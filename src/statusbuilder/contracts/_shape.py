"""The shapes of fields: how a value becomes the bytes of a field, and how it is read back."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..core.model.frozen import EMPTY
from ..payload.cut import sole_text
from . import _read
from .codec import delimited, number, payload, tag, text, time, utf8

if TYPE_CHECKING:
    from ._message import Message

Write = Callable[[Any], bytes]


@attrs.frozen(eq=False)
class Shape:
    """How the values of a field are written and read."""

    writer: Callable[[int], Write]
    """Of the field's number: makes what writes a value that is not None, with its tag."""
    read: Callable[[Any, str], Any]
    """Of a message and the field's name: whatever is there, a default where it is odd."""
    message: Message | None = None
    """What a field that holds messages has in them."""
    is_sent: bool = True
    is_list: bool = False


TEXT: Final = Shape(lambda field: partial(text, tag(field)), _read.text)
TIME: Final = Shape(lambda field: partial(time, tag(field)), _read.time)
PAYLOAD: Final = Shape(lambda field: partial(payload, tag(field)), _read.payload)
RESULT: Final = attrs.evolve(PAYLOAD, read=lambda message, name: _read.payload(message, name) or None)
"""A payload that replaces an older one by being empty."""
METADATA: Final = Shape(
    lambda field: lambda value: payload(tag(field), value) if value else b"",
    lambda message, name: _read.payload(message, name) or EMPTY,
)
"""A payload that is not there when it is empty."""
AS_TEXT: Final = Shape(
    lambda field: lambda value: text(tag(field), sole_text(value)),
    lambda message, name: _read.from_text(_read.text(message, name)),
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
        found = _read.enum(message, name, kind)
        return found if found is not None and found <= most else None

    return Shape(writer, read)


def part(message: Message) -> Shape:
    """Return the shape of a field that is one message."""
    return Shape(
        lambda field: entry(field, message),
        lambda holder, name: None if (found := _read.part(holder, name)) is None else message.read(found),
        message,
    )


def items(message: Message) -> Shape:
    """Return the shape of a field that is a list of messages."""

    def writer(field: int) -> Write:
        write = entry(field, message)
        return lambda values: b"".join(map(write, values))

    def read(holder: Any, name: str) -> tuple[Any, ...]:
        return tuple(message.read(item, place) for place, item in enumerate(_read.items(holder, name), 1))

    return Shape(writer, read, message, is_list=True)


def mapping(message: Message, key: Callable[[Any], str]) -> Shape:
    """Return the shape of a map from texts to messages, in the order of the keys; `key` tells a value's own."""

    def writer(field: int) -> Write:
        name, value = partial(delimited, tag(1)), entry(2, message)
        outer = partial(delimited, tag(field))

        def write(values: Any) -> bytes:
            named = {key(item): item for item in values}
            # An entry always has both, also when one is empty.
            return b"".join(outer(name(utf8(each)) + value(named[each])) for each in sorted(named))

        return write

    def read(holder: Any, name: str) -> tuple[Any, ...]:
        entries = _read.mapping(holder, name)
        return tuple(message.read(entries[each], each) for each in entries)

    return Shape(writer, read, message)


def entry(field: int, message: Message) -> Write:
    """Return what writes one message, with tag and length."""
    start, encode = tag(field), message.encode
    return lambda item: delimited(start, encode(item))
