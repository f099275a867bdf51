"""The words that a delivery's core and its shell have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from enum import Enum, IntEnum
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import attrs

from ...core.model.values import Outcome, Snapshot

Version: TypeAlias = tuple[int, int]
"""An epoch and a revision."""


class Ref(NamedTuple):
    """One source of an execution's states: a builder, what was given to `Deliverer.send`, or a row of the spool."""

    execution_id: str
    number: int
    """Builders count from 1, and the one with the largest is in charge; 0 has none; rows count down from -1."""

    @property
    def is_row(self) -> bool:
        """Whether it is what another process left in the spool."""
        return self.number < 0


class Rank(IntEnum):
    """Who is served first."""

    TERMINAL = 0
    PHASE = 1
    OTHER = 2


class State(IntEnum):
    """Whether somebody still works on the execution of a row; the numbers stand in the spool."""

    CLOSED = 0
    """It has ended, or its builder has detached, or it outlives its process."""
    OPEN = 1
    """Its builder is there, or died with its process."""
    ORPHANED = 2
    """Its builder died with its process, and that was reported."""


@attrs.frozen
class Request:
    """One snapshot, ready to be sent."""

    execution_id: str
    epoch: int
    revision: int
    is_terminal: bool
    body: Any = attrs.field(repr=False)
    """What the transport sends: the serialized request, or the snapshot itself."""
    size: int = 0
    """Bytes of the body, for pacing; 0 where that is not known."""
    marks: tuple[str, ...] = ()
    """What it says of the execution's end: see `Answer.marks`."""

    @property
    def version(self) -> Version:
        """The epoch and revision of the snapshot."""
        return self.epoch, self.revision

    def is_of(self, snapshot: Snapshot) -> bool:
        """Whether this is the request of that snapshot."""
        return self.version == (snapshot.epoch, snapshot.revision)


@attrs.frozen
class Answer:
    """How one attempt ended."""

    code: str = "OK"
    """The name of a gRPC status code; other sinks have OK and UNKNOWN."""
    reason: str = ""
    """What went wrong, in one line, for people."""
    answered: bool = True
    """Whether the backend itself said so; False after a deadline, a cancellation, and a refused or cut connection."""
    in_doubt: bool = False
    """Whether the request may still be applied, although the backend has not said so: also where a proxy answered."""
    retry_after: float | None = None
    """Seconds that the backend asked to wait; negative when it asked not to come again."""
    held: Version | None = None
    """The epoch and revision that the backend says it holds; None from one that does not know them."""
    too_large: bool = False
    """Whether the request was over the size that the backend receives."""
    shows: Callable[[], bool] | None = None
    """Whether a successful answer shows the phase and tasks that were sent; None where that cannot be told."""
    marks: tuple[str, ...] = ()
    """The `error` and the `completed_at` that a successful answer shows, or a text that stands for each, made in the
    same way as a request's; without those that are empty."""


class Fate(NamedTuple):
    """What has become of a source's states; one value, replaced whole, that any thread may read."""

    delivered: int = -1
    """The newest revision that the backend took."""
    confirmed: int = -1
    refused: int = -1
    """The newest revision that the backend refused, for good or until the next one."""
    spooled: int = -1
    """The newest revision that is on disk, or was when it was delivered."""
    conflict: str = ""
    """Why what was delivered is not what the backend shows; empty when it does."""
    outcome: Literal[Outcome.SUPERSEDED, Outcome.LOST] | None = None
    """Once nothing more is tried."""
    reason: str = ""
    """Why what is there is not delivered."""
    held: Version | None = None
    """What the backend held when it last refused something as older."""

    def of(self, revision: int, otherwise: str = "") -> tuple[Outcome, str]:
        """Say what became of a revision.

        Args:
            revision: of the source.
            otherwise: why nothing is delivered at present, where there is no reason of its own; see `Outage`.
        """
        if self.delivered >= revision:
            if self.conflict:
                return Outcome.CONFLICT, self.conflict
            return (Outcome.CONFIRMED if self.confirmed >= revision else Outcome.DELIVERED), ""
        if self.outcome is not None:
            return self.outcome, self.reason
        outcome = Outcome.SPOOLED if self.spooled >= revision else Outcome.PENDING
        return outcome, self.reason or otherwise or ("" if outcome is Outcome.SPOOLED else "not answered yet")


@attrs.frozen
class Outage:
    """Why the backend cannot be reached."""

    since: float
    reason: str


class Uniform(Protocol):
    """What random numbers come from, such as a `random.Random`."""

    def uniform(self, a: float, b: float, /) -> float: ...


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} is {value!r}; give a number above 0.")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How long a delivery waits between attempts, all in seconds."""

    first: float = attrs.field(default=0.1, validator=_positive)
    """The longest first wait; it doubles with each failure in a row."""
    cap: float = attrs.field(default=30.0, validator=_positive)
    """The longest wait after answered errors of one execution."""
    connection_cap: float = attrs.field(default=1.0, validator=_positive)
    """The longest wait between two probes of a backend that cannot be reached."""
    terminal_interval: float = attrs.field(default=30.0, validator=_positive)
    """The wait between attempts to send a closed builder's last snapshot that was refused, but perhaps not for good."""
    terminal_patience: float = attrs.field(default=900.0, validator=_positive)
    """How long such a snapshot is tried before it counts as lost, or is left to the spool."""

    def wait(self, failures: int, random: Uniform) -> float:
        """Return the wait after that many failures in a row of one execution, with full jitter."""
        return random.uniform(0, min(self.cap, self.first * 2 ** min(failures - 1, 32)))

    def probe_wait(self, failures: int, random: Uniform) -> float:
        """Return the wait before the next probe of a backend, with full jitter."""
        return random.uniform(0, min(self.connection_cap, self.first * 2 ** min(failures - 1, 32)))


@attrs.frozen(kw_only=True)
class Settings:
    """What a core is told at its beginning; `Options` says what they mean. The shell has checked them."""

    min_interval: float = 0.1
    max_rate: float = 1024.0 * 1024.0
    max_share: float = 0.05
    attempt_timeout: float = 10.0
    settle: float = 20.0
    max_in_flight: int = 256
    retry: RetryPolicy = RetryPolicy()
    ends_in_time: bool = True
    """Whether attempts end by their deadline, so that one that does not is taken for lost."""
    max_bytes: int | None = None
    """Bytes of the largest request at first; None without a limit."""
    spool: bool = False
    fails_orphans: bool = False
    spool_interval: float = 900.0
    spool_patience: float = 7 * 24 * 3600.0
    get_patience: float = 60.0


@attrs.frozen
class DeliveryStats:
    """What a delivery has done since it was made; a closed one keeps its last figures."""

    sent: int
    """Snapshots that the backend took."""
    superseded: int
    """Revisions that were not sent because a newer one replaced them."""
    retried: int
    """Attempts that were made because an earlier one had failed."""
    failed: int
    """Attempts that failed."""
    spooled: int
    """Snapshots that were written to the spool."""
    lost: int
    """Executions whose last snapshot was given up."""
    bytes: int
    """Bytes of all requests that were sent."""
    pending: int
    """Executions that have something to send now."""
    last_success_age: float | None
    """Seconds since the backend last took something; None when it never did."""
    last_error: str
    """Why the last failed attempt failed; empty when none did."""
    waiting: int = 0
    """Rows of dead processes that are not delivered yet."""
    conflicts: int = 0
    """Executions of which the backend shows another state than was sent."""
    failures: Mapping[str, int] = attrs.field(factory=dict)
    """Attempts that failed, by the name of the gRPC status code."""
    pending_age: float = 0.0
    """Seconds since the oldest state that is not acknowledged was made; 0 without one."""
    rows: int = 0
    """Rows that this process has in the spool."""
    cpu_seconds: float = 0.0
    """CPU time of the delivery's own threads."""
    age: float = 0.0
    """Seconds since the sink was made, in this process."""


class Standing(Enum):
    """How what a backend holds stands to a row."""

    OLDER = "older"
    """It has to get the row's request."""
    SAME = "same"
    """It has what the row's owner sent last."""
    NEWER = "newer"
    """Somebody else went on, or the execution has ended: the row gives way."""


def executions(some: Sized) -> str:
    """Return how many executions there are, in words."""
    return f"{len(some):,} execution{'' if len(some) == 1 else 's'}"
