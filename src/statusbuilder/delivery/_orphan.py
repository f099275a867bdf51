"""What is said of an execution that lost its process."""

from __future__ import annotations

from datetime import datetime

import attrs

from ..core.model.values import ExecutionPhase


@attrs.frozen
class Orphan:
    """An execution whose process died before the execution had ended."""

    execution_id: str
    phase: ExecutionPhase
    """The last one that is known."""
    epoch: int
    """Of the builder that died with the process; one that goes on has a larger one."""
    seen_at: datetime
    """When it was last written to the spool, which is not the last sign of life."""
