"""What is retried, and when: the one place that decides, without a clock or a network."""

from __future__ import annotations

from enum import Enum
from random import Random

import attrs

from ._transport import Answer
from ._wanted import number


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
    """Nothing is tried until the next revision; a terminal snapshot, which has none, is tried at long intervals."""
    REFUSED = "refused"
    """This revision will never be taken."""


RETRYABLE = frozenset(
    ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN")
)
PERMANENT = frozenset(("INVALID_ARGUMENT", "UNIMPLEMENTED", "OUT_OF_RANGE"))


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


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How long a delivery waits between attempts, all in seconds."""

    first: float = attrs.field(default=0.1, validator=number(0, above=True))
    """The longest first wait; it doubles with each failure in a row."""
    cap: float = attrs.field(default=30.0, validator=number(0, above=True))
    """The longest wait after answered errors of one execution."""
    connection_cap: float = attrs.field(default=1.0, validator=number(0, above=True))
    """The longest wait between two probes of a backend that cannot be reached."""
    terminal_interval: float = attrs.field(default=30.0, validator=number(0, above=True))
    """The wait between attempts to send a terminal snapshot that was refused, but perhaps not for good."""
    terminal_patience: float = attrs.field(default=900.0, validator=number(0, above=True))
    """How long such a terminal snapshot is tried before it counts as lost."""

    def wait(self, failures: int, random: Random) -> float:
        """Return the wait after that many failures in a row of one execution, with full jitter."""
        return random.uniform(0, min(self.cap, self.first * 2 ** min(failures - 1, 32)))

    def probe_wait(self, failures: int, random: Random) -> float:
        """Return the wait before the next probe of a backend, with full jitter."""
        return random.uniform(0, min(self.connection_cap, self.first * 2 ** min(failures - 1, 32)))
