"""Where an execution stands on its way to the backend, and what is known beside that: small frozen values."""

from __future__ import annotations

from typing import Final, TypeAlias

import attrs

from .values import Rank, Ref, Request, State, Version


def _check(*wanted: bool) -> None:
    if not all(wanted):
        raise ValueError("this cannot be at the same time")


@attrs.frozen
class Idle:
    """Nothing is to be sent."""


@attrs.frozen
class Ready:
    """The newest state is to be sent, once backoff and pace allow it."""

    rank: Rank
    since: float
    """When there was something that is not acknowledged yet."""
    is_anew: bool = False
    """Whether it is sent although its revision was delivered."""
    settles: bool = False
    """Whether that is only because a doubt is left."""
    is_retry: bool = False
    """Whether it was tried before."""

    def __attrs_post_init__(self) -> None:
        if self.settles and not (self.is_anew and self.rank is Rank.OTHER):
            raise ValueError("what only settles a doubt is sent again, and is no change of phase")

    def and_also(self, other: Ready | None) -> Ready:
        """Return what has to be sent for both."""
        if other is None or (other.settles and not self.settles):
            return self
        if self.settles and not other.settles:
            return other
        rank, since = min(self.rank, other.rank), min(self.since, other.since)
        return Ready(rank, since, self.is_anew or other.is_anew, self.settles, self.is_retry or other.is_retry)


@attrs.frozen
class Asking:
    """The backend is asked whether a row may be sent."""

    attempt: int
    ready: Ready
    started: float


@attrs.frozen
class Taking:
    """The newest snapshot is taken, and encoded."""

    ref: Ref
    ready: Ready


@attrs.frozen
class Storing:
    """What is to be sent waits for the disk."""

    request: Request
    ref: Ref
    ready: Ready


@attrs.frozen
class Sending:
    """An attempt is under way."""

    attempt: int
    request: Request
    ref: Ref
    ready: Ready
    started: float
    limit: int | None
    is_first: bool
    """Whether its source has sent this version for the first time."""


Busy: TypeAlias = Asking | Taking | Storing | Sending
Step: TypeAlias = Idle | Ready | Busy
IDLE = Idle()
RESTING: Final = (Idle, Ready)
"""The steps in which nothing is under way."""


@attrs.frozen
class Doubt:
    """An attempt ended without an answer, and may still be applied."""

    since: float
    differing: int = 0
    """Answers in a row that showed something else than was sent."""
    not_before: float = 0.0
    """When what settles it is sent again that was refused."""
    refused: float | None = None
    """When that was refused first."""

    def __attrs_post_init__(self) -> None:
        _check(0 <= self.differing < 2)


@attrs.frozen
class Backoff:
    """How an execution's attempts have failed since the last success."""

    failures: int = 0
    until: float = 0.0
    """Nothing is tried before."""
    asked: float = 0.0
    """The backend asked to come again then; not even a change of phase comes earlier."""
    has_waited: bool = False
    """Whether a terminal state waited for what the backend asked, which it does once."""
    refused: float | None = None
    """When it was first refused, but perhaps not for good, since something was accepted."""

    def __attrs_post_init__(self) -> None:
        _check(self.asked <= self.until)


CALM = Backoff()


@attrs.frozen
class Last:
    """The last state of a source."""

    version: Version
    is_terminal: bool
    at: float
    """When it became known."""


@attrs.frozen
class Absent:
    """No row is on disk."""


@attrs.frozen
class Written:
    """A row is on disk."""

    version: Version
    has_body: bool
    """Whether it has a request; without one it says that the execution is open."""
    is_open: bool
    """Whether it is an orphan's if this process dies."""

    def __attrs_post_init__(self) -> None:
        _check(self.has_body or self.is_open)


@attrs.frozen
class Writing:
    """A row is about to be on disk."""

    row: Written
    before: Absent | Written | Writing

    def answered(self, version: Version, is_on_disk: bool) -> Disk:
        """Return what follows from the disk's answer for a version, be it this one or what was written before it."""
        if version == self.row.version:
            return self.row if is_on_disk else self.before
        before = self.before
        return Writing(self.row, before.answered(version, is_on_disk) if isinstance(before, Writing) else before)

    def emptied(self) -> Writing:
        """Return what follows from a new file, in which there is nothing."""
        return Writing(self.row, self.before.emptied() if isinstance(self.before, Writing) else ABSENT)


Disk: TypeAlias = Absent | Written | Writing
ABSENT = Absent()


@attrs.frozen
class Found:
    """What is known of a row that another process left."""

    version: Version
    is_terminal: bool
    state: State
    has_body: bool
    claimed: float
    """When it was first claimed, here or by another process."""
    written: float
    missing: float | None = None
    """When the backend first said that it knows nothing of the execution."""
    is_reported: bool = False

    @property
    def is_orphan(self) -> bool:
        """Whether its execution has not ended, and lost its process."""
        return self.state is not State.CLOSED and not self.is_terminal
