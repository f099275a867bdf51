"""What an exception means that leaves a block, and how it is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from ..payload.members import error_text
from ..payload.policy import PayloadPolicy
from .model.values import ExecutionPhase

_MOST_LINES = 5
_MOST_BYTES = 2048
_NO_MEMBERS = 99  # deeper than error_text goes into a group


def end_of(error: BaseException | None) -> ExecutionPhase:
    """Return the phase in which an execution ends that is left so, where nobody decides otherwise."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return ExecutionPhase.COMPLETED
    return ExecutionPhase.CANCELLED if is_cancellation(error) else ExecutionPhase.FAILED


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception means that somebody ended the work, not that it went wrong."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_cancellation, error.exceptions))
    # Such an error can only come from a module that was imported, which takes too long to do here unasked.
    asyncio: Any = sys.modules.get("asyncio.exceptions")
    trio: Any = sys.modules.get("trio")
    kinds = (KeyboardInterrupt, getattr(asyncio, "CancelledError", None), getattr(trio, "Cancelled", None))
    return any(isinstance(error, kind) for kind in kinds if isinstance(kind, type))


def tell_error(error: object, policy: PayloadPolicy) -> str:
    """Return the text of an error; an exception's has its notes, a group's members and its causes."""
    if not isinstance(error, BaseException):
        return policy.error(error)
    try:
        if isinstance(error, SystemExit):
            code = error.code
            return policy.text(f"exited with code 1: {code}" if isinstance(code, str) else f"exited with code {code}")
        head = error_text(error, _NO_MEMBERS)
        return policy.text(
            "\n".join([head, *_fitting(_lines(error), _MOST_BYTES - len(head.encode(errors="replace")))])
        )
    except Exception:  # attributes that raise
        return policy.error(error)


def _lines(error: BaseException) -> Iterator[str]:
    for note in list(getattr(error, "__notes__", None) or ()):
        yield str(note)
    for number, member in enumerate(_members(error), 1):
        if number > _MOST_LINES:
            yield "- …"
            break
        yield f"- {_one_line(member)}"
    seen = {id(error)}
    cause = _cause(error)
    while cause is not None and id(cause) not in seen and len(seen) <= _MOST_LINES:
        seen.add(id(cause))
        yield f"caused by {_one_line(cause)}"
        cause = _cause(cause)


def _members(error: BaseException) -> Iterator[BaseException]:
    for member in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _members(member) if isinstance(member, BaseExceptionGroup) else (member,)


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.__context__


def _one_line(error: BaseException) -> str:
    return " ".join(error_text(error, _NO_MEMBERS).split())


def _fitting(lines: Iterator[str], room: int) -> Iterator[str]:
    for line in lines:
        data = line.encode(errors="replace")
        room -= len(data) + 1
        if room >= 0:
            yield line
            continue
        if room + len(data) > 3:
            yield data[: room + len(data) - 3].decode(errors="ignore") + "…"
        break
