"""The ways to a sink that is Python code: a few threads for a plain one, an event loop for a coroutine function."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any, TypeVar

from ..core.model.values import Snapshot
from ..core.outlets import call_with_timeout
from .core import Answer, Request

CLOSE_TIMEOUT = 5.0

_T = TypeVar("_T")


class OwnLoop:
    """An event loop on a thread of its own, begun when it is needed; what loops the runner has does not matter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Run a coroutine on the loop.

        Raises:
            RuntimeError: the interpreter is exiting, and starts no thread any more.
        """
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                try:
                    threading.Thread(target=_run, args=(loop,), name="statusbuilder-sink", daemon=True).start()
                except RuntimeError:
                    loop.close()
                    raise
                self._loop = loop
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def wait(self, coroutine: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T:
        """Run a coroutine and wait for its end, without a thread where none can be started."""
        try:
            future = self.begin(coroutine)
        except RuntimeError:
            return asyncio.run(coroutine)
        return future.result(timeout)

    def stop(self) -> None:
        """Cancel what runs, and end the loop."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)


class SinkTransport:
    """What both ways have in common: the request is the snapshot itself."""

    max_bytes: int | None = None
    ends_in_time = False  # a call that hangs cannot be ended; another one beside it would make two

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._send: Callable[[Snapshot], Any] = getattr(sink, "send", sink)
        self._loop = OwnLoop()

    def memo(self) -> None:
        """Keep nothing for an execution."""

    def prepare(self, memo: None, snapshot: Snapshot, max_bytes: int | None) -> Request:
        """Wrap the snapshot."""
        return Request(snapshot.execution_id, snapshot.epoch, snapshot.revision, snapshot.is_terminal, snapshot)

    def renew(self) -> None:
        """Have no connection to renew."""

    def after_fork(self) -> None:
        """Forget the loop, which only the parent has."""
        self._loop = OwnLoop()

    def close(self) -> None:
        """Flush and close the sink, where it can be, and end the loop."""
        with ExitStack() as stack:
            stack.callback(self._loop.stop)
            stack.callback(self._tell, "close")
            self._tell("flush")

    def _tell(self, name: str) -> None:
        method = getattr(self._sink, name, None)
        result = None if method is None else call_with_timeout(method, CLOSE_TIMEOUT)
        if inspect.iscoroutine(result):
            self._loop.wait(result, CLOSE_TIMEOUT)


def failed(error: BaseException) -> Answer:
    """Turn what a sink raised into an answer; it is tried again, with backoff."""
    return Answer("UNKNOWN", f"{type(error).__name__}: {error}"[:1000])


class ThreadTransport(SinkTransport):
    """Calls a plain sink on up to `threads` threads, which are started when all others are busy."""

    def __init__(self, sink: Any, threads: int) -> None:
        super().__init__(sink)
        self._most = threads
        self._begin()

    def after_fork(self) -> None:
        """Forget the threads, which only the parent has."""
        super().after_fork()
        self._begin()

    def _begin(self) -> None:
        self._jobs: SimpleQueue[tuple[Request, Callable[[Answer], None]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._under_way = 0

    def start(self, request: Request, timeout: float, done: Callable[[Answer], None]) -> None:
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
            del job, request, done, answer  # or the last snapshot would stay

    def call(self, request: Request, timeout: float) -> Answer:
        """Call the sink here and now."""
        try:
            result = self._send(request.body)
            if inspect.iscoroutine(result):  # of a function that does not look like one, such as a lambda
                self._loop.wait(result)
        except BaseException as error:  # on a thread of ours nothing may escape
            return failed(error)
        return Answer()

    def close(self) -> None:
        """Flush and close the sink, where it can be, and end the threads."""
        for _ in range(self._threads):
            self._jobs.put(None)
        super().close()


class LoopTransport(SinkTransport):
    """Awaits a coroutine function on an event loop of its own."""

    def start(self, request: Request, timeout: float, done: Callable[[Answer], None]) -> None:
        """Begin the coroutine; it is cancelled after `timeout` seconds."""
        attempt = self._attempt(request, timeout)
        try:
            future = self._loop.begin(attempt)
        except RuntimeError:  # the interpreter began to exit this moment
            done(self._loop.wait(attempt))
        else:
            future.add_done_callback(lambda future: done(future.result()))

    async def _attempt(self, request: Request, timeout: float) -> Answer:
        try:
            await asyncio.wait_for(self._send(request.body), timeout)
        except TimeoutError:
            return Answer("DEADLINE_EXCEEDED", f"not done within {timeout:g} s", answered=False, in_doubt=True)
        except BaseException as error:
            return failed(error)
        return Answer()

    def call(self, request: Request, timeout: float) -> Answer:
        """Wait for the coroutine."""
        return self._loop.wait(self._attempt(request, timeout))


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
