"""A state, and how its sinks come to have it: the lock around it, telling them of changes, and waiting for them."""

from __future__ import annotations

import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable
from time import time_ns
from typing import TYPE_CHECKING, Any

from ..payload.policy import PayloadPolicy
from .checks import check_seconds
from .environment import sinks_disabled
from .model.times import to_nanos
from .model.values import Receipt, Snapshot
from .outlets import Outlets, check_builder_sink
from .state import NOTHING, PHASE_CHANGED, ExecutionState

if TYPE_CHECKING:
    from datetime import datetime


class Published:
    """The base of the builders: a state that is changed under a lock, and published to the sinks without it."""

    def __init__(
        self,
        state: ExecutionState,
        policy: PayloadPolicy,
        *,
        clock: Callable[[], datetime] | None,
        strict: bool,
        close_timeout: float,
        epoch_given: bool,
    ) -> None:
        self.close_timeout = check_seconds("close_timeout", close_timeout)
        """Seconds that leaving the block and `close()` wait at most."""
        self._state = state
        self._policy = policy
        self._clock = clock
        self._strict = strict
        self.epoch_given = epoch_given
        """Whether the epoch was chosen by the user, so that it stays."""
        self._lock = threading.RLock()
        """Around every use of the state.

        The calls that runners make most take it without `with`, which takes half as long again. `acquire` stands in
        the `try`, because a Ctrl-C may come as soon as it has the lock; or as it waits, so `release` may find nothing.
        """
        self._outlets: Outlets | None = None
        self._first_revision = state.revision
        self._final: Snapshot | None = None
        """The state at the first close(), which is the last that the sinks get; None until then."""
        self._dropped = 0
        _live.add(self)

    def _attach(self, sinks: Iterable[Any]) -> None:
        if not isinstance(sinks, Iterable):
            raise TypeError(f"sinks must be a list of sinks, not {sinks!r}: write sinks=[…].")
        sinks = list(sinks)
        for sink in sinks:
            check_builder_sink(sink)
        if sinks and not sinks_disabled():
            self._outlets = Outlets(sinks, self, self._first_revision)

    @property
    def execution_id(self) -> str:
        """The backend's id of the execution."""
        return self._state.execution_id

    @property
    def dropped(self) -> int:
        """How many late or wrong calls were ignored instead of raising."""
        return self._dropped

    def snapshot(self) -> Snapshot:
        """Return the present state, immutable."""
        with self._lock:
            return self._state.snapshot()

    # Waiting for the sinks

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until the sinks have the present revision.

        Args:
            timeout: Seconds to wait at most; 0 only asks.

        Returns:
            False when they do not have it in time; at once when a sink refused it for good, or when it is a change
            that was made after close().
        """
        snapshot = self.snapshot()
        if not self._is_sent(snapshot):
            return False
        return self._outlets is None or self._outlets.flush(snapshot, timeout)

    def _is_sent(self, snapshot: Snapshot) -> bool:
        """Whether the sinks have the snapshot, or will get it."""
        return self._outlets is None or self._final is None or snapshot.revision <= self._final.revision

    async def aflush(self, timeout: float = 5.0) -> bool:
        """Do as `flush`, without blocking the running event loop."""
        snapshot = self.snapshot()
        if not self._is_sent(snapshot):
            return False
        return self._outlets is None or await self._outlets.aflush(snapshot, timeout)

    def close(self, timeout: float | None = None) -> tuple[Receipt, ...]:
        """Flush within the timeout and detach from the sinks; safe to call twice, a second call waits again.

        Where a receipt says `pending`, delivery goes on in the background. An execution that has not ended stays so.

        Args:
            timeout: Seconds to wait at most, for all sinks together; by default the builder's `close_timeout`.

        Returns:
            A receipt for each sink, in their order.
        """
        outlets, snapshot = self._detach()
        if outlets is None:
            return ()
        is_patient = timeout is not None
        outlets.flush(snapshot, self.close_timeout if timeout is None else timeout, is_patient)
        return outlets.receipts(snapshot)

    async def aclose(self, timeout: float | None = None) -> tuple[Receipt, ...]:
        """Do as `close`, without blocking the running event loop."""
        outlets, snapshot = self._detach()
        if outlets is None:
            return ()
        is_patient = timeout is not None
        await outlets.aflush(snapshot, self.close_timeout if timeout is None else timeout, is_patient)
        return outlets.receipts(snapshot)

    def _detach(self) -> tuple[Outlets | None, Snapshot]:
        with self._lock:
            first = self._final is None
            self._final = final = self._final or self._state.snapshot()
        if self._outlets is not None and first:
            self._outlets.detach(final)
        return self._outlets, final

    # What deliveries call

    def take_over(self, epoch: int) -> None:
        """Go on under this epoch, if it is larger and the present one was not given by the user."""
        with self._lock:
            if not self.epoch_given and epoch > self._state.epoch:
                self._state.set_epoch(epoch)

    def end(self, error: str) -> None:
        """End the execution FAILED, if it has not ended."""
        with self._lock:
            if self._state.phase.is_terminal:
                return
            self._state.fail(self._now(), error, None)
            self._put(PHASE_CHANGED)
        self._publish(PHASE_CHANGED)

    # What the calls of the builders share

    def _now(self) -> int:
        """Read the clock, in nanoseconds since 1970."""
        return time_ns() if self._clock is None else to_nanos(self._clock())

    def _change(self, make: Callable[[int], int]) -> None:
        """Make a change at the present time, and tell the sinks."""
        now = self._now()
        with self._lock:
            change = make(now)
            self._put(change)
        self._publish(change)

    def _put(self, change: int) -> None:
        """Keep the snapshot of a change for the sinks that want each; under the lock."""
        if self._outlets is not None and self._outlets.takes_all and change and self._final is None:
            self._outlets.put(self._state.snapshot())

    def _publish(self, change: int) -> None:
        """Tell the sinks of a change; without the lock."""
        if self._outlets is None or change == NOTHING:
            return
        if self._final is None:
            self._outlets.publish(change == PHASE_CHANGED)
        elif self._state.revision > self._final.revision:
            self._drop("changes after close() stay in memory")

    def _refuse(self, error: Exception) -> None:
        """Raise what is wrong with a call, or ignore the call, as the builder was told."""
        if self._strict:
            raise error
        self._drop("" if self._dropped else f"wrong calls are ignored ({self._policy.error(error)})")

    def _drop(self, what: str) -> None:
        self._dropped += 1
        if self._dropped == 1:
            self._warn("Execution %r: %s; this is said once, then counted", self.execution_id, what)

    @staticmethod
    def _warn(text: str, *facts: object) -> None:
        import logging

        logging.getLogger("statusbuilder").warning(text, *facts)

    # Life and death

    def __repr__(self) -> str:
        tasks = len(self._state.tasks)
        number = "1 task" if tasks == 1 else f"{tasks} tasks"
        return f"<{type(self).__name__} {self.execution_id!r} {self._state.phase.name}, {number}>"

    def _forked(self) -> None:
        """Keep a builder usable in a forked child, where it is no longer the one that delivers."""
        self._lock = threading.RLock()
        self._outlets = None

    def __del__(self) -> None:
        outlets = getattr(self, "_outlets", None)
        if outlets is None or self._final is not None or sys.is_finalizing():
            return
        # No lock: nobody else has this builder any more.
        self._final = snapshot = self._state.snapshot()
        outlets.detach(snapshot)
        if snapshot.revision > self._first_revision and outlets.has_deliveries:
            warnings.warn(
                f"The builder of execution {snapshot.execution_id!r} was dropped without close(); its last state is "
                "delivered all the same. Use it in a with block, or call close().",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


_live: weakref.WeakSet[Published] = weakref.WeakSet()


def _after_fork() -> None:
    for builder in list(_live):
        builder._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
