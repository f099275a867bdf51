"""The attempts that are under way, and those that should have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._slot import Attempt

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of requests under way at the same time; bounds the memory of many large executions."""

OVERDUE = 2.0
"""Seconds after its deadline when an attempt is taken for lost, although its transport has not said so."""


class Flights:
    """Attempts in the order in which they were started, all with the same deadline."""

    def __init__(self, most: int, timeout: float | None) -> None:
        self._most = most
        self._patience = None if timeout is None else timeout + OVERDUE
        self._attempts: dict[Attempt, None] = {}
        self._bytes = 0

    @property
    def has_room(self) -> bool:
        """Whether one more may be started."""
        return len(self._attempts) < self._most and self._bytes < MAX_BYTES

    def start(self, attempt: Attempt) -> None:
        """Note an attempt."""
        self._attempts[attempt] = None
        self._bytes += attempt.request.size

    def end(self, attempt: Attempt) -> bool:
        """Note its end; False when it was ended before."""
        if attempt not in self._attempts:
            return False
        del self._attempts[attempt]
        self._bytes -= attempt.request.size
        return True

    def next_wake(self) -> float | None:
        """Return when the oldest one is overdue; None without one, or where attempts may take for ever."""
        if self._patience is None or not self._attempts:
            return None
        return next(iter(self._attempts)).started + self._patience

    def overdue(self, now: float) -> Attempt | None:
        """Return the oldest attempt, if it is overdue."""
        time = self.next_wake()
        return next(iter(self._attempts)) if time is not None and time <= now else None
