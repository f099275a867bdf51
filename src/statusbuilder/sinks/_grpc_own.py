"""The channels that a sink opens itself: when they are opened, left and closed, and on which thread they work."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, partial
from time import monotonic, sleep, thread_time
from typing import Any, TypeAlias

import attrs
import grpc

from ._grpc_aio import AioLine
from ._grpc_line import CLOSED, Call, Finish, Methods, SyncLine, unmade
from .backend import keep_for_ever

Opener: TypeAlias = Callable[[Any], Any]
"""Opens a channel of grpc or grpc.aio, whichever module it is given."""

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
        self.cpu = 0.0
        """CPU seconds of the thread, as of the last look."""
        self._thread = threading.Thread(target=self._run, name="statusbuilder-grpc", daemon=True)
        running: Future[None] = Future()
        self.loop.call_soon(running.set_result, None)
        self._thread.start()
        running.result()

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(_rest())
        self.look()
        self.loop.close()

    def look(self) -> None:
        """Read the thread's CPU time, on that thread; too slow for each call."""
        self.cpu = thread_time()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_JOIN)


async def _rest() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=_JOIN)


class OwnLine:
    """Calls over channels that the sink opens itself, at the first call, and leaves when it is told to.

    They belong to an event loop on a thread of their own, because that takes all answers that are there whenever it
    gets the interpreter, where a synchronous channel's thread takes one: beside a thread that computes thousands a
    second against 70. Where grpc.aio cannot be used they are synchronous.
    """

    is_here = False

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._closed = False
        self._distrusts_loops = False
        self._forget()
        _watched.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._is_held = False
        self._loop: _Loop | None = None
        self._cpu = 0.0
        self._line: AioLine | SyncLine | None = None
        self._left: list[AioLine | SyncLine] = []

    @property
    def cpu(self) -> float:
        """CPU seconds of the loop's thread, as of the last time that somebody asked."""
        loop = self._loop
        if loop is not None:
            self._cpu = loop.cpu
            with suppress(RuntimeError):  # it was closed just now
                loop.loop.call_soon_threadsafe(loop.look)
        return self._cpu

    @property
    def is_connected(self) -> bool:
        """Whether it is known that there is a connection."""
        line = self._line
        return line is not None and line.is_connected

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

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        with self._lock:
            line = self._connected()
        if line is not None:
            line.later(seconds, do)

    def _connected(self) -> AioLine | SyncLine | None:
        if self._line is None and not self._closed:
            self._line = self._loop_line() if _can_loop() and not self._distrusts_loops else None
            if self._line is None:
                self._line = SyncLine(self._open(grpc))
        return self._line

    def _loop_line(self) -> AioLine | None:
        try:
            self._loop = self._loop or _Loop()
        except RuntimeError:  # the interpreter is exiting, and starts no thread any more
            return None
        note_loop()
        return AioLine(self._loop.loop, lambda: self._open(grpc.aio))

    def _open(self, module: Any) -> Methods:
        methods = Methods(self._opener(module))
        _watch_forks()
        return methods

    def renew(self) -> None:
        with self._lock:
            line, self._line = self._line, None
            if line is not None:
                self._left.append(line)
                # Where another process began, its parent may have used grpc.aio, and nothing comes through here.
                self._distrusts_loops |= not line.proven and os.getpid() != _IMPORTED_IN
            self._leave()

    def _leave(self) -> None:
        for left in [left for left in self._left if not left.is_busy]:
            self._left.remove(left)
            left.leave()

    def close(self) -> None:
        self._closed = True
        self.renew()
        for line in self._left:
            line.close()
            if isinstance(line, AioLine):
                line.leave()
            else:
                keep_for_ever(line)  # bytes may be stuck, and closing, also by destruction, would wait for them
        loop, self._loop, self._left = self._loop, None, []
        if loop is not None:
            loop.stop()
            self._cpu = loop.cpu

    # Around a fork

    def before_fork(self, until: float) -> None:
        """Begin no call, until `after_fork_in_parent`, and wait for those that are under way."""
        self._is_held = self._lock.acquire(timeout=max(0.0, until - monotonic()))
        line = self._line
        while line is not None and line.is_busy and monotonic() < until:
            sleep(0.001)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._is_held:
            self._lock.release()

    def after_fork(self) -> None:
        keep_for_ever((self._loop, self._line, self._left, self._lock))
        self._forget()


# What has to be done around a fork, so that gRPC hangs on neither side of it

_PATIENCE = 1.0
"""Seconds that a fork waits for calls under way, in all."""
_watched: weakref.WeakSet[OwnLine] = weakref.WeakSet()


@cache
def _watch_forks() -> None:
    """Begin to watch for forks; to be called after the first channel was opened."""
    # Hooks before a fork run in reverse order. gRPC registers its own with the first channel, so ours have to be
    # registered after that.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lambda: _tell(partial(OwnLine.before_fork, until=monotonic() + _PATIENCE)),
            after_in_parent=lambda: _tell(OwnLine.after_fork_in_parent),
            after_in_child=lambda: _tell(OwnLine.after_fork),
        )


def _tell(what: Callable[[OwnLine], None]) -> None:
    for line in list(_watched):
        what(line)
