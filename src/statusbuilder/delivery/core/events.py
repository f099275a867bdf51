"""What a core is told. Each event comes with the time at which it happened, which never goes back."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

import attrs

from ...core.model.values import Snapshot
from .values import Answer, Rank, Ref, Request, State, Version


@attrs.frozen
class Attached:
    """A source begins; comes once, before anything else of it, when it has something to say (not when it is made)."""

    ref: Ref
    epoch: int
    epoch_given: bool = True
    """Whether the epoch stays, because the user chose it."""
    outlives: bool = False
    """Whether the execution outlives its process, so that it leaves no open row and is never an orphan."""
    marks: tuple[str, ...] | None = None
    """What is known of the execution's end (`initial`), as in `Answer.marks`; None without `initial`."""


@attrs.frozen
class Changed:
    """A source has something new."""

    ref: Ref
    rank: Rank
    """TERMINAL when the phase became terminal, PHASE when it became another one."""
    anew: bool = False
    """Whether the present revision is to be sent although it was sent before."""


@attrs.frozen
class Detached:
    """A source has its last snapshot."""

    ref: Ref
    version: Version
    is_terminal: bool


@attrs.frozen
class Withdrawn:
    """A source takes back what was not sent yet."""

    ref: Ref


@attrs.frozen
class Flush:
    """Somebody waits for a revision; answered by one `Settle`, at the deadline at the latest."""

    ref: Ref
    revision: int
    waiter: Hashable
    deadline: float
    is_patient: bool = True
    """False for leaving a block and for `close()` without a timeout: nobody waits for a backend known to be away."""


@attrs.frozen
class FlushAll:
    """Somebody waits until nothing is left to send; answered by one `Settle`."""

    waiter: Hashable
    deadline: float


@attrs.frozen
class Close:
    """The sink is closed; answered by one `Settle`, by the deadline plus `CLOSE_WAIT`."""

    waiter: Hashable
    deadline: float
    is_exiting: bool = False
    """Whether the process ends, so that no attempt may last longer than the deadline."""


@attrs.frozen
class Taken:
    """The answer to `Take`."""

    ref: Ref
    request: Request | None
    """None when the builder is gone, or when it could not be encoded."""
    error: str = ""
    """Why it could not be encoded."""
    revision: int = -1
    """Of what could not be encoded."""


@attrs.frozen
class Connected:
    """The answer to `Connect`."""

    answer: Answer
    """OK, or UNAVAILABLE with `answered=False` and the reason."""


@attrs.frozen
class Ended:
    """An attempt or a question has ended."""

    attempt: int
    answer: Answer


@attrs.frozen
class Holds:
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


@attrs.frozen
class Stored:
    """The answer to `Persist`, once it is committed, or cannot be."""

    ref: Ref
    version: Version
    is_on_disk: bool


@attrs.frozen
class Row:
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


@attrs.frozen
class Claimed:
    """The answer to `Claim`."""

    rows: tuple[Row, ...]
    is_all: bool = True
    """Whether no more were left."""


@attrs.frozen
class Emptied:
    """The spool's file was replaced: what was written is gone."""


@attrs.frozen
class Cpu:
    """What the delivery's own threads have used so far; owed every 0.25 to 1 s while something is sent."""

    seconds: float


Event: TypeAlias = (
    Attached | Changed | Detached | Withdrawn | Flush | FlushAll | Close | Taken | Connected | Ended | Holds | Stored
    | Claimed | Emptied | Cpu
)  # fmt: skip
