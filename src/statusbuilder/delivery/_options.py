"""The settings of a delivery."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from typing import Literal, TypedDict

import attrs
from attrs.validators import optional

from ..core.model.values import ExecutionPhase, Receipt
from ._wanted import function, kind, number, one_of
from .core import RetryPolicy, Settings


class DeliveryOptions(TypedDict, total=False):
    """The settings that every sink with a delivery takes; `Options` says what they mean."""

    min_interval: float
    max_rate: float
    max_share: float
    attempt_timeout: float
    settle: float | None
    close_timeout: float
    max_in_flight: int
    retry: RetryPolicy
    at_exit: ExecutionPhase | None
    on_receipt: Callable[[Receipt], object] | None
    spool_interval: float
    spool_patience: float
    get_patience: float
    max_spool_bytes: int


def _file(given: str | PathLike[str] | None) -> str | None:
    """Turn what is given for a file into its path."""
    if given is None:
        return None
    if not isinstance(given, (str, PathLike)):
        raise TypeError(f"spool is {given!r}; give the path of a file.")
    path = os.fsdecode(given)
    if path in ("", ":memory:") or path.startswith("file:"):
        raise ValueError(f"spool is {path!r}; give the path of a file, which outlives the process.")
    return os.path.abspath(os.path.expanduser(path))


@attrs.frozen(kw_only=True)
class Options:
    """The settings of a delivery."""

    min_interval: float = attrs.field(default=0.1, validator=number(0))
    """Seconds between two sends of one execution at least; a change of phase does not wait for it."""
    max_rate: float = attrs.field(default=1024.0 * 1024.0, validator=number(0, above=True))
    """Bytes a second of one execution at most, on average."""
    max_share: float = attrs.field(default=0.05, validator=number(0, above=True))
    """The share of one core that the delivery's own threads use at most, on average; executions whose phase does not
    change wait for it, 5 s at most."""
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
    """Called with the receipt of each builder's last snapshot once its fate is known, and again when it becomes
    another; for the last state of a spooled row, too. On a thread of its own, one call at a time."""
    spool: str | None = attrs.field(default=None, converter=_file)
    """A file, SQLite, mode 0600, that keeps what is not acknowledged yet, so that it survives this process; several
    processes may share it. A file that cannot be used is logged, and harms nothing."""
    orphans: Literal["report", "fail"] = attrs.field(default="report", validator=one_of("report", "fail"))
    """What is done about executions in the spool whose process died before they had ended: they are only logged and
    listed, or logged and ended FAILED, "the runner process died"."""
    spool_interval: float = attrs.field(default=900.0, validator=number(0, above=True))
    """Seconds between two attempts to deliver a row of the spool that the backend keeps refusing."""
    spool_patience: float = attrs.field(default=7 * 24 * 3600.0, validator=number(0))
    """Seconds after which such a row is set aside, as lost."""
    get_patience: float = attrs.field(default=60.0, validator=number(0))
    """Seconds that a final state of a dead process waits for a backend that is there and does not say what it holds."""
    max_spool_bytes: int = attrs.field(default=2**30, validator=number(65536))
    """Bytes of the spool's file at most; its last quarter is kept for final states."""

    @property
    def settle_after(self) -> float:
        """`settle`, or its default."""
        return 2 * self.attempt_timeout if self.settle is None else self.settle

    def settings(self, *, ends_in_time: bool, max_bytes: int | None) -> Settings:
        """Return what the core is told of them."""
        same = {name: getattr(self, name) for name in _SAME}
        return Settings(
            **same,
            settle=self.settle_after,
            spool=self.spool is not None,
            fails_orphans=self.orphans == "fail",
            ends_in_time=ends_in_time,
            max_bytes=max_bytes,
        )


_SAME = {field.name for field in attrs.fields(Settings)} & {field.name for field in attrs.fields(Options)}
_SAME -= {"settle", "spool"}
