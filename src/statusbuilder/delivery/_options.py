"""The settings of a delivery, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Literal, TypedDict

import attrs
from attrs.validators import optional

from ..core.model.values import ExecutionPhase, Receipt
from ._retry import RetryPolicy
from ._wanted import function, kind, number, one_of


class DeliveryOptions(TypedDict, total=False):
    """The settings that every sink with a delivery takes; `Options` says what they mean."""

    min_interval: float
    max_rate: float
    attempt_timeout: float
    settle: float | None
    close_timeout: float
    max_in_flight: int
    retry: RetryPolicy
    at_exit: ExecutionPhase | None
    on_receipt: Callable[[Receipt], object] | None


@attrs.frozen(kw_only=True)
class Options:
    """The settings of a delivery."""

    min_interval: float = attrs.field(default=0.1, validator=number(0))
    """Seconds between two sends of one execution at least; a change of phase does not wait for it."""
    max_rate: float = attrs.field(default=1024.0 * 1024.0, validator=number(0, above=True))
    """Bytes a second of one execution at most, on average."""
    attempt_timeout: float = attrs.field(default=10.0, validator=number(0, above=True))
    """Seconds until an attempt counts as failed."""
    settle: float | None = attrs.field(default=None, validator=optional(number(0)))
    """Seconds after which a backend has applied, or never will, an attempt that ended without an answer; by default
    two attempt timeouts. Then the newest snapshot is sent once more."""
    close_timeout: float = attrs.field(default=5.0, validator=number(0))
    """Seconds that `close()` and the exit of the interpreter wait at most."""
    max_in_flight: int = attrs.field(default=256, validator=number(1))
    """Attempts under way at the same time at most, for all executions."""
    retry: RetryPolicy = attrs.field(factory=RetryPolicy, validator=kind(RetryPolicy, example="a RetryPolicy(…)"))
    """How long to wait between attempts."""
    at_exit: ExecutionPhase | None = attrs.field(default=None, validator=one_of(None, ExecutionPhase.FAILED))
    """FAILED ends executions that are still open when the interpreter exits; None leaves them as they are."""
    on_receipt: Callable[[Receipt], object] | None = attrs.field(
        default=None, validator=optional(function("a function that takes a Receipt"))
    )
    """Called on the delivery's thread whenever the fate of an execution's last snapshot is known; must not block."""
    spool: str | PathLike[str] | None = attrs.field(
        default=None, validator=optional(kind(str, PathLike, example="the path of a file"))
    )
    """A file, SQLite, mode 0600, that keeps what is not acknowledged yet, so that it survives this process; several
    processes may share it. A file that cannot be used is logged, and harms nothing."""
    orphans: Literal["report", "fail"] = attrs.field(default="report", validator=one_of("report", "fail"))
    """What is done about executions in the spool whose process died before they had ended: they are only logged and
    listed, or logged and ended FAILED, "the runner process died"."""

    @property
    def settle_after(self) -> float:
        """`settle`, or its default."""
        return 2 * self.attempt_timeout if self.settle is None else self.settle


@attrs.define
class Counters:
    """What a delivery counts while it works."""

    sent: int = 0
    superseded: int = 0
    retried: int = 0
    failed: int = 0
    spooled: int = 0
    lost: int = 0
    bytes: int = 0
    last_success: float | None = None
    last_error: str = ""


@attrs.frozen
class DeliveryStats:
    """What a delivery has done since it was made."""

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
