"""What is wrong with an argument, in words."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from ..payload.members import brief
from .model.values import Snapshot

REFUSALS = Exception
"""What a wrong call raises: an error of ours, TypeError, ValueError, or whatever a hostile argument raises."""


def first_epoch(given: int | None, now: int, initial: Snapshot | None) -> int:
    """Return the epoch of a new builder; `now` is in milliseconds since 1970."""
    if given is not None:
        if not isinstance(given, int) or not 0 <= given < 2**63:
            raise ValueError(f"epoch must be a whole number from 0 to 2**63 - 1, not {brief(given)}.")
        return given
    return now if initial is None else max(now, initial.epoch + 1)


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


def check_enum(
    name: str, value: object, kind: type[IntEnum], execution_id: str | None = None, task_id: str | None = None
) -> None:
    """Refuse what is no member of an enum."""
    if type(value) is kind:
        return
    task = "" if task_id is None else f" of task {brief(task_id)}"
    where = "" if execution_id is None else f"{task} of execution {execution_id!r}"
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    example = f"{kind.__name__}.{_meant(value, kind).name}"
    raise TypeError(f"{name}{where} must be {article} {kind.__name__}, such as {example}, not {brief(value)}.")


def _meant(value: Any, kind: type[IntEnum]) -> IntEnum:
    """Return the member that has the value's name, or that is the value's text; else the first one."""
    try:
        name = value if isinstance(value, str) else value.name
        return kind.__members__[name.upper()]
    except Exception:
        return next(iter(kind))
