"""Lines: the ways in which one call is made, and how each ends in the same form."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, Protocol, TypeAlias

import attrs
import grpc

from ._grpc_channel import Connection, Opener, is_connected, keep_for_ever
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


class _SyncLine:
    """Calls over synchronous channels, pipelined with `.future()`."""

    def __init__(self) -> None:
        self._under_way: dict[object, tuple[Any, Finish]] = {}

    def _begin(self, connection: Connection, method: Any, call: Call, finish: Finish) -> None:
        token = object()
        # Only these two need it, because a deadline before the connection is there leaves no doubt.
        watched = connection.channel if call.wait or not connection.proven else None
        before = watched is not None and is_connected(watched) is False
        connection.enter()
        try:
            future = method.future(
                call.body,
                timeout=call.timeout,
                metadata=call.metadata,
                credentials=call.credentials,
                wait_for_ready=call.wait,
            )
        except Exception as error:
            connection.leave()
            finish(unmade(error))
            return
        self._under_way[token] = (future, finish)
        future.add_done_callback(partial(self._ended, token, connection, watched if before else None))

    def _ended(self, token: object, connection: Connection, watched: Any, future: Any) -> None:
        entry = self._under_way.pop(token, None)
        if entry is not None:
            try:
                ending = _of_future(future)
            except Exception as error:
                ending = Ending("UNKNOWN", f"{type(error).__name__}: {error}")
            if ending.code == "OK":
                connection.proven = True
            elif watched is not None and ending.code == "DEADLINE_EXCEEDED" and is_connected(watched) is False:
                ending = attrs.evolve(ending, unsent=True)
            entry[1](ending)
        connection.leave()

    def _cancel_all(self, ending: Ending) -> None:
        for token in list(self._under_way):
            entry = self._under_way.pop(token, None)
            if entry is not None:
                entry[0].cancel()  # an attempt whose bytes are stuck ends later than this
                entry[1](ending)


class OwnLine(_SyncLine):
    """Calls over channels that the sink opens itself, at the first call, and leaves when it is told to."""

    def __init__(self, opener: Opener, stall: float) -> None:
        super().__init__()
        self._opener = opener
        self._stall = stall
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._last: Connection | None = None
        self._closed = False
        _own_lines.add(self)

    def start(self, call: Call, finish: Finish) -> None:
        try:
            connection = self._connect()
        except Exception as error:
            finish(unmade(error))
            return
        if connection is None:
            finish(attrs.evolve(CLOSED, unsent=True))
            return
        self._begin(connection, connection.method(call.path), call, finish)

    def call(self, call: Call) -> Ending:
        try:
            with self._lock:
                if self._last is None:
                    # A connection of its own: on the other one bytes may be stuck, and then no deadline holds.
                    self._last = Connection(self._opener(max(call.timeout, 1.0)))
                last = self._last
            return _of_blocking(last.method(call.path), call)
        except Exception as error:
            return unmade(error)

    def _connect(self) -> Connection | None:
        with self._lock:
            if self._connection is None and not self._closed:
                self._connection = Connection(self._opener(self._stall))
                _register_hooks()
            return self._connection

    def renew(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.retire()

    def close(self) -> None:
        self._closed = True
        self._cancel_all(CLOSED)
        self.renew()
        with self._lock:
            last, self._last = self._last, None
        if last is not None:
            last.retire()

    def after_fork(self) -> None:
        keep_for_ever((self._connection, self._last, self._under_way, self._lock))
        self._under_way = {}
        self._lock = threading.Lock()
        self._connection = self._last = None

    def before_fork(self) -> None:
        """Close the connection and let nobody open another one, until `after_fork_in_parent`."""
        self._lock.acquire()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._cancel_all(FORKED)
            connection.channel.close()

    def after_fork_in_parent(self) -> None:
        self._lock.release()


_own_lines: weakref.WeakSet[OwnLine] = weakref.WeakSet()
_forking: list[OwnLine] = []


def _before_fork() -> None:
    # With this variable gRPC hangs in the child of a fork during a call, also in one that makes no calls.
    if os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() in ("1", "true", "yes"):
        for line in list(_own_lines):
            line.before_fork()
            _forking.append(line)


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().after_fork_in_parent()


def _after_fork_in_child() -> None:
    _forking.clear()
    for line in list(_own_lines):
        line.after_fork()


@cache
def _register_hooks() -> None:
    # Hooks before a fork run in reverse order. gRPC registers its own with the first channel, and stops the threads
    # that closing has to wait for, so ours have to be registered after that.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
        )


class GivenLine(_SyncLine):
    """Calls over a channel, or one method of a stub, that the user made; it is the user's to close."""

    def __init__(self, channel: Any, method: Any = None) -> None:
        super().__init__()
        self._connection: Connection | None = Connection(channel)
        self._method = method

    def start(self, call: Call, finish: Finish) -> None:
        connection = self._connection
        if connection is None:
            finish(INHERITED)
            return
        try:
            method = self._method or connection.method(call.path)
        except Exception as error:
            finish(unmade(error))
            return
        self._begin(connection, method, call, finish)

    def call(self, call: Call) -> Ending:
        connection = self._connection
        if connection is None:
            return INHERITED
        try:
            return _of_blocking(self._method or connection.method(call.path), call)
        except Exception as error:
            return unmade(error)

    def renew(self) -> None:
        """Nothing: there is no other channel."""

    def close(self) -> None:
        self._cancel_all(CLOSED)

    def after_fork(self) -> None:
        keep_for_ever((self._connection, self._method, self._under_way))
        self._under_way = {}
        self._connection = None


def _of_future(future: Any) -> Ending:
    code = future.code()
    if code is grpc.StatusCode.OK:
        return Ending("OK", "", future.trailing_metadata() or (), future.result())
    error = future.exception() if not future.cancelled() else None
    if error is not None and not isinstance(error, grpc.RpcError):  # an interceptor's
        return Ending("UNKNOWN", f"{type(error).__name__}: {error}")
    return Ending(code.name, _text(future.details()), future.trailing_metadata() or ())


def _of_blocking(method: Any, call: Call) -> Ending:
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
