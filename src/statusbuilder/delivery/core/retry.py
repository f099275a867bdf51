"""What follows from an answer."""

from __future__ import annotations

from enum import Enum

from .values import Answer


class Verdict(Enum):
    """What follows from an answer."""

    ACCEPTED = "accepted"
    """The backend has the snapshot."""
    RECONNECT = "reconnect"
    """The backend cannot be reached: everything for it waits, and one attempt at a time probes."""
    RETRY = "retry"
    """The same execution is tried again, later."""
    SHRINK = "shrink"
    """The request was too large: the limit is halved and the execution is tried again."""
    STALE = "stale"
    """The backend holds something newer."""
    WAIT = "wait"
    """Nothing is tried until the next revision; a last snapshot, which has none, is tried at long intervals."""
    REFUSED = "refused"
    """This revision will never be taken."""


RETRYABLE = frozenset(
    ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN")
)
PERMANENT = frozenset(("INVALID_ARGUMENT", "UNIMPLEMENTED", "OUT_OF_RANGE"))

LONGEST_ASKED = 900.0
"""Seconds for which a wait that the server names counts at most."""


def judge(answer: Answer, epoch: int, revision: int) -> Verdict:
    """Say what follows from the answer to an attempt to send `(epoch, revision)`."""
    if answer.code == "OK":
        return Verdict.ACCEPTED
    if answer.too_large:
        return Verdict.SHRINK
    if answer.code == "FAILED_PRECONDITION" and answer.held is not None:
        if answer.held == (epoch, revision):
            return Verdict.ACCEPTED  # by an earlier attempt whose answer was lost; this backend takes nothing twice
        if answer.held > (epoch, revision):
            return Verdict.STALE
    if not answer.answered and answer.code == "UNAVAILABLE":
        return Verdict.RECONNECT
    if answer.code in PERMANENT:
        return Verdict.REFUSED
    if answer.code in RETRYABLE and (answer.retry_after is None or answer.retry_after >= 0):
        return Verdict.RETRY
    return Verdict.WAIT
