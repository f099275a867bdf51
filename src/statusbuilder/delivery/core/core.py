"""What a delivery decides."""

from __future__ import annotations

from collections.abc import Callable

from .effects import Effect
from .events import Event
from .values import Counters, Settings


class Core:
    """Decides for all executions of one sink.

    Args:
        settings: of the delivery.
        random: returns numbers from 0 to below 1.
    """

    def __init__(self, settings: Settings, random: Callable[[], float]) -> None:
        raise NotImplementedError

    def begin(self, now: float) -> list[Effect]:
        """Begin; with a spool this looks for rows of the dead."""
        raise NotImplementedError

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take note of what happened at `now`, in seconds that never go back."""
        raise NotImplementedError

    def due(self, now: float) -> list[Effect]:
        """Do what is due, and send what may be sent; owed after each batch of events and at `wake`."""
        raise NotImplementedError

    def wake(self) -> float | None:
        """Return when `due` is to be called next, if no event comes; None when only an event makes something due."""
        raise NotImplementedError

    @property
    def counters(self) -> Counters:
        """What was counted so far."""
        raise NotImplementedError

    @property
    def pending(self) -> int:
        """Executions of this process that have something to send, or under way."""
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        """Rows of other processes that are not delivered yet."""
        raise NotImplementedError

    @property
    def oldest(self) -> float | None:
        """When the oldest state that is not acknowledged became one; None without one."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """Rows that this process has in the spool."""
        raise NotImplementedError
