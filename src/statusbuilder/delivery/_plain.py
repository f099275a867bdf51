"""The ways to a sink that is Python code: a few threads for a plain one, an event loop for a coroutine function."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any

from .._model import Snapshot
from .._outlets import call_with_timeout
from ._transport import Answer, Request

CLOSE_TIMEOUT = 5.0


class SinkTransport:
    """What both ways have in common: the request is the snapshot itself."""

    max_bytes: int | None = None
    ends_in_time = False  # a call that hangs cannot be ended; another one beside it would make two

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._send: Callable[[Snapshot], Any] = sink.send if hasattr(sink, "send") else sink

    def memo(self) -> None:
        """Keep nothing for an execution."""

    def prepare(self, memo: None, snapshot: Snapshot, max_bytes: int | None) -> Request:
        """Wrap the snapshot."""
        return Request(snapshot.execution_id, snapshot.epoch, snapshot.revision, snapshot.is_terminal, snapshot)

    def renew(self) -> None:
        """Have no connection to renew."""


def failed(error: BaseException) -> Answer:
    """Turn what a sink raised into an answer; it is tried again, with backoff."""
    return Answer("UNKNOWN", f"{type(error).__name__}: {error}"[:1000])


class ThreadTransport(SinkTransport):
    """Calls a plain sink on up to `threads` threads, which are started when all others are busy."""

    def __init__(self, sink: Any, threads: int) -> None:
        super().__init__(sink)
        self._most = threads
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the threads, which only the parent has."""
        self._jobs: SimpleQueue[tuple[Request, Callable[[Answer], None]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._under_way = 0

    def start(self, request: Request, timeout: float, wait: bool, done: Callable[[Answer], None]) -> None:
        """Hand the snapshot to a thread; a call that hangs cannot be ended, and keeps its thread."""
        with self._lock:
            self._under_way += 1
            more = self._threads < min(self._under_way, self._most)
            self._threads += more
        self._jobs.put((request, done))
        if more:
            try:
                threading.Thread(target=self._work, name="statusbuilder-sink", daemon=True).start()
            except RuntimeError:  # the interpreter is exiting
                self._threads -= 1
                self._jobs.put(None)
                self._work()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            request, done = job
            answer = self.call(request, 0.0)
            with self._lock:
                self._under_way -= 1
            done(answer)

    def call(self, request: Request, timeout: float) -> Answer:
        """Call the sink here and now."""
        try:
            self._send(request.body)
        except BaseException as error:  # on a thread of ours nothing may escape
            return failed(error)
        return Answer()

    def close(self) -> None:
        """Close the sink, where it can be closed, and end the threads."""
        for _ in range(self._threads):
            self._jobs.put(None)
        close = getattr(self._sink, "close", None)
        if close is not None:
            call_with_timeout(close, CLOSE_TIMEOUT)


class LoopTransport(SinkTransport):
    """Awaits a coroutine function on an event loop of its own, so that it does not matter what loops the runner has."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink)
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the loop, which only the parent has."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=_run, args=(loop,), name="statusbuilder-sink", daemon=True).start()
            self._loop = loop
        return self._loop

    def start(self, request: Request, timeout: float, wait: bool, done: Callable[[Answer], None]) -> None:
        """Begin the coroutine; it is cancelled after `timeout` seconds."""
        try:
            loop = self._running_loop()
        except RuntimeError as error:  # the interpreter is exiting
            done(failed(error))
            return
        asyncio.run_coroutine_threadsafe(self._attempt(self._send, request, timeout), loop).add_done_callback(
            lambda future: done(future.result())
        )

    async def _attempt(self, send: Callable[[Snapshot], Awaitable[object]], request: Request, timeout: float) -> Answer:
        try:
            await asyncio.wait_for(send(request.body), timeout)
        except TimeoutError:
            return Answer("DEADLINE_EXCEEDED", f"not done within {timeout:g} s", answered=False, in_doubt=True)
        except BaseException as error:
            return failed(error)
        return Answer()

    def call(self, request: Request, timeout: float) -> Answer:
        """Wait for the coroutine."""
        if self._loop is None:
            return asyncio.run(self._attempt(self._send, request, timeout))
        future = asyncio.run_coroutine_threadsafe(self._attempt(self._send, request, timeout), self._loop)
        return future.result()

    def close(self) -> None:
        """Close the sink, where it can be closed, and end the loop."""
        close = getattr(self._sink, "close", None)
        try:
            closed = None if close is None else call_with_timeout(close, CLOSE_TIMEOUT)
            if isinstance(closed, Awaitable):
                asyncio.run_coroutine_threadsafe(_await(closed), self._running_loop()).result(CLOSE_TIMEOUT)
        finally:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)


async def _await(closing: Awaitable[object]) -> None:
    await closing


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(_cancel_rest())
    finally:
        loop.close()


async def _cancel_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
