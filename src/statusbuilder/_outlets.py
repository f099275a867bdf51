"""The sinks of one builder: who is called with every revision, who only gets a signal, and how to wait for both."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from ._link import Attachable, Link, Source
from ._model import Outcome, Receipt, Snapshot

if TYPE_CHECKING:
    from concurrent.futures import Future


class InlineSink:
    """A plain sink, and what became of its last call."""

    def __init__(self, sink: Any) -> None:
        check_inline_sink(sink)
        self.sink = sink
        self.failures = 0
        self._error = ""
        self._revision = 0
        self._send: Callable[[Snapshot], object] = sink.send if hasattr(sink, "send") else sink

    def send(self, snapshot: Snapshot) -> None:
        """Call the sink; what it raises is logged once in a row, and counted."""
        try:
            self._send(snapshot)
        except (KeyboardInterrupt, SystemExit):
            raise  # these are the runner's, not the sink's
        except BaseException as error:
            self._fail(snapshot, error)
        else:
            self._error = ""
        self._revision = snapshot.revision

    def flush(self, timeout: float) -> bool:
        """Let the sink flush, where it can; says whether all is well."""
        try:
            flush = getattr(self.sink, "flush", None)
            done = True if flush is None else call_with_timeout(flush, timeout) is not False
        except Exception as error:
            self._log("flush", error)
            return False
        return done and not self._error

    def receipt(self, snapshot: Snapshot) -> Receipt:
        """Say what became of a snapshot."""
        if self._error:
            return Receipt(self.sink, Outcome.LOST, self._revision, self._error, snapshot.execution_id)
        done = self._revision >= snapshot.revision or not self._revision
        outcome = Outcome.DELIVERED if done else Outcome.PENDING
        return Receipt(self.sink, outcome, self._revision, "", snapshot.execution_id)

    def _fail(self, snapshot: Snapshot, error: BaseException) -> None:
        self.failures += 1
        if not self._error:
            self._log(f"revision {snapshot.revision} of execution {snapshot.execution_id!r}", error)
        self._error = f"{type(error).__name__} raised by the sink"

    def _log(self, what: str, error: BaseException) -> None:
        import logging

        logging.getLogger("statusbuilder").warning("Sink %r failed on %s", self.sink, what, exc_info=error)


class Outlets:
    """All sinks of one builder, in the order in which they were given."""

    def __init__(self, sinks: Iterable[Any], source: Source) -> None:
        self._ends: list[InlineSink | Link] = []
        for sink in sinks:
            self._ends.append(sink.attach(source) if isinstance(sink, Attachable) else InlineSink(sink))
        self._inline = [end for end in self._ends if isinstance(end, InlineSink)]
        self._links = [end for end in self._ends if not isinstance(end, InlineSink)]
        self._queue: deque[Snapshot] = deque()
        self._draining = threading.Lock()
        self._drainer = 0
        self.has_deliveries = bool(self._links)
        self.takes_all = bool(self._inline)
        """Whether somebody wants each revision, so that each change has to be `put`."""

    def put(self, snapshot: Snapshot) -> None:
        """Take the snapshot of a change, in order; called under the builder's lock."""
        self._queue.append(snapshot)

    def publish(self, urgent: bool) -> None:
        """Tell the sinks of a change; called without the lock."""
        for link in self._links:
            link.signal(urgent)
        # Whoever comes while somebody else drains leaves its snapshot to them; the loop sees to one that came between
        # the last look at the queue and the release.
        while self._queue and self._draining.acquire(blocking=False):
            self._drain()

    def _drain(self) -> None:
        self._drainer = threading.get_ident()
        try:
            while self._queue:
                snapshot = self._queue.popleft()
                for sink in self._inline:
                    sink.send(snapshot)
        finally:
            self._drainer = 0
            self._draining.release()

    def flush_inline(self, deadline: float) -> bool:
        """Wait until the plain sinks have everything; at most until `deadline`, in `time.monotonic` seconds."""
        if not self._inline:
            return True
        if self._drainer == threading.get_ident():
            return False  # a sink that flushes the builder that is calling it
        if not self._draining.acquire(timeout=max(0.0, deadline - monotonic())):
            return False
        self._drain()
        return all([sink.flush(max(0.0, deadline - monotonic())) for sink in self._inline])

    def flush_links(self, snapshot: Snapshot) -> list[Future[bool]]:
        """Ask all deliveries for the fate of a snapshot."""
        return [link.flush(snapshot) for link in self._links]

    def detach(self, snapshot: Snapshot) -> None:
        """Tell the deliveries that this is the last snapshot."""
        for link in self._links:
            link.detach(snapshot)

    def receipts(self, snapshot: Snapshot) -> tuple[Receipt, ...]:
        """Say what became of a snapshot, for each sink."""
        return tuple(end.receipt(snapshot) for end in self._ends)


def check_sink(sink: object) -> None:
    """Refuse what cannot be a sink.

    Raises:
        TypeError: it is neither callable nor has `send`, or it is a class.
    """
    if isinstance(sink, type):
        raise TypeError(f"{sink.__name__} is a class; a sink is an object: {sink.__name__}(…).")
    if not callable(getattr(sink, "send", sink)):
        raise TypeError(f"{sink!r} is no sink: it is not callable and has no send(snapshot).")


def check_inline_sink(sink: object) -> None:
    """Refuse what cannot be called inline.

    Raises:
        TypeError: it is no sink, or a coroutine function.
    """
    check_sink(sink)
    if is_coroutine_sink(sink):
        raise TypeError(f"{sink!r} is a coroutine function, which cannot be called inline; wrap it: Delivery(sink).")


def is_coroutine_sink(sink: object) -> bool:
    """Whether calling the sink gives a coroutine."""
    send = getattr(sink, "send", sink)
    return inspect.iscoroutinefunction(send) or inspect.iscoroutinefunction(getattr(send, "__call__", None))  # noqa: B004


def call_with_timeout(method: Callable[..., object], timeout: float) -> object:
    """Call a sink's `flush` or `close`, with the timeout where it takes one."""
    takes_it = any(
        parameter.kind is not inspect.Parameter.KEYWORD_ONLY for parameter in inspect.signature(method).parameters.values()
    )
    return method(timeout) if takes_it else method()


def wait(futures: Iterable[Future[bool]], deadline: float) -> bool:
    """Wait for all; False when one is not True by the deadline."""
    done = True
    for future in futures:
        try:
            done = future.result(max(0.0, deadline - monotonic())) and done
        except TimeoutError:
            done = False
    return done


async def await_all(futures: Iterable[Future[bool]], deadline: float) -> bool:
    """Wait for all without blocking the running loop; False when one is not True by the deadline."""
    import asyncio

    done = True
    loop = asyncio.get_running_loop()
    for future in futures:
        waiter = loop.create_future()

        def wake(_: object, waiter: asyncio.Future[None] = waiter) -> None:
            try:
                loop.call_soon_threadsafe(lambda: waiter.done() or waiter.set_result(None))
            except RuntimeError:
                return  # the loop was closed meanwhile: nobody waits any more

        future.add_done_callback(wake)
        try:
            await asyncio.wait_for(waiter, max(0.0, deadline - monotonic()))
        except TimeoutError:
            done = False
        else:
            done = future.result() and done
    return done
