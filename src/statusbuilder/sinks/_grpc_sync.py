"""Calls over synchronous channels: those that the sink opens itself, and those that it is given."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import attrs

from . import _grpc_fork
from ._grpc_channel import Connection, Opener, is_connected, keep_for_ever
from ._grpc_line import CLOSED, FORKED, INHERITED, Call, Ending, Finish, of_blocking, of_future, unmade

_LAST = 1.0
"""Seconds of a call at most that has to be waited for, although it was to be under way beside others."""


class SyncLine:
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
        except RuntimeError:  # the interpreter began to exit this moment, and starts no thread any more
            connection.abandon()
            finish(self.call(attrs.evolve(call, timeout=min(call.timeout, _LAST))))
            return
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
                ending = of_future(future)
            except Exception as error:
                ending = Ending("UNKNOWN", f"{type(error).__name__}: {error}")
            if ending.code == "OK":
                connection.proven = True
            elif watched is not None and ending.code == "DEADLINE_EXCEEDED" and is_connected(watched) is False:
                ending = attrs.evolve(ending, unsent=True)
            entry[1](ending)
        connection.leave()

    def call(self, call: Call) -> Ending:
        """Make a call and wait for its end, without a thread."""
        raise NotImplementedError

    def _cancel_all(self, ending: Ending) -> None:
        for token in list(self._under_way):
            entry = self._under_way.pop(token, None)
            if entry is not None:
                entry[0].cancel()  # an attempt whose bytes are stuck ends later than this
                entry[1](ending)


class OwnLine(SyncLine):
    """Calls over channels that the sink opens itself, at the first call, and leaves when it is told to."""

    def __init__(self, opener: Opener, stall: float) -> None:
        super().__init__()
        self._opener = opener
        self._stall = stall
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._last: Connection | None = None
        self._closed = False
        _grpc_fork.watch(self)

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
            return of_blocking(last.method(call.path), call)
        except Exception as error:
            return unmade(error)

    def _connect(self) -> Connection | None:
        with self._lock:
            if self._connection is None and not self._closed:
                self._connection = Connection(self._opener(self._stall))
                _grpc_fork.register()
            return self._connection

    def renew(self) -> None:
        with self._lock:
            left = (self._connection, self._last)
            self._connection = self._last = None
        for connection in left:
            if connection is not None:
                connection.retire()

    def close(self) -> None:
        self._closed = True
        self._cancel_all(CLOSED)
        self.renew()

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


class GivenLine(SyncLine):
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
            return of_blocking(self._method or connection.method(call.path), call)
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
