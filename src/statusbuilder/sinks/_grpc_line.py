"""One call, and how it ends, whichever line makes it; and the line of synchronous channels.

A line is a way to make calls: `start` begins one and tells its end, from any thread; nothing of a line raises or waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

import attrs
import grpc

from .backend import abandon, is_connected, keep_for_ever

Metadata: TypeAlias = tuple[tuple[str, str], ...]


@attrs.frozen
class Call:
    """One call that is to be made."""

    path: str
    body: Any
    metadata: Metadata
    credentials: Any
    timeout: float

    def make(self, method: Any, timeout: float) -> Any:
        """Call a method, or the like of it, with what the call says, for so many seconds."""
        return method(self.body, timeout=timeout, metadata=self.metadata, credentials=self.credentials)


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

_LAST = 2.0
"""Seconds of a call at most that has to be waited for, although it was to be under way beside others."""
CLOSED = Ending("CANCELLED", "the sink was closed")
CHANNEL_CLOSED = Ending("UNAVAILABLE", "the channel that the sink was given is closed", unsent=True)
INHERITED = Ending(
    "UNAVAILABLE", "the channel that the sink was given belongs to the parent process; make another one", unsent=True
)


class Methods(dict[str, Any]):
    """The methods of a channel, by their paths; or those of a stub, and no others."""

    def __init__(self, channel: Any, given: Mapping[str, Any] | None = None) -> None:
        super().__init__(given or {})
        self.channel = channel

    def __missing__(self, path: str) -> Any:
        self[path] = method = self.channel.unary_unary(path)
        return method


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


class SyncLine:
    """Sends over a synchronous channel, or by the methods of a stub, pipelined with `.future()`."""

    is_here = False
    cpu = 0.0  # gRPC's own thread makes these calls, and those of others on the channel

    def __init__(self, methods: Methods) -> None:
        self._methods: Methods | None = methods
        self.proven = False
        """Whether a call has come through."""
        self._is_abandoned = False
        self._under_way: dict[object, tuple[Any, Finish]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._under_way)

    @property
    def is_connected(self) -> bool:
        """Whether it is known that there is a connection."""
        return self._methods is not None and is_connected(self._methods.channel) is True

    def start(self, call: Call, finish: Finish) -> None:
        methods = self._methods
        if methods is None:
            finish(INHERITED)
            return
        # Only the first needs it, because a deadline before the connection is there leaves no doubt.
        watched = None if self.proven else methods.channel
        before = watched is not None and is_connected(watched) is False
        try:
            future = call.make(methods[call.path].future, call.timeout)
        except RuntimeError:  # the interpreter exits, and starts no thread any more
            self._is_abandoned = True
            abandon(methods.channel)
            finish(_of_blocking(call, methods[call.path], min(call.timeout, _LAST)))
        except Exception as error:
            finish(unmade(error))
        else:
            token = object()
            self._under_way[token] = (future, finish)
            future.add_done_callback(partial(self._ended, token, watched if before else None))

    def _ended(self, token: object, watched: Any, future: Any) -> None:
        entry = self._under_way.pop(token, None)
        if entry is None:
            return
        try:
            ending = _of_future(future)
        except Exception as error:
            ending = Ending("UNKNOWN", f"{type(error).__name__}: {error}")
        if ending.code == "OK":
            self.proven = True
        elif watched is not None and ending.code == "DEADLINE_EXCEEDED" and is_connected(watched) is False:
            ending = attrs.evolve(ending, unsent=True)
        entry[1](ending)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, do)
        timer.daemon = True
        timer.start()

    def renew(self) -> None:
        """Nothing: there is no other channel."""

    def close(self) -> None:
        for token in list(self._under_way):
            entry = self._under_way.pop(token, None)
            if entry is not None:
                entry[0].cancel()  # an attempt whose bytes are stuck ends later than this
                entry[1](CLOSED)

    def leave(self) -> None:
        """Close the channel, on which nothing is under way; else closing would wait for it."""
        if self._methods is not None and not self._is_abandoned:
            self._methods.channel.close()

    def after_fork(self) -> None:
        keep_for_ever((self._methods, self._under_way))
        self._under_way = {}
        self._methods = None


def _of_future(future: Any) -> Ending:
    """Return how a call ended that was made with `.future()`."""
    code = future.code()
    if code is grpc.StatusCode.OK:
        return Ending("OK", "", future.trailing_metadata() or (), future.result())
    error = future.exception() if not future.cancelled() else None
    if error is not None and not isinstance(error, grpc.RpcError):  # an interceptor's
        return Ending("UNKNOWN", f"{type(error).__name__}: {error}")
    return Ending(code.name, _text(future.details()), future.trailing_metadata() or ())


def _of_blocking(call: Call, method: Any, timeout: float) -> Ending:
    """Make a call and wait for its end, without a thread."""
    try:
        response, made = call.make(method.with_call, timeout)
    except grpc.RpcError as error:
        return of_error(error)
    return Ending("OK", "", made.trailing_metadata() or (), response)
