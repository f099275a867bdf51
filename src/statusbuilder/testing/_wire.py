"""What a snapshot is after it went over the wire, which carries less than the snapshot has."""

from __future__ import annotations

from ..contracts import contract_for
from ..core.model.values import Snapshot


def through_the_wire(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot as a backend that shows it would be read back."""
    contract = contract_for(snapshot)
    return contract.read_request(contract.encode(snapshot))
