"""The end of a delivery that a builder holds."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any, Protocol

from ..core.link import Source
from ..core.model.values import Outcome, Receipt, Snapshot
from .core import Fate, Ref
from .core.values import Outage, Version


class Hub(Protocol):
    """What a link needs of the shell that it belongs to."""

    outage: Outage | None

    @property
    def over(self) -> str: ...

    def post(self, call: Callable[..., None], *arguments: Any) -> bool: ...

    def leave(self, until: float, call: Callable[..., None], *arguments: Any) -> None: ...

    def changed(self, link: DeliveryLink, urgent: bool, anew: bool) -> None: ...

    def changed_before(self, link: DeliveryLink) -> None: ...

    def flush(
        self, link: DeliveryLink, revision: int, deadline: float, is_patient: bool, future: Future[bool]
    ) -> None: ...

    def detached(self, link: DeliveryLink, snapshot: Snapshot) -> None: ...

    def withdrawn(self, link: DeliveryLink) -> None: ...


class DeliveryLink:
    """A delivery's end of one source of states, such as a builder.

    Its calls may come from any thread, and even from a finalizer or a signal handler, so they only put something into
    the inbox of the delivery's thread, which is made for that. None waits.
    """

    __slots__ = (
        *("_fate", "_final", "_has_begun", "_is_queued", "_is_urgent", "_rests_until", "_shell", "_source"),
        *("ref", "sink"),
    )

    def __init__(self, shell: Hub, sink: object, ref: Ref, source: Source | None) -> None:
        self._shell = shell
        self._source: Callable[[], Source | None] = _nobody if source is None else weakref.ref(source)
        self._fate = Fate()
        self._final: Snapshot | None = None
        self._has_begun = False
        self._is_queued = False
        self._is_urgent = False
        self._rests_until = 0.0
        self.sink = sink
        """What receipts name."""
        self.ref = ref
        """How the delivery names the source."""

    # For builders

    def signal(self, urgent: bool) -> None:
        """Say that the state changed; at most one message is under way, and one more for a change of phase.

        Before the pace allows the next send it wakes nobody, because nothing could be done yet.
        """
        if self._is_urgent if urgent else self._is_queued:
            return
        self._is_queued = True
        self._is_urgent = urgent or self._is_urgent
        if urgent or monotonic() >= self._rests_until:
            self._shell.post(self._shell.changed, self, urgent, False)
        else:
            self._shell.leave(self._rests_until, self._shell.changed_before, self)

    def signal_anew(self) -> None:
        """Have the present revision sent once more: something is shown with it that no revision counts."""
        self._shell.post(self._shell.changed, self, False, True)

    def flush(self, snapshot: Snapshot, deadline: float, is_patient: bool = True) -> Future[bool]:
        """Ask for the fate of a snapshot, by `deadline` in `time.monotonic` seconds; see `core.link.Link`."""
        future: Future[bool] = Future()
        if self._fate.delivered >= snapshot.revision:
            future.set_result(True)
        elif not self._shell.post(self._shell.flush, self, snapshot.revision, deadline, is_patient, future):
            future.set_result(False)
        return future

    def detach(self, snapshot: Snapshot) -> None:
        """Say that this is the last snapshot."""
        self._final = snapshot  # the builder may be gone before the delivery hears of it
        self._shell.post(self._shell.detached, self, snapshot)

    def withdraw(self) -> None:
        """Take back what was not sent yet, because somebody else goes on; what is under way may still arrive."""
        self._shell.post(self._shell.withdrawn, self)

    def receipt(self, snapshot: Snapshot) -> Receipt:
        """Say what became of a snapshot."""
        outage = self._shell.outage
        outcome, reason = self._fate.of(snapshot.revision, "" if outage is None else outage.reason)
        over = self._shell.over
        if outcome is Outcome.PENDING and over:
            outcome, reason = Outcome.LOST, over
        return Receipt(self.sink, outcome, snapshot.revision, reason, snapshot.execution_id)

    @property
    def outcome(self) -> Outcome | None:
        """SUPERSEDED or LOST, once nothing more is tried for what is there."""
        return self._fate.outcome

    @property
    def held(self) -> Version | None:
        """The epoch and revision with which the backend last refused an older one."""
        return self._fate.held

    # For the delivery's thread

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended, also where the builder is gone."""
        source = self._source()
        newest = self._final if source is None else source
        return newest is not None and newest.is_terminal

    @property
    def source(self) -> Source | None:
        """The builder, while it is there."""
        return self._source()

    def begin(self) -> bool:
        """Note that the source has something to say; True when it says it for the first time."""
        is_first = not self._has_begun
        self._has_begun = True
        return is_first

    def take(self) -> Snapshot | None:
        """Return the newest snapshot, the last one when the builder is gone. What changes after it is signalled again.

        It is None where the source has a true `is_stale`: somebody else may have gone on while it waited.
        """
        self._is_queued = self._is_urgent = False
        source = self._source()
        if source is None:
            return self._final
        return None if getattr(source, "is_stale", False) else source.snapshot()

    def rest(self, until: float) -> None:
        """Note that the shell looks by itself, at that time, for what is left with it before."""
        self._rests_until = until

    def learn(self, fate: Fate) -> None:
        """Replace what other threads read here."""
        self._fate = fate


def _nobody() -> None:
    return None
