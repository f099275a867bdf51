"""The sinks of one builder: who is called with every revision, and who only gets a signal."""

from __future__ import annotations

import inspect
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Literal

from ..payload.policy import PayloadPolicy
from .link import Attachable, Link, Source
from .model.values import Outcome, Receipt, Snapshot
from .waits import await_all, deadline_after, wait, warn_on_a_loop

if TYPE_CHECKING:
    from concurrent.futures import Future

_REASON = PayloadPolicy(max_bytes=1000)


_failed: Counter[str] = Counter()
_failing = threading.Lock()


def inline_failures() -> dict[str, int]:
    """Return how many calls of plain sinks raised in this process, by the sinks' names.

    A name is that of a sink's class, or of the function that it is. What stands behind a `Delivery` is not among them:
    `stats()` of that has its failures.
    """
    with _failing:
        return dict(_failed)


class InlineSink:
    """A plain sink, and what became of its last call."""

    def __init__(self, sink: Any, revision: int) -> None:
        self.sink = sink
        self.revision = revision
        """The last one that it was called with; at first the one that nobody needs to be told of."""
        self._error = ""
        self._send: Callable[[Snapshot], object] = getattr(sink, "send", sink)

    def send(self, snapshot: Snapshot) -> None:
        """Call the sink; what it raises is logged once in a row, and counted."""
        try:
            result = self._send(snapshot)
            if type(result) is CoroutineType:
                result.close()
                raise TypeError("it returned a coroutine, which nobody awaits; wrap it: Delivery(sink)")
        except (KeyboardInterrupt, SystemExit) as error:
            self._error = _REASON.error(error)
            raise  # these are the runner's, not the sink's
        except BaseException as error:
            self._fail(snapshot, error)
        else:
            self._error = ""
        finally:
            self.revision = snapshot.revision

    def flush(self, timeout: float) -> bool:
        """Let the sink flush, where it can; says whether all is well."""
        try:
            flush = getattr(self.sink, "flush", None)
            done = True if flush is None else call_with_timeout(flush, timeout) is not False
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._log("flush", error)
            return False
        return done and not self._error

    def receipt(self, snapshot: Snapshot) -> Receipt:
        """Say what became of a snapshot."""
        if self.revision < snapshot.revision:
            outcome, reason = Outcome.PENDING, "a plain sink has not returned yet"
        else:
            outcome, reason = Outcome.LOST if self._error else Outcome.DELIVERED, self._error
        return Receipt(self.sink, outcome, snapshot.revision, reason, snapshot.execution_id)

    def _fail(self, snapshot: Snapshot, error: BaseException) -> None:
        kind = self.sink if inspect.isroutine(self.sink) else type(self.sink)
        with _failing:
            _failed[kind.__qualname__] += 1
        if not self._error:
            self._log(f"revision {snapshot.revision} of execution {snapshot.execution_id!r}", error)
        self._error = _REASON.error(error)

    def _log(self, what: str, error: BaseException) -> None:
        import logging

        logging.getLogger("statusbuilder").warning("Sink %r failed on %s", self.sink, what, exc_info=error)


class Outlets:
    """All sinks of one builder, in the order in which they were given."""

    def __init__(self, sinks: Iterable[Any], source: Source, revision: int) -> None:
        self._sinks = tuple(sinks)
        self._first_revision = revision
        """The builder's at the beginning, of which no sink is told."""
        self._ends: list[InlineSink | Link] = [
            sink.attach(source) if isinstance(sink, Attachable) else InlineSink(sink, revision) for sink in self._sinks
        ]
        self._execution_id = source.execution_id
        self._scopes = [sink.scope for sink in self._sinks if hasattr(sink, "scope")]
        for sink in self._sinks:
            if hasattr(sink, "opened"):
                with _harmless(sink):
                    sink.opened(source, inline=True)
        self._inline = [end for end in self._ends if isinstance(end, InlineSink)]
        self._links = [end for end in self._ends if not isinstance(end, InlineSink)]
        self._queue: deque[Snapshot] = deque()
        self._draining = threading.RLock()
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
        self._drain_rest()

    def _drain_rest(self) -> None:
        # A call that finds another thread draining leaves its snapshot in the queue. The loop is for one that came
        # after that thread's last look at the queue, and before it released the lock.
        while self._queue and self._drain(0.0):
            pass

    def _drain(self, timeout: float) -> bool:
        """Call the plain sinks with all that is queued; False when another call is at it, of this thread or another."""
        thread = threading.get_ident()
        if self._drainer == thread:
            return False  # a sink that uses the builder that is calling it
        try:
            if not self._draining.acquire(timeout=timeout):  # inside of `try`, as a Ctrl-C may come right after it
                return False
            self._drainer = thread
            while self._queue:
                snapshot = self._queue[0]  # stays there until all have it, whatever comes in between
                for sink in self._inline:
                    if sink.revision < snapshot.revision:
                        sink.send(snapshot)
                self._queue.popleft()
            return True
        finally:
            if self._drainer == thread:
                self._drainer = 0
            with suppress(RuntimeError):  # where it was not acquired
                self._draining.release()

    def flush(self, snapshot: Snapshot, timeout: float, is_patient: bool = True) -> bool:
        """Wait until all sinks have a snapshot.

        Args:
            snapshot: of a revision that was published.
            timeout: seconds to wait at most.
            is_patient: whether somebody gave the timeout; otherwise nobody waits for a backend known to be away.

        Returns:
            False when they do not have it in time, and as soon as that is known.
        """
        if snapshot.revision == self._first_revision:
            return True
        deadline = deadline_after(timeout)
        futures = self._flush_links(snapshot, deadline, is_patient)
        inline = self._flush_inline(deadline)
        if timeout > 0 and not all(future.done() for future in futures):
            warn_on_a_loop()
        return wait(futures, deadline) and inline

    async def aflush(self, snapshot: Snapshot, timeout: float, is_patient: bool = True) -> bool:
        """Do as `flush`, without blocking the running event loop."""
        if snapshot.revision == self._first_revision:
            return True
        deadline = deadline_after(timeout)
        futures = self._flush_links(snapshot, deadline, is_patient)
        inline = True
        if self.takes_all:
            import asyncio

            inline = await asyncio.to_thread(self._flush_inline, deadline)
        return await await_all(futures, deadline) and inline

    def _flush_inline(self, deadline: float) -> bool:
        if not self._inline:
            return True
        if not self._drain(max(0.0, deadline - monotonic())):
            return False
        self._drain_rest()
        flushed = [sink.flush(max(0.0, deadline - monotonic())) for sink in self._inline]
        return all(flushed)

    def _flush_links(self, snapshot: Snapshot, deadline: float, is_patient: bool) -> list[Future[bool]]:
        return [link.flush(snapshot, deadline, is_patient) for link in self._links]

    def scope(self, task_id: str) -> Scope | None:
        """Return what the block of a task enters; None where no sink has anything of the kind."""
        return Scope(self._scopes, self._execution_id, task_id) if self._scopes else None

    def detach(self, snapshot: Snapshot) -> None:
        """Tell the deliveries that this is the last snapshot; where nothing changed they have nothing to know."""
        for link in self._links if snapshot.revision > self._first_revision else ():
            link.detach(snapshot)

    def receipts(self, snapshot: Snapshot) -> tuple[Receipt, ...]:
        """Say what became of a snapshot, for each sink."""
        if snapshot.revision == self._first_revision:
            facts = (Outcome.DELIVERED, snapshot.revision, "", snapshot.execution_id)
            return tuple(Receipt(sink, *facts) for sink in self._sinks)
        return tuple(end.receipt(snapshot) for end in self._ends)


class Scope:
    """What sinks want to be current inside a block; it neither raises nor keeps an exception from going on."""

    def __init__(self, scopes: Iterable[Callable[[str, str], Any]], execution_id: str, task_id: str) -> None:
        self._scopes = scopes
        self._ids = (execution_id, task_id)
        self._entered: list[Any] = []

    def __enter__(self) -> None:
        for scope in self._scopes:
            with _harmless(scope):
                manager = scope(*self._ids)
                manager.__enter__()
                self._entered.append(manager)

    def __exit__(self, *error: Any) -> Literal[False]:
        while self._entered:
            with _harmless(self._entered[-1]):
                self._entered.pop().__exit__(*error)
        return False


@contextmanager
def _harmless(called: object) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        import logging

        logging.getLogger("statusbuilder").warning("Sink %r failed on a builder or a block", called, exc_info=error)


def check_sink(sink: object) -> None:
    """Refuse what cannot be a sink.

    Raises:
        TypeError: it is neither callable nor has `send`, or it is a class.
    """
    if isinstance(sink, type):
        raise TypeError(f"{sink.__name__} is a class; a sink is an object: {sink.__name__}(…).")
    if not callable(getattr(sink, "send", sink)):
        raise TypeError(f"{sink!r} is no sink: it is not callable and has no send(snapshot).")


def check_builder_sink(sink: object) -> None:
    """Refuse what a builder cannot tell of its changes.

    Raises:
        TypeError: it is no sink, or a coroutine function.
    """
    check_sink(sink)
    if not isinstance(sink, Attachable) and is_coroutine_sink(sink):
        raise TypeError(f"{sink!r} is a coroutine function, which cannot be called inline; wrap it: Delivery(sink).")


def is_coroutine_sink(sink: object) -> bool:
    """Whether calling the sink gives a coroutine."""
    send = getattr(sink, "send", sink)
    return inspect.iscoroutinefunction(send) or inspect.iscoroutinefunction(getattr(send, "__call__", None))  # noqa: B004


def call_with_timeout(method: Callable[..., object], timeout: float) -> object:
    """Call a sink's `flush` or `close`, with the timeout where it takes one."""
    try:
        parameters = inspect.signature(method).parameters.values()
    except ValueError:  # a builtin that does not say
        return method()
    by_name = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    if any(parameter.kind not in by_name for parameter in parameters):
        return method(timeout)
    if any(parameter.name == "timeout" or parameter.kind is by_name[1] for parameter in parameters):
        return method(timeout=timeout)
    return method()
