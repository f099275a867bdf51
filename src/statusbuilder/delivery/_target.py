"""Whether the backend can be reached, and how large a request it takes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from ._retry import RetryPolicy

if TYPE_CHECKING:
    from ._slot import Attempt

MAX_HALVINGS = 4


class Target:
    """One backend. While it is down one attempt at a time probes it, whatever the number of executions."""

    def __init__(self, retry: RetryPolicy, random: Random, max_bytes: int | None) -> None:
        self.max_bytes = max_bytes
        self.down_since: float | None = None
        self.probe: Attempt | None = None
        self.probe_at = 0.0
        self.last_answer = 0.0
        """When the backend last answered anything, by `time.monotonic`."""
        self._retry = retry
        self._random = random
        self._failures = 0
        self._halvings = 0
        self._silent = False

    def next_probe(self) -> float | None:
        """Return when the next probe may be sent; None while one is under way.

        A backend that keeps silent may only be slow with one execution, which must not be the only one to probe.
        """
        if self.probe is None:
            return self.probe_at
        return max(self.probe_at, self.probe.started + self._retry.connection_cap) if self._silent else None

    def may_probe(self, now: float) -> bool:
        """Whether a probe may be sent now."""
        time = self.next_probe()
        return time is not None and time <= now

    def fail(self, now: float, silent: bool) -> bool:
        """Note that the backend could not be reached, or kept silent; says whether that is news."""
        self._failures += 1
        self._silent = silent
        self.probe_at = now + self._retry.probe_wait(self._failures, self._random)
        if self.down_since is not None:
            return False
        self.down_since = now
        return True

    def answer(self, now: float) -> float | None:
        """Note that the backend answered; returns how many seconds it was down, None when it was not."""
        self.last_answer = now
        if self.down_since is None:
            return None
        outage = now - self.down_since
        self.down_since = None
        self._failures = 0
        return outage

    def shrink(self, tried: int | None, size: int) -> bool:
        """Halve the limit, unless another attempt has done so meanwhile; False when it was halved often enough."""
        if tried != self.max_bytes:
            return True
        if self._halvings >= MAX_HALVINGS:
            return False
        self._halvings += 1
        self.max_bytes = (size if tried is None else min(size, tried)) // 2
        return True
