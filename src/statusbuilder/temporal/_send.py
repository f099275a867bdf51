"""Delivering one final snapshot, and waiting for what becomes of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from time import monotonic

import attrs

from ..core.model.values import Outcome, Receipt, Snapshot
from ..delivery import Deliverer, DeliveryLink

IMPATIENCE = 1.0
"""Seconds that a backend may be away before nobody waits for it who can have it done otherwise."""
LONGEST = 7 * 86400.0
"""Seconds that an end waits at most for its fate."""
LOOK = 0.2
"""Seconds between two looks at whether the backend is away."""


class Source(ABC):
    """What deliveries see of a run, whose epoch is the workflow's, and which outlives the process."""

    epoch_given = True
    outlives_process = True

    @property
    def execution_id(self) -> str:
        """The backend's id of the execution."""
        return self.snapshot().execution_id

    @property
    def epoch(self) -> int:
        """That of the run."""
        return self.snapshot().epoch

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.snapshot().is_terminal

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Return what is shown."""

    def take_over(self, epoch: int) -> None:
        """Keep the epoch."""
        return

    def end(self, error: str) -> None:
        """Keep the phase."""
        return


@attrs.frozen(eq=False)
class Final(Source):
    """A source that has ended."""

    last: Snapshot

    def snapshot(self) -> Snapshot:
        """Return the one state."""
        return self.last


async def send_final(sink: Deliverer, snapshot: Snapshot, seconds: float | None, patient: bool) -> Receipt:
    """Deliver a final snapshot; the receipt says `pending` when it was not done in time, and was withdrawn.

    With `seconds=None` it is never withdrawn, and this waits until its fate is known, or the sink is closed.

    Progress that this worker or a dead one showed may have a higher revision, where options changed under a running
    workflow. It is of the same epoch, so of the same run, whose end is the truth: then the end takes the next number.
    """
    deadline = None if seconds is None else monotonic() + seconds
    receipt, held = await _send(sink, snapshot, deadline, patient)
    if receipt.outcome is Outcome.SUPERSEDED and held is not None and held[0] == snapshot.epoch:
        later = attrs.evolve(snapshot, revision=held[1] + 1)
        receipt, _ = await _send(sink, later, deadline, patient)
    return receipt


async def _send(
    sink: Deliverer, snapshot: Snapshot, deadline: float | None, patient: bool
) -> tuple[Receipt, tuple[int, int] | None]:
    source = Final(snapshot)
    link = sink.attach(source)
    link.signal(True)
    link.detach(snapshot)
    if deadline is None:
        await asyncio.wrap_future(link.flush(snapshot, monotonic() + LONGEST))
        return link.receipt(snapshot), link.held
    if await _settled(sink, link, snapshot, deadline, patient):
        receipt = link.receipt(snapshot)
        if receipt.outcome is not Outcome.LOST or not sink.closed:
            return receipt, link.held
    receipt = link.receipt(snapshot)
    link.withdraw()
    reason = receipt.reason or "not answered in time"
    return attrs.evolve(receipt, outcome=Outcome.PENDING, reason=reason), None


async def _settled(sink: Deliverer, link: DeliveryLink, snapshot: Snapshot, deadline: float, patient: bool) -> bool:
    """Wait until the fate of a snapshot is known; False when it is not by then."""
    fate = asyncio.wrap_future(link.flush(snapshot, deadline))
    while not fate.done():
        left = deadline - monotonic()
        away = sink.outage
        if left <= 0 or (not patient and away is not None and away > IMPATIENCE):
            return False
        await asyncio.wait([fate], timeout=min(LOOK, left))
    return True
