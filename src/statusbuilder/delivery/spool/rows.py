"""What is on disk of an execution."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import attrs

from ...core.model.values import ExecutionPhase
from ..core.values import State


class Key(NamedTuple):
    """Which execution a row is of."""

    target: str
    """The backend, as the sink was told."""
    kind: str
    """The name of the contract."""
    execution_id: str


@attrs.frozen
class Row:
    """What is on disk of one execution."""

    key: Key
    epoch: int
    revision: int
    phase: int
    state: State
    written_at: float
    """Seconds since 1970."""
    body: bytes | None = attrs.field(default=None, repr=False)
    """The serialized request; None when the backend has it."""
    claimed_at: float | None = None
    """When a process first took it over from a dead one, in seconds since 1970."""
    missing_at: float | None = None
    """When the backend first said that it knows nothing of the execution, in seconds since 1970."""
    doubt_at: float | None = None
    """When an attempt of its last owner ended without an answer, in seconds since 1970."""
    damage: str = ""
    """Why it is not to be believed, and was set aside; such a row has its id and nothing else."""

    @property
    def is_terminal(self) -> bool:
        """Whether the execution had ended."""
        return self.phase >= ExecutionPhase.COMPLETED


@attrs.frozen
class Listed:
    """A row as people see it."""

    row: Row
    owner_alive: bool
    size: int
    """Bytes of the request; 0 without one."""


class SpoolUnusableError(Exception):
    """The file is there, but is no spool of this release; nothing was changed in it."""


def checksum(facts: Sequence[Any], body: Any) -> bytes:
    """Return the checksum of a row.

    Args:
        facts: target, kind, execution id, epoch, revision, phase and state.
        body: the request; what is damaged may be anything that SQLite knows.
    """
    digest = blake2b(repr([*facts]).encode(errors="surrogatepass"), digest_size=16)
    digest.update(body if isinstance(body, bytes) else repr(body).encode(errors="surrogatepass"))
    return digest.digest()
