"""The public face of a delivery: what builders attach to, and what owners flush, close and look at."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from os import PathLike
from time import monotonic
from typing import Any, Literal, Self, Unpack

import attrs

from ..core.environment import sinks_disabled
from ..core.link import Source
from ..core.model.values import Snapshot
from ..core.outlets import await_all, check_sink, is_coroutine_sink, wait
from ._options import DeliveryOptions, DeliveryStats, Options
from ._orphan import Orphan
from ._plain import LoopTransport, ThreadTransport
from ._slot import UNATTACHED, DeliveryLink
from ._transport import Answer, Transport
from ._worker import Worker


class Deliverer:
    """Delivers the newest snapshots of any number of executions through one transport, on one thread.

    It is what all sinks that do I/O are made of. One is made per process and backend, and shared by all builders; its
    owner closes it. At the exit of the interpreter it closes itself.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        spool: str | PathLike[str] | None = None,
        orphans: Literal["report", "fail"] = "report",
        **options: Unpack[DeliveryOptions],
    ) -> None:
        unknown = sorted(options.keys() - DeliveryOptions.__annotations__.keys())
        if unknown:
            known = ", ".join(field.name for field in attrs.fields(Options))
            raise TypeError(f"{type(self).__name__} has no argument {unknown[0]!r}; its settings are {known}.")
        self._transport = transport
        self._options = Options(spool=spool, orphans=orphans, **options)
        if spool is not None and not hasattr(transport, "unpack"):
            raise TypeError("spool= is for sinks whose requests can be kept on disk, such as GrpcSink.")
        self._worker = self._new_worker()
        self._numbers = count(1)
        _live.add(self)
        if spool is not None:
            self._worker.post(self._worker.keeper.begin)

    # What builders call

    def attach(self, source: Source) -> DeliveryLink:
        """Begin to deliver for a builder."""
        return DeliveryLink(self._worker, self, source.execution_id, source, next(self._numbers))

    def send(self, snapshot: Snapshot, /) -> None:
        """Deliver a snapshot that comes from no builder; returns at once."""
        if sinks_disabled():
            return
        link = DeliveryLink(self._worker, self, snapshot.execution_id, None, UNATTACHED)
        self._worker.post(self._worker.offer, link, snapshot)

    # What owners call

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until nothing is left to send.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when something is left.
        """
        deadline = monotonic() + timeout
        return wait([self._ask_idle(deadline)], deadline)

    async def aflush(self, timeout: float = 5.0) -> bool:
        """Do as `flush`, without blocking the running event loop."""
        deadline = monotonic() + timeout
        return await await_all([self._ask_idle(deadline)], deadline)

    def close(self, timeout: float | None = None) -> bool:
        """Deliver what is outstanding, and stop; safe to call twice. What could not be delivered is logged.

        Args:
            timeout: Seconds to wait at most; by default the `close_timeout` of the settings.

        Returns:
            False when something was lost.
        """
        wait([self._begin_close(timeout, False)], monotonic() + self._seconds(timeout) + GRACE)
        return self._worker.closed and not self._worker.counters.lost

    async def aclose(self, timeout: float | None = None) -> bool:
        """Do as `close`, without blocking the running event loop."""
        await await_all([self._begin_close(timeout, False)], monotonic() + self._seconds(timeout) + GRACE)
        return self._worker.closed and not self._worker.counters.lost

    def stats(self) -> DeliveryStats:
        """Return what was done so far."""
        counters, worker = self._worker.counters, self._worker
        return DeliveryStats(
            sent=counters.sent,
            superseded=counters.superseded,
            retried=counters.retried,
            failed=counters.failed,
            spooled=counters.spooled,
            lost=counters.lost,
            bytes=counters.bytes,
            pending=len(worker.unsent),
            last_success_age=None if counters.last_success is None else monotonic() - counters.last_success,
            last_error=counters.last_error,
        )

    @property
    def outage(self) -> float | None:
        """Seconds since the backend could first not be reached; None while it can."""
        since = self._worker.target.down_since
        return None if since is None else monotonic() - since

    @property
    def closed(self) -> bool:
        """Whether nothing is delivered any more."""
        return self._worker.closed

    @property
    def label(self) -> str | None:
        """What names the backend; None for a sink that has no such name."""
        return getattr(self._transport, "label", None)

    @property
    def settle(self) -> float:
        """Seconds after which an attempt that nobody answered cannot be applied any more."""
        return self._options.settle_after

    @property
    def can_ask(self) -> bool:
        """Whether the backend can be asked what it holds."""
        return hasattr(self._transport, "fetch") and getattr(self._transport, "can_fetch", True)

    def ask(self, execution_id: str, timeout: float = 10.0) -> Future[tuple[Answer, Snapshot | None]]:
        """Ask what the backend holds of an execution.

        Args:
            execution_id: The execution.
            timeout: Seconds that the question may take.

        Returns:
            The answer, whose code is OK or says why not, such as NOT_FOUND, and what is held.
        """
        asked: Future[tuple[Answer, Snapshot | None]] = Future()
        asked.set_running_or_notify_cancel()  # whoever does not wait any longer cancels in vain
        if self.closed or not self.can_ask:
            code = "UNAVAILABLE" if self.closed else "UNIMPLEMENTED"
            asked.set_result((Answer(code, "the sink cannot be asked", answered=False), None))
            return asked
        transport: Any = self._transport
        kind = transport.kind(Snapshot(execution_id))
        transport.fetch(execution_id, kind, timeout, lambda answer, held: asked.set_result((answer, held)))
        return asked

    def orphans(self) -> tuple[Orphan, ...]:
        """Return the executions in the spool whose process died before they had ended, as found by this process.

        They are the newest 10,000, each until a builder in any process goes on with it and the next process looks.
        Without `spool=` there are none.
        """
        return self._worker.keeper.orphans()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # Behind them

    def _seconds(self, timeout: float | None) -> float:
        return self._options.close_timeout if timeout is None else timeout

    def _ask_idle(self, deadline: float) -> Future[bool]:
        future: Future[bool] = Future()
        if not self._worker.post(self._worker.flush_all, deadline, future):
            future.set_result(not self._worker.counters.lost)
        return future

    def _begin_close(self, timeout: float | None, exiting: bool) -> Future[bool]:
        future: Future[bool] = Future()
        deadline = monotonic() + self._seconds(timeout)
        if not self._worker.post(self._worker.close, deadline, exiting, future):
            future.set_result(True)
        return future

    def _forked(self) -> None:
        """Begin anew in a forked child; what was outstanding is the parent's to deliver."""
        self._transport.after_fork()
        self._worker = self._new_worker()

    def _new_worker(self) -> Worker:
        worker = Worker(self._transport, self._options)
        worker.keeper.attach_to(self)
        return worker

    def __del__(self) -> None:
        worker = getattr(self, "_worker", None)
        if worker is not None and worker.is_running:
            worker.post(worker.close, monotonic(), False, Future())  # nobody can attach any more, so nothing is left


class Delivery(Deliverer):
    """Puts any sink behind a worker, so that no change waits for it; a sink itself.

    Args:
        sink: A callable that takes a snapshot, an object with `send`, or a coroutine function.
        threads: How many calls of a plain sink may be under way at the same time, 1 or more; a call that hangs keeps
            its thread.
        options: The settings of the delivery, see `DeliveryOptions`.

    Raises:
        TypeError: It is no sink, or there is no such setting.
        ValueError: A setting is out of its range; the text names it.
    """

    def __init__(
        self, sink: Callable[[Snapshot], Any] | Any, *, threads: int = 8, **options: Unpack[DeliveryOptions]
    ) -> None:
        check_sink(sink)
        self.sink = sink
        """The sink behind it."""
        if is_coroutine_sink(sink):
            super().__init__(LoopTransport(sink), **options)
        else:
            options["max_in_flight"] = min(threads, options.get("max_in_flight", threads))
            super().__init__(ThreadTransport(sink, threads), **options)

    def __repr__(self) -> str:
        return f"Delivery({self.sink!r})"


GRACE = 0.5
"""Seconds that a close waits for the worker beyond the deadline, which the worker keeps by itself."""

_live: weakref.WeakSet[Deliverer] = weakref.WeakSet()


def _at_exit() -> None:
    started = monotonic()
    busy = [deliverer for deliverer in list(_live) if deliverer._worker.has_work]
    # All begin before any is waited for, so that they share the time.
    closing = [(deliverer, deliverer._begin_close(None, True)) for deliverer in busy]
    for deliverer, future in closing:
        deliverer._worker.finish()
        wait([future], started + deliverer._options.close_timeout + GRACE)


def _after_fork() -> None:
    for deliverer in list(_live):
        deliverer._forked()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
