"""What a shell keeps of each source of states while the core has to do with it."""

from __future__ import annotations

from typing import Any

import attrs

from ..core.model.values import ExecutionPhase, Snapshot
from ._link import DeliveryLink
from .core import Ref
from .spool.rows import Key, Row


@attrs.define(eq=False)
class Record:
    """One source: a builder, what was given to `Deliverer.send`, or a row of the spool."""

    ref: Ref
    link: DeliveryLink | None
    """None for a row."""
    memo: Any
    """What the transport keeps between two snapshots."""
    row: Row | None = None
    """What a dead process left, without its request."""
    key: Key | None = None
    """Of the row that this process has in the spool; None before there is one."""
    phase: ExecutionPhase = ExecutionPhase.IN_PROGRESS
    """Of the snapshot that was taken last."""
    sent: Snapshot | None = None
    """What a row's request says, once the backend was asked."""
    held: Snapshot | None = None
    """What the backend held then."""
    _final: Snapshot | None = None
    _epoch: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether the last snapshot is known."""
        return self._final is not None

    def take(self) -> Snapshot | None:
        """Return the newest snapshot; None when the builder is gone and has left none."""
        newest = None if self.link is None else self.link.take()
        snapshot = newest if self._final is None else self._final
        if snapshot is None or self._epoch in (None, snapshot.epoch):
            return snapshot
        return attrs.evolve(snapshot, epoch=self._epoch)

    def end(self, final: Snapshot) -> Snapshot:
        """Keep the last snapshot; one that comes late with an older version changes nothing. Returns the kept one."""
        if self._final is None or (final.epoch, final.revision) > (self._final.epoch, self._final.revision):
            self._final = final
        return self._final

    def take_over(self, epoch: int) -> None:
        """Go on under a larger epoch, also where the builder is gone."""
        self._epoch = epoch
        source = None if self.link is None else self.link.source
        if source is not None:
            source.take_over(epoch)
