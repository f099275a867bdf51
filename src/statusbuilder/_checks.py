"""What is wrong with an argument, in words."""

from __future__ import annotations

import os
from enum import IntEnum

from ._model import Snapshot
from .errors import StatusBuilderError

REFUSALS = (StatusBuilderError, TypeError, ValueError)
"""What a wrong call raises."""


def sinks_disabled() -> bool:
    """Whether STATUSBUILDER_DISABLED turns all sinks off."""
    return os.environ.get("STATUSBUILDER_DISABLED", "").strip().lower() in ("1", "true", "yes", "on")


def first_epoch(given: int | None, now: int, initial: Snapshot | None) -> int:
    """Return the epoch of a new builder; `now` is in milliseconds since 1970."""
    if given is not None:
        if not isinstance(given, int) or not 0 <= given < 2**63:
            raise ValueError(f"epoch must be a whole number of at least 0, in 63 bits, not {given!r}.")
        return given
    return now if initial is None else max(now, initial.epoch + 1)


def check_id(name: str, value: object, execution_id: str | None = None) -> str:
    """Return an id as plain text."""
    where = "" if execution_id is None else f" (execution {execution_id!r})"
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {value!r}{where}.")
    if not value:
        raise ValueError(f"{name} must not be empty{where}: it is what the backend and later calls know it by.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} {value!r} is not valid Unicode text{where}, so no backend can store it.") from None
    return str.__str__(value)


def check_enum(
    name: str, value: object, kind: type[IntEnum], execution_id: str | None = None, task_id: str | None = None
) -> None:
    """Refuse what is no member of an enum."""
    if type(value) is kind:
        return
    task = "" if task_id is None else f" of task {task_id!r}"
    where = "" if execution_id is None else f"{task} of execution {execution_id!r}"
    meant = getattr(value, "name", value)
    example = kind.__members__.get(meant.upper() if isinstance(meant, str) else "") or next(iter(kind))
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise TypeError(
        f"{name}{where} must be {article} {kind.__name__}, such as {kind.__name__}.{example.name}, not {value!r}."
    )
