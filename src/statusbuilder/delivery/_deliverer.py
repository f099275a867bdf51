"""The public face of a delivery: what builders attach to, and what owners flush, close and look at."""

from __future__ import annotations

import os
import sys
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
from ..core.outlets import check_sink, is_coroutine_sink
from ..core.process import PerProcess
from ..core.waits import await_all, wait
from ._exit import GRACE, close_at_exit, close_early
from ._link import DeliveryLink
from ._options import DeliveryOptions, Options
from ._orphan import Orphan
from ._plain import LoopTransport, ThreadTransport
from ._shell import Shell
from ._transport import Transport
from .core import Answer, DeliveryStats, Ref


class Deliverer:
    """Delivers the newest snapshots of any number of executions through one transport, on one thread.

    It is what all sinks that do I/O are made of. One is made per process and backend, and shared by all builders; its
    owner closes it. At the exit of the interpreter it closes itself. In a forked child it begins anew.
    """

    on_attempt: Callable[[str, float], object] | None = None
    """Called with the code of each attempt that has ended, and its seconds, on the thread of `on_receipt`."""

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
        kept = None if sinks_disabled() else spool
        self._options = chosen = Options(spool=kept, orphans=orphans, **options)
        if spool is not None and not hasattr(transport, "unpack"):
            raise TypeError("spool= is for sinks whose requests can be kept on disk, such as GrpcSink.")
        born, me = os.getpid(), weakref.ref(self)
        self._shell = close_at_exit(
            lambda: Shell(transport, chosen, me, is_child=os.getpid() != born), chosen.close_timeout
        )
        self._numbers = count(1)
        if chosen.spool is not None:
            self._shell.get().post(_look)

    # What builders call

    def attach(self, source: Source) -> DeliveryLink:
        """Begin to deliver for a builder."""
        return DeliveryLink(self._shell.get(), self, Ref(source.execution_id, next(self._numbers)), source)

    def send(self, snapshot: Snapshot, /) -> None:
        """Deliver a snapshot that comes from no builder; returns at once."""
        if sinks_disabled():
            return
        shell = self._shell.get()
        shell.post(shell.sent, DeliveryLink(shell, self, Ref(snapshot.execution_id, 0), None), snapshot)

    # What owners call

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until nothing is left to send.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when something is left.
        """
        deadline = monotonic() + timeout
        return wait([self._ask_idle(deadline)], deadline + GRACE)

    async def aflush(self, timeout: float = 5.0) -> bool:
        """Do as `flush`, without blocking the running event loop."""
        deadline = monotonic() + timeout
        return await await_all([self._ask_idle(deadline)], deadline + GRACE)

    def close(self, timeout: float | None = None) -> bool:
        """Deliver what is outstanding, and stop; safe to call twice. What could not be delivered is logged.

        Args:
            timeout: Seconds to wait at most; by default the `close_timeout` of the settings.

        Returns:
            False when something was lost.
        """
        closing, deadline = self._begin_close(timeout)
        return wait([closing], deadline + GRACE)

    async def aclose(self, timeout: float | None = None) -> bool:
        """Do as `close`, without blocking the running event loop."""
        closing, deadline = self._begin_close(timeout)
        return await await_all([closing], deadline + GRACE)

    def ask(self, execution_id: str, timeout: float = 10.0) -> Future[tuple[Answer, Snapshot | None]]:
        """Ask what the backend holds of an execution; what is delivered does not change by it.

        Args:
            execution_id: Which one.
            timeout: Seconds to wait at most.

        Returns:
            A future. Its answer's code is OK with a snapshot, and `held` where the backend knows revisions; NOT_FOUND;
            UNIMPLEMENTED where this sink cannot ask; or why it failed.
        """
        shell, future = self._shell.get(), Future[tuple[Answer, Snapshot | None]]()
        future.set_running_or_notify_cancel()  # who does not wait any more cancels nothing
        otherwise = lambda: (Answer("UNAVAILABLE", shell.over, answered=False), None)  # noqa: E731
        return shell.ask(future, otherwise, shell.look_up, execution_id, timeout)

    def stats(self) -> DeliveryStats:
        """Return what was done so far, in this process."""
        return self._shell.get().stats()

    @property
    def can_ask(self) -> bool:
        """Whether `ask` may say more than UNIMPLEMENTED."""
        return hasattr(self._transport, "fetch") and bool(getattr(self._transport, "can_fetch", True))

    @property
    def label(self) -> str | None:
        """The backend, for people; None where the sink is no backend."""
        label: str | None = getattr(self._transport, "label", None)
        return label

    @property
    def settle(self) -> float:
        """Seconds after which a backend has applied, or never will, an attempt that ended without an answer."""
        return self._options.settle_after

    @property
    def close_timeout(self) -> float:
        """Seconds that `close()` waits by default."""
        return self._options.close_timeout

    @property
    def outage(self) -> float | None:
        """Seconds since the backend could first not be reached; None while it can."""
        outage = self._shell.get().outage
        return None if outage is None else monotonic() - outage.since

    @property
    def closed(self) -> bool:
        """Whether nothing is delivered any more."""
        return self._shell.get().closed

    def orphans(self) -> tuple[Orphan, ...]:
        """Return the executions in the spool whose process died before they had ended, as found by this process.

        The first call waits until they were looked for, at most `close_timeout`. They are the newest 10,000, each until
        a builder in any process goes on with it and the next process looks. Without `spool=` there are none.
        """
        return self._shell.get().orphans(self._options.close_timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # Behind them

    def _ask_idle(self, deadline: float) -> Future[bool]:
        shell = self._shell.get()
        return shell.ask(Future(), lambda: not shell.stats().lost, shell.flush_all, deadline)

    def _begin_close(self, timeout: float | None) -> tuple[Future[bool], float]:
        shell, deadline = self._shell.get(), monotonic() + (self.close_timeout if timeout is None else timeout)
        return shell.ask(Future(), lambda: not shell.stats().lost, shell.close, deadline, False), deadline

    def __del__(
        self, _is_exiting: Callable[[], bool] = sys.is_finalizing, _now: Callable[[], float] = monotonic
    ) -> None:
        if _is_exiting():  # the modules that are needed here may be gone; `atexit` has seen to it
            return
        shells: PerProcess[Shell] | None = getattr(self, "_shell", None)
        shell = None if shells is None else shells.peek()
        if shell is not None and shell.is_running:  # nobody can attach any more, so nothing is left
            shell.post(shell.close, _now(), False, Future())


def _look() -> None:
    """Have the delivery's thread begin, which looks into the spool first of all."""


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
        behind: Any = sink
        if hasattr(behind, "scope"):
            self.scope = behind.scope
            """What a block enters, where the sink has something of the kind; see `Sink`."""
        if hasattr(behind, "opened"):
            self.opened = lambda source, *, inline: behind.opened(source, inline=False)
            """What is called when a builder is made, where the sink has something of the kind; see `Sink`."""
        if is_coroutine_sink(sink):
            super().__init__(LoopTransport(sink), **options)
        else:
            options["max_in_flight"] = min(threads, options.get("max_in_flight", threads))
            super().__init__(ThreadTransport(sink, threads), **options)
        if hasattr(behind, "opened"):
            close_early(self._shell)

    def __repr__(self) -> str:
        return f"Delivery({self.sink!r})"
