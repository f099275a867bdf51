"""What a value is found to hold, and short texts for what cannot be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, TypeAlias

import attrs

Scalar: TypeAlias = bool | int | float | str | None

_members_of: Callable[[object], tuple[BaseException, ...]] = BaseExceptionGroup.__dict__["exceptions"].__get__
_MOST_GROUPS = 4  # in each other
_MOST_MEMBERS = 5
_MOST_SHOWN = 200

_type_name: Callable[[type], str] = type.__dict__["__name__"].__get__


@attrs.frozen
class Walk:
    """How to walk through a kind of container, lazily: pairs of key and item, or items."""

    pairs: bool
    forwards: Callable[[Any], Iterable[Any]]
    backwards: Callable[[Any], Iterable[Any]] | None = None
    """None where the end cannot be reached without walking there."""
    size: Callable[[Any], int] | None = None
    """How many members there are, where a builtin vouches for it."""
    unordered: bool = False


DICT = Walk(True, dict.items, lambda value: reversed(dict.items(value)), dict.__len__)
LIST = Walk(False, list.__iter__, list.__reversed__, list.__len__)

Members: TypeAlias = tuple[Walk, Any]
"""A container, or what it is shown by, and how to walk through it."""


@attrs.define
class Again:
    """A value that stands for another one, which is to be unfolded in turn."""

    value: object


Opened: TypeAlias = Scalar | Members | Again


def name_of(kind: type) -> str:
    """Return a type's name without running any of its code, at most 80 characters."""
    return str.__getitem__(_type_name(kind), slice(0, 80))


def describe(value: object) -> str:
    """Return a short text for what cannot be shown, such as `<Socket object>`, without running any of its code."""
    kind = type(value)
    if issubclass(kind, type):
        return f"<class {name_of(value)}>"  # type: ignore[arg-type]
    if kind is FunctionType:
        return f"<function {str.__getitem__(value.__name__, slice(0, 80))}>"  # type: ignore[attr-defined]
    return f"<{name_of(kind)} object>"


def brief(value: object) -> str:
    """Return what an error's text shows of a wrong value: its repr, at most about 200 characters of it."""
    try:
        text = repr(value[:_MOST_SHOWN] if type(value) in (str, bytes, list, tuple) else value)  # type: ignore[index]
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
    except Exception:
        return describe(value)


def error_text(error: BaseException, inside: int = 0) -> str:
    """Return `ValueError: text`, or just `ValueError` where there is no text or its `__str__` raises.

    Of a group the text says only how many errors are in it, so those of the first ones follow.
    """
    name = name_of(type(error))
    try:
        text = str(error)
        if type(text) is not str:
            text = str.__str__(text)
        if issubclass(type(error), BaseExceptionGroup) and inside < _MOST_GROUPS:
            members = _members_of(error)[:_MOST_MEMBERS]
            text = f"{text}: {'; '.join(error_text(member, inside + 1) for member in members)}"
    except Exception:
        return name
    return f"{name}: {text}" if text else name
