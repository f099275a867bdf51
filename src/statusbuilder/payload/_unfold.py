"""What is inside a value of any type: of builtins and the standard library here, of other libraries by `_shapes`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any

from ._shapes import SHAPES
from .members import DICT, LIST, Again, Members, Opened, Scalar, Walk, describe, error_text

_SCALARS = frozenset({str, int, float, bool, type(None)})
_MOST_STEPS = 8
# Valid UTF-8, but nothing that people write: what is left are tab, line ends and escape.
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_SET = Walk(False, set.__iter__, size=set.__len__, unordered=True)
_FROZENSET = Walk(False, frozenset.__iter__, size=frozenset.__len__, unordered=True)


def _backwards(value: tuple[Any, ...]) -> Iterator[Any]:
    return (tuple.__getitem__(value, at) for at in range(tuple.__len__(value) - 1, -1, -1))


_TUPLE = Walk(False, tuple.__iter__, _backwards, tuple.__len__)


def unfold(value: object, room: int) -> Scalar | Members:
    """Return a value as an exact builtin scalar or as a container and how to walk through it.

    `room` is about how many characters can be kept; what is larger and has no cheap beginning becomes a short text.
    """
    for _ in range(_MOST_STEPS):
        if type(value) in _SCALARS:
            return value  # type: ignore[return-value]
        opened = _open(value, room)
        if type(opened) is not Again:
            return opened  # type: ignore[return-value]
        value = opened.value
    return describe(value)


def _open(value: Any, room: int) -> Opened:
    kind = type(value)
    for base in kind.__mro__:
        opener: Callable[[Any, int], Opened] | None = _BY_TYPE.get(base)
        if opener is None and base.__module__ in _MODULES:
            opener = _BY_NAME.get(f"{base.__module__}.{base.__qualname__}")
        if opener is not None:
            return opener(value, room)
    for shape in SHAPES:
        opened = shape(value, kind, room)
        if opened is not None:
            return opened
    return describe(value)


def _tuple(value: tuple[Any, ...], _: int) -> Members:
    names = getattr(type(value), "_fields", None)
    if type(names) is tuple and len(names) == tuple.__len__(value) and all(type(name) is str for name in names):
        return DICT, dict(zip(names, tuple.__iter__(value), strict=True))
    return _TUPLE, value


def _bytes(value: bytes | bytearray | memoryview, room: int) -> str:
    size = value.nbytes if type(value) is memoryview else len(value)
    if size <= room:
        try:
            text = bytes(value).decode()
        except UnicodeDecodeError:
            text = "\0"
        if not _BINARY.search(text):
            return text
    return f"<{size} bytes>"


def _datetime(value: datetime, _: int) -> Again:
    text = value.isoformat()
    return Again(f"{text[:-6]}Z" if text.endswith("+00:00") else text)


def _decimal(value: Any, _: int) -> float | str:
    number = float(value)
    return number if value.is_finite() and type(value)(repr(number)) == value else str(value)


def _text(value: object, _: int) -> Again:
    return Again(str(value))


_BY_TYPE: dict[type, Callable[[Any, int], Any]] = {
    str: lambda value, _: str.__str__(value),
    int: lambda value, _: int.__int__(value),
    float: lambda value, _: float.__float__(value),
    complex: _text,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    dict: lambda value, _: (DICT, value),
    list: lambda value, _: (LIST, value),
    tuple: _tuple,
    set: lambda value, _: (_SET, value),
    frozenset: lambda value, _: (_FROZENSET, value),
    datetime: _datetime,
    date: lambda value, _: Again(value.isoformat()),
    time: lambda value, _: Again(value.isoformat()),
    timedelta: lambda value, _: Again(value.total_seconds()),
    Enum: lambda value, _: Again(value.value),
    BaseException: lambda value, _: error_text(value),
    type: lambda value, _: describe(value),
}
_BY_NAME: dict[str, Callable[[Any, int], Any]] = {
    "uuid.UUID": _text,
    "decimal.Decimal": _decimal,
    "fractions.Fraction": _text,
    "ipaddress._IPAddressBase": _text,
    "zoneinfo.ZoneInfo": _text,
    "re.Pattern": lambda value, _: Again(value.pattern),
    "types.SimpleNamespace": lambda value, _: Again(vars(value)),
    "collections.UserString": _text,
}
_MODULES = frozenset(name.rpartition(".")[0] for name in _BY_NAME)
