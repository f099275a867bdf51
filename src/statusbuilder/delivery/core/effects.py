"""What a core wants done, in this order, by whoever drives it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple, TypeAlias

from ...core.model.values import Outcome
from .values import Fate, Outage, Ref, Request, State, Version


class Take(NamedTuple):
    """Take the newest snapshot and encode it; answered by `Taken`, soon."""

    ref: Ref
    limit: int | None
    """Bytes of the request at most."""


class Connect(NamedTuple):
    """Wait for a connection; answered by `Connected`. Where a transport cannot do that alone, at once with OK."""

    timeout: float


class Send(NamedTuple):
    """Make one attempt; answered by `Ended`."""

    attempt: int
    ref: Ref
    request: Request
    timeout: float
    next_at: float
    """When the pace allows the next send; the core wakes by itself then, where it keeps no spool."""


class Ask(NamedTuple):
    """Ask what the backend holds of a row's execution; answered by `Holds`."""

    attempt: int
    ref: Ref
    timeout: float


class Renew:
    """Leave the present connection for a fresh one, because nothing comes back on it."""


class SetFate(NamedTuple):
    """Replace what other threads read of a source; comes before any `Settle` and `Tell` that follows from it."""

    ref: Ref
    fate: Fate


class SetOutage(NamedTuple):
    """Replace what other threads read of the backend; None while it can be reached."""

    outage: Outage | None


class Settle(NamedTuple):
    """Answer somebody who waits."""

    waiter: Hashable
    done: bool


class Tell(NamedTuple):
    """Call `on_receipt`."""

    ref: Ref
    outcome: Outcome
    revision: int
    reason: str


class TakeOver(NamedTuple):
    """Have a builder go on under a larger epoch."""

    ref: Ref
    epoch: int


class Forget(NamedTuple):
    """Nothing is needed of a source any more; what its fate is stays."""

    ref: Ref


class Log(NamedTuple):
    """Write a line."""

    level: str
    """info, warning or error."""
    text: str
    execution_id: str = ""
    code: str = ""
    is_loss: bool = False
    """Whether it is said even where logging was switched off."""


class Persist(NamedTuple):
    """Write a row; answered by `Stored`. Without a request it only says that the execution is open."""

    ref: Ref
    version: Version
    state: State
    request: Request | None


class Acknowledge(NamedTuple):
    """Drop the request of that version, or an older one; the row stays while its state is not CLOSED."""

    ref: Ref
    version: Version


class Drop(NamedTuple):
    """Remove a row of that version, or an older one."""

    ref: Ref
    version: Version


class SetAside(NamedTuple):
    """Take a row out of the way, for people to look at: it is never claimed again."""

    ref: Ref
    reason: str


class Note(NamedTuple):
    """Note something in a row of that version, or an older one.

    Each is an age in seconds, negative to take it away, None to leave it.
    """

    ref: Ref
    version: Version
    claimed: float | None = None
    missing: float | None = None
    doubt: float | None = None


class Claim(NamedTuple):
    """Take over rows of dead owners, those first that have ended; answered by `Claimed`."""

    most: int


class ReportOrphan(NamedTuple):
    """List an execution whose process died before it had ended, and set its row's state ORPHANED."""

    ref: Ref


class EndOrphan(NamedTuple):
    """Make the end of an orphan, FAILED, from what the backend holds (`from_held`) or from the row's request.

    It becomes the source's last snapshot: answered by `Detached`, with a version at least the row's.
    """

    ref: Ref
    from_held: bool
    least: Version
    """Its version is larger than this one."""


class Looked:
    """The first look for rows of the dead is done."""


class Closed:
    """Nothing is done any more: release the connection and the spool."""


Effect: TypeAlias = (
    Take | Connect | Send | Ask | Renew | SetFate | SetOutage | Settle | Tell | TakeOver | Forget | Log | Persist
    | Acknowledge | Drop | SetAside | Note | Claim | ReportOrphan | EndOrphan | Looked | Closed
)  # fmt: skip
