"""Snapshots as JSON of limited size, for all that Temporal limits: headers, query answers, heartbeats, arguments."""

from __future__ import annotations

import json
from typing import Any, Final

from ..contracts import fit_dict
from ..core.model.values import Snapshot

LIMIT: Final = 256 * 1024
"""Bytes of JSON; Temporal warns above it, and refuses at 2 MiB."""


def size_of(value: object) -> int:
    """Return the bytes that a JSON value takes as Temporal's own converter writes it."""
    return len(json.dumps(value, separators=(",", ":")))


def fit(snapshot: Snapshot, limit: int = LIMIT) -> dict[str, Any]:
    """Return a snapshot as `to_dict` does, in at most `limit` bytes of JSON."""
    return fit_dict(snapshot, limit)
