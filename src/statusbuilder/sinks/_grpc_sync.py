"""Calls over synchronous channels, pipelined with `.future()`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from ._grpc_channel import abandon, is_connected, keep_for_ever
from ._grpc_line import CLOSED, INHERITED, Call, Ending, Finish, Methods, of_blocking, of_future, unmade

_LAST = 2.0
"""Seconds of a call at most that has to be waited for, although it was to be under way beside others."""


class SyncLine:
    """Sends over a channel, or by the methods of a stub."""

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

    def start(self, call: Call, finish: Finish) -> None:
        methods = self._methods
        if methods is None:
            finish(INHERITED)
            return
        # Only the first needs it, because a deadline before the connection is there leaves no doubt.
        watched = None if self.proven else methods.channel
        before = watched is not None and is_connected(watched) is False
        try:
            future = call.make(methods[call.path].future)
        except RuntimeError:  # the interpreter exits, and starts no thread any more
            self._is_abandoned = True
            abandon(methods.channel)
            finish(of_blocking(methods[call.path], attrs.evolve(call, timeout=min(call.timeout, _LAST))))
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
            ending = of_future(future)
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
