"""Lines: the ways in which one call is made, and how each ends in the same form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

import attrs
import grpc

from ._grpc_key import Metadata


@attrs.frozen
class Call:
    """One call that is to be made."""

    path: str
    body: Any
    metadata: Metadata
    credentials: Any
    timeout: float
    wait: bool = False


@attrs.frozen
class Ending:
    """How a call ended, whatever made it."""

    code: str
    details: str = ""
    trailers: Iterable[tuple[str, Any]] = ()
    response: Any = None
    unsent: bool = False
    """Whether it is certain that nothing was sent."""


Finish: TypeAlias = Callable[[Ending], None]

CLOSED = Ending("CANCELLED", "the sink was closed")
FORKED = Ending("CANCELLED", "the process forked")
CHANNEL_CLOSED = Ending("UNAVAILABLE", "the channel that the sink was given is closed", unsent=True)
INHERITED = Ending(
    "UNAVAILABLE", "the channel that the sink was given belongs to the parent process; make another one", unsent=True
)


class Line(Protocol):
    """A way to make calls. Nothing here raises, and only `call` waits."""

    def start(self, call: Call, finish: Finish) -> None: ...

    def call(self, call: Call) -> Ending: ...

    def renew(self) -> None: ...

    def close(self) -> None: ...

    def after_fork(self) -> None: ...


def of_future(future: Any) -> Ending:
    """Return how a call ended that was made with `.future()`."""
    code = future.code()
    if code is grpc.StatusCode.OK:
        return Ending("OK", "", future.trailing_metadata() or (), future.result())
    error = future.exception() if not future.cancelled() else None
    if error is not None and not isinstance(error, grpc.RpcError):  # an interceptor's
        return Ending("UNKNOWN", f"{type(error).__name__}: {error}")
    return Ending(code.name, _text(future.details()), future.trailing_metadata() or ())


def of_blocking(method: Any, call: Call) -> Ending:
    """Make a call and wait for its end, without a thread."""
    if call.timeout <= 0:
        return Ending("DEADLINE_EXCEEDED", "no time was left", unsent=True)
    try:
        response, made = method.with_call(
            call.body,
            timeout=call.timeout,
            metadata=call.metadata,
            credentials=call.credentials,
            wait_for_ready=call.wait,
        )
    except grpc.RpcError as error:
        return of_error(error)
    return Ending("OK", "", made.trailing_metadata() or (), response)


def of_error(error: Any) -> Ending:
    """Return the ending that an error of grpc or grpc.aio tells of."""
    code = error.code() if hasattr(error, "code") else None
    if code is None:
        return Ending("UNKNOWN", f"{type(error).__name__}: {error}")
    return Ending(code.name, _text(error.details()), error.trailing_metadata() or ())


def unmade(error: BaseException) -> Ending:
    """Return the ending of a call that could not even be made."""
    text = f"{type(error).__name__}: {error}"
    if "closed channel" in text or "Channel closed" in text or "Channel is closed" in text:
        return CHANNEL_CLOSED
    return Ending("UNKNOWN", text, unsent=True)


def _text(details: Any) -> str:
    return details.decode(errors="replace") if isinstance(details, bytes) else str(details or "")
