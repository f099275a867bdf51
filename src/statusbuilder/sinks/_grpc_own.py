"""The channels that a sink opens itself: when they are opened, left and closed, and on which thread they work."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic, sleep
from typing import Any, TypeAlias

import attrs
import grpc

from . import _grpc_fork
from ._grpc_aio import AioLine
from ._grpc_channel import keep_for_ever
from ._grpc_line import CLOSED, FORKED, Call, Ending, Finish, Methods, unmade
from ._grpc_sync import SyncLine

Opener: TypeAlias = Callable[[Any, float], Any]
"""Opens a channel of grpc or grpc.aio, whichever module it is given; the seconds are those after which a connection is
given up whose bytes the other side does not take."""

_IMPORTED_IN = os.getpid()
_LOOPS_SINCE = (1, 80)
"""The release of grpcio from which on the loops of grpc.aio do not log each other's events as errors."""
_JOIN = 1.0
_loops_in: set[int] = set()
"""The processes that used grpc.aio, this one or its parents: gRPC's thread for it is missing in their children."""


def note_loop() -> None:
    """Remember that this process uses grpc.aio."""
    _loops_in.add(os.getpid())


def _can_loop() -> bool:
    gevent = sys.modules.get("gevent.monkey")
    is_green = gevent is not None and gevent.is_module_patched("threading")  # gRPC's thread would never give way
    release = tuple(int(part) for part in grpc.__version__.split(".")[:2])
    return release >= _LOOPS_SINCE and not is_green and not _loops_in - {os.getpid()}


class _Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self.thread = threading.Thread(target=self._run, name="statusbuilder-grpc", daemon=True)
        running: Future[None] = Future()
        self.loop.call_soon(running.set_result, None)
        self.thread.start()
        running.result()

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    def stop(self, lines: list[_LoopLine]) -> None:
        """Close what is left of the lines and end the thread."""
        asyncio.run_coroutine_threadsafe(self._stop(lines), self.loop)
        self.thread.join(_JOIN)

    async def _stop(self, lines: list[_LoopLine]) -> None:
        for line in lines:
            await line.leave(None)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        self.loop.call_later(0, self.loop.stop)


class _LoopLine(AioLine):
    """Sends over a channel of the sink's own, on its own loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, open: Callable[[], Methods], patience: float) -> None:
        super().__init__(loop, open)
        self._patience = patience

    def retire(self) -> None:
        """Close the channel once nothing is under way on it."""
        self._on_loop(lambda: self._loop.create_task(self.leave(self._patience)))

    async def leave(self, grace: float | None) -> None:
        if self._methods is not None:
            await self._methods.channel.close(grace)


class OwnLine:
    """Calls over channels that the sink opens itself, at the first call, and leaves when it is told to.

    They belong to an event loop on a thread of their own, because that takes all answers that are there whenever it
    gets the interpreter, where a synchronous channel's thread takes one; beside a thread that computes that is 940
    against 64 a second. Where grpc.aio cannot be used they are synchronous.
    """

    def __init__(self, opener: Opener, stall: float) -> None:
        self._opener = opener
        self._stall = stall
        self._closed = False
        self._distrusts_loops = False
        self._used = 0.0
        self._forget()
        _grpc_fork.watch(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._is_held = False
        self._loop: _Loop | None = None
        self._line: _LoopLine | SyncLine | None = None
        self._left: list[_LoopLine | SyncLine] = []
        self._last: SyncLine | None = None

    def start(self, call: Call, finish: Finish) -> None:
        ending = attrs.evolve(CLOSED, unsent=True)
        with self._lock:
            try:
                line = self._connected()
            except Exception as error:
                line, ending = None, unmade(error)
            if line is not None:
                line.start(call, finish)  # before the lock is released, so that a fork knows of it
                return
        finish(ending)

    def call(self, call: Call) -> Ending:
        try:
            with self._lock:
                if self._last is None:
                    # A connection of its own: on the other one bytes may be stuck, and then no deadline holds.
                    self._last = SyncLine(Methods(self._opener(grpc, max(call.timeout, 1.0))))
                last = self._last
            return last.call(call)
        except Exception as error:
            return unmade(error)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        with self._lock:
            line = self._connected()
        if line is not None:
            line.later(seconds, do)

    def cpu_seconds(self) -> float:
        line = self._line
        self._used = max(self._used, line.used if isinstance(line, AioLine) else 0.0)
        return self._used

    def _connected(self) -> _LoopLine | SyncLine | None:
        if self._line is None and not self._closed:
            self._line = self._loop_line() if _can_loop() and not self._distrusts_loops else None
            if self._line is None:
                self._line = SyncLine(Methods(self._open(grpc)))
        return self._line

    def _loop_line(self) -> _LoopLine | None:
        try:
            self._loop = self._loop or _Loop()
        except RuntimeError:  # the interpreter is exiting, and starts no thread any more
            return None
        note_loop()
        return _LoopLine(self._loop.loop, lambda: Methods(self._open(grpc.aio)), self._stall)

    def _open(self, module: Any) -> Any:
        channel = self._opener(module, self._stall)
        _grpc_fork.register()
        return channel

    def renew(self) -> None:
        with self._lock:
            line, last = self._line, self._last
            self._line = self._last = None
            if line is not None:
                self._left = [left for left in self._left if left.is_busy] + [line]
                # Where another process began, its parent may have used grpc.aio, and nothing comes through here.
                self._distrusts_loops |= not line.proven and os.getpid() != _IMPORTED_IN
        for left in (line, last):
            if left is not None:
                left.retire()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            lines = self._left if self._line is None else [*self._left, self._line]
            loop, last = self._loop, self._last
            self._line = self._loop = self._last = None
            self._left = []
        for line in lines:
            line.close()
            line.retire()
        if last is not None:
            last.retire()
        if loop is not None:
            loop.stop([line for line in lines if isinstance(line, _LoopLine)])

    # Around a fork

    def before_fork(self, until: float) -> None:
        """Begin no call, until `after_fork_in_parent`, and wait for those that are under way."""
        self._is_held = self._lock.acquire(timeout=max(0.0, until - monotonic()))
        line = self._line
        while line is not None and line.is_busy and monotonic() < until:
            sleep(0.001)
        # With this variable gRPC hangs in the child of a fork during a call, also in one that makes no calls.
        if line is not None and os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() in ("1", "true", "yes"):
            line.close(FORKED)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._is_held:
            self._lock.release()

    def after_fork(self) -> None:
        keep_for_ever((self._loop, self._line, self._left, self._last, self._lock))
        self._forget()
