"""What serves: an event loop in a thread of its own, from `start` to `stop`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent import futures
from concurrent.futures import Future
from typing import Any


class LoopThread:
    """An event loop in a thread of its own.

    Args:
        name: of the thread.
        serve: begins to serve, and puts on the stack what ends that.
    """

    def __init__(self, name: str, serve: Callable[[contextlib.AsyncExitStack], Awaitable[None]]) -> None:
        self._name = name
        self._serve = serve
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Future[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """None while it does not run."""
        self.grace = 0.0
        """The seconds that calls in flight have, once it stops."""

    @property
    def is_running(self) -> bool:
        """Whether there is the thread."""
        return self._thread is not None

    def start(self) -> None:
        """Begin; returns when `serve` has returned, and raises what it raises."""
        started: Future[None] = Future()
        self.grace = 0.0
        self._thread = thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name=self._name, daemon=True
        )
        try:
            thread.start()
            started.result()
        except BaseException:
            if thread.ident is None:
                self._thread = None
            else:
                futures.wait([started])  # it goes on where only the wait was interrupted
                self.stop(0.0)
            raise

    def stop(self, grace: float = 0.0) -> None:
        """End what was begun, and wait for it; safe to call twice."""
        thread, loop, stopping = self._thread, self.loop, self._stopping
        if thread is None or loop is None or stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # another call of `stop` was first, and the loop is closed
            loop.call_soon_threadsafe(self._settle, stopping, grace)
        thread.join()
        self._thread = self.loop = self._stopping = None

    def _settle(self, stopping: asyncio.Future[None], grace: float) -> None:
        if not stopping.done():
            self.grace = grace
            stopping.set_result(None)

    async def _run(self, started: Future[None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(_report)
        self._stopping = stopping = self.loop.create_future()
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._serve(stack)
                started.set_result(None)
                await stopping
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Where a process runs several event loops, older grpcio wakes all of them for every event of any.
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)


async def stop_server(server: Any, grace: float) -> None:
    """Stop a `grpc.aio.Server`, and let its own tasks end, which outlive that a little: each would print a traceback if
    it were cancelled."""
    await server.stop(grace)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)
