"""The disk of the simulated world: one spool that several processes share."""

from __future__ import annotations

from dataclasses import dataclass, field

from statusbuilder.delivery.core.values import State, Version

from .backend import Shown


@dataclass
class OnDisk:
    """A row."""

    version: Version
    is_terminal: bool
    state: State
    body: Shown | None
    owner: object
    written: float
    claimed: float | None = None
    missing: float | None = None
    doubt: float | None = None
    is_damaged: bool = False
    order: int = 0


@dataclass
class Disk:
    """What was committed."""

    rows: dict[str, OnDisk] = field(default_factory=dict)
    aside: dict[str, OnDisk] = field(default_factory=dict)
    mode: str = "fine"
    """fine, slow, full or hanging."""

    def put(self, execution_id: str, row: OnDisk) -> bool:
        """Write a row, as the store does: over one that is there what is newer, or written again by its owner."""
        old = self.rows.get(execution_id)
        if old is not None and (row.version, old.owner is row.owner) < (old.version, True):
            return False
        self.rows[execution_id] = row
        return True

    def mine(self, execution_id: str, owner: object, version: Version) -> OnDisk | None:
        """Return the row of that owner, of that version or an older one."""
        row = self.rows.get(execution_id)
        return row if row is not None and row.owner is owner and row.version <= version else None
