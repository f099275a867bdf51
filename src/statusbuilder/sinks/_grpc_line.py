"""One call, and how it ends, whichever line makes it.

A line is a way to make calls: `start` begins one and tells its end, from any thread; nothing of a line raises or waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs
import grpc

Metadata: TypeAlias = tuple[tuple[str, str], ...]


@attrs.frozen
class Call:
    """One call that is to be made."""

    path: str
    body: Any
    metadata: Metadata
    credentials: Any
    timeout: float

    def make(self, method: Any) -> Any:
        """Call a method, or the like of it, with what the call says."""
        return method(
            self.body,
            timeout=self.timeout,
            metadata=self.metadata,
            credentials=self.credentials,
        )


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
CHANNEL_CLOSED = Ending("UNAVAILABLE", "the channel that the sink was given is closed", unsent=True)
INHERITED = Ending(
    "UNAVAILABLE", "the channel that the sink was given belongs to the parent process; make another one", unsent=True
)


class Methods:
    """The methods of a channel, by their paths; or those of a stub, and no others."""

    def __init__(self, channel: Any, given: dict[str, Any] | None = None) -> None:
        self.channel = channel
        self._methods = dict(given or {})

    def __getitem__(self, path: str) -> Any:
        method = self._methods.get(path)
        if method is None:
            method = self._methods[path] = self.channel.unary_unary(path)
        return method


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
    try:
        response, made = call.make(method.with_call)
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
