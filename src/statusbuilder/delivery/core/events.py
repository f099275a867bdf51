"""What a core is told. Each event comes with the time at which it happened, which never goes back."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple, TypeAlias

from ...core.model.values import Snapshot
from .values import Answer, Rank, Ref, Request, State, Version


class Attached(NamedTuple):
    """A source begins; comes once, before anything else of it, when it has something to say (not when it is made)."""

    ref: Ref
    epoch: int
    epoch_given: bool = True
    """Whether the epoch stays, because the user chose it."""
    outlives: bool = False
    """Whether the execution outlives its process, so that it leaves no open row and is never an orphan."""
    marks: tuple[str, ...] | None = None
    """What is known of the execution's end (`initial`), as in `Answer.marks`; None without `initial`."""


class Changed(NamedTuple):
    """A source has something new."""

    ref: Ref
    rank: Rank
    """TERMINAL when the phase became terminal, PHASE when it became another one."""
    anew: bool = False
    """Whether the present revision is to be sent although it was sent before."""


class Detached(NamedTuple):
    """A source has its last snapshot."""

    ref: Ref
    version: Version
    is_terminal: bool


class Withdrawn(NamedTuple):
    """A source takes back what was not sent yet."""

    ref: Ref


class Flush(NamedTuple):
    """Somebody waits for a revision; answered by one `Settle`, at the deadline at the latest."""

    ref: Ref
    revision: int
    waiter: Hashable
    deadline: float
    is_patient: bool = True
    """False for leaving a block and for `close()` without a timeout: nobody waits for a backend known to be away."""


class FlushAll(NamedTuple):
    """Somebody waits until nothing is left to send; answered by one `Settle`."""

    waiter: Hashable
    deadline: float


class Close(NamedTuple):
    """The sink is closed; answered by one `Settle`, by the deadline plus `CLOSE_WAIT`."""

    waiter: Hashable
    deadline: float
    is_exiting: bool = False
    """Whether the process ends, so that no attempt may last longer than the deadline."""


class Taken(NamedTuple):
    """The answer to `Take`."""

    ref: Ref
    request: Request | None
    """None when the builder is gone, or when it could not be encoded."""
    error: str = ""
    """Why it could not be encoded."""
    revision: int = -1
    """Of what could not be encoded."""


class Connected(NamedTuple):
    """The answer to `Connect`."""

    answer: Answer
    """OK, or UNAVAILABLE with `answered=False` and the reason."""


class Ended(NamedTuple):
    """An attempt or a question has ended."""

    attempt: int
    answer: Answer


class Holds(NamedTuple):
    """The answer to `Ask`.

    `answer` is OK with `held` and what the backend holds, NOT_FOUND, UNIMPLEMENTED where it cannot be asked, or any
    other failure. No status, another id, and bytes that cannot be read are a failure (INTERNAL, `answered=True`).
    """

    attempt: int
    answer: Answer
    snapshot: Snapshot | None = None
    """What the backend holds."""
    sent: Snapshot | None = None
    """What the row's request says; None for a row without one."""


class Stored(NamedTuple):
    """The answer to `Persist`, once it is committed, or cannot be."""

    ref: Ref
    version: Version
    is_on_disk: bool


class Row(NamedTuple):
    """A row of a dead owner that this process has taken over."""

    ref: Ref
    """Its number is below 0 and never used again."""
    version: Version
    is_terminal: bool
    state: State
    has_body: bool
    age: float = 0.0
    """Seconds since it was written."""
    claimed: float | None = None
    """Seconds since the first claim; None when this is it."""
    missing: float | None = None
    """Seconds since the first NOT_FOUND; None when there is none."""
    doubt: float | None = None
    """Seconds since the doubt that its last owner left with it; None when it left none or was killed."""
    damage: str = ""
    """Why it is not to be believed: its checksum does not fit, its request cannot be read."""
    marks: tuple[str, ...] = ()
    """Of its request."""


class Claimed(NamedTuple):
    """The answer to `Claim`."""

    rows: tuple[Row, ...]
    is_all: bool = True
    """Whether no more were left."""


class Emptied:
    """The spool's file was replaced: what was written is gone."""


class Cpu(NamedTuple):
    """What the delivery's own threads have used so far; owed every 0.25 to 1 s while something is sent."""

    seconds: float


Event: TypeAlias = (
    Attached | Changed | Detached | Withdrawn | Flush | FlushAll | Close | Taken | Connected | Ended | Holds | Stored
    | Claimed | Emptied | Cpu
)  # fmt: skip
