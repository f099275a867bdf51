"""What is wrong with an argument, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import IntEnum
from typing import Any, TypeVar

from ..payload.members import brief
from .model.times import to_nanos
from .model.values import Snapshot

_E = TypeVar("_E", bound=IntEnum)

REFUSALS = Exception
"""What a wrong call raises: an error of ours, TypeError, ValueError, or whatever a hostile argument raises."""


def first_epoch(given: int | None, now: int, initial: Snapshot | None) -> int:
    """Return the epoch of a new builder; `now` is in milliseconds since 1970."""
    if given is not None:
        if not isinstance(given, int) or not 0 <= given < 2**63:
            raise ValueError(f"epoch must be a whole number from 0 to 2**63 - 1, not {brief(given)}.")
        return given
    return now if initial is None else max(now, initial.epoch + 1)


def check_texts(name: str, given: Any, kind: type = str) -> tuple[Any, ...]:
    """Return texts, or what is of another kind and becomes a text, as a tuple; one alone may be given as it is."""
    texts = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else None
    if texts is None or not all(isinstance(text, kind) for text in texts):
        found = brief(given) if kind is str else type(given).__name__  # the others are secrets
        raise TypeError(f"{name} must be texts, not {found}.")
    return texts


def check_seconds(name: str, value: Any) -> float:
    """Return a number of seconds, at least 0."""
    try:
        fits = value >= 0
    except TypeError:
        raise TypeError(f"{name} must be a number of seconds, not {brief(value)}.") from None
    if not fits:
        raise ValueError(f"{name} must be a number of seconds, at least 0, not {brief(value)}.")
    return value  # type: ignore[no-any-return]


def check_id(name: str, value: object, execution_id: str | None = None) -> str:
    """Return an id as plain text."""
    where = "" if execution_id is None else f" (execution {execution_id!r})"
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {brief(value)}{where}.")
    if not value:
        raise ValueError(f"{name} must not be empty{where}: it is what the backend and later calls know it by.")
    try:
        value.encode()
    except UnicodeEncodeError:
        what = f"{name} {brief(value)}"
        raise ValueError(f"{what} is not valid Unicode text{where}, so no backend can store it.") from None
    return str.__str__(value)


class _UnknownName(TypeError, ValueError):
    """A text that names no member, where a member or its name is wanted."""


def check_enum(
    name: str,
    value: object,
    kind: type[_E],
    execution_id: str | None = None,
    task_id: str | None = None,
    *,
    by_name: bool = True,
) -> _E:
    """Return a member of an enum, which may be given by its name, too."""
    if type(value) is kind:
        return value
    if by_name and isinstance(value, str) and value.upper() in kind.__members__:
        return kind.__members__[value.upper()]
    task = "" if task_id is None else f" of task {brief(task_id)}"
    where = "" if execution_id is None else f"{task} of execution {execution_id!r}"
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    wrong = _UnknownName if isinstance(value, str) else TypeError
    example = f"{kind.__name__}.{_meant(value, kind).name}"
    raise wrong(f"{name}{where} must be {article} {kind.__name__}, such as {example}, not {brief(value)}.")


def _meant(value: Any, kind: type[IntEnum]) -> IntEnum:
    """Return the member that has the value's name; else the first one."""
    try:
        return kind.__members__[value.name.upper()]
    except Exception:
        return next(iter(kind))


def check_time(at: datetime) -> int:
    """Return the time of a change as its source tells it, in nanoseconds since 1970."""
    if not isinstance(at, datetime):
        raise TypeError(f"at must be a datetime, not {brief(at)}.")
    if at.utcoffset() is None:
        raise ValueError(f"at must be aware, but {brief(at)} has no time zone: add tzinfo=timezone.utc if it is UTC.")
    return to_nanos(at)


def read_clock(clock: Callable[[], datetime]) -> int:
    """Return the time on a clock, in nanoseconds since 1970."""
    if not callable(clock):
        raise TypeError(f"clock= must be a function, not {brief(clock)}.")
    try:
        time = clock()
    except Exception as error:
        error.add_note(f"It was raised by the builder's clock={brief(clock)}.")
        raise
    if not isinstance(time, datetime):
        raise TypeError(f"clock= must return a datetime; {brief(clock)} returned {brief(time)}.")
    return to_nanos(time)


def refuse_attribute(owner: object, name: str) -> AttributeError:
    """Make the error for an attribute that cannot be set, with the one that is meant; Python guesses no other."""
    from difflib import get_close_matches

    kind = type(owner)
    if hasattr(kind, name):
        return AttributeError(f"{kind.__name__}.{name} cannot be set.")
    known = [known for known in dir(kind) if not known.startswith("_")]
    near = get_close_matches(name, known, 1, 0.5) or ["output"]
    return AttributeError(f"{kind.__name__} has no attribute {name!r}; did you mean {near[0]!r}?")


def refuse_pickling(owner: object, instead: str) -> TypeError:
    """Make the error for what belongs to one process."""
    return TypeError(f"A {type(owner).__name__} cannot be pickled or copied, it belongs to its process: {instead}")
