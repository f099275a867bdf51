"""Whether the backend can be reached, and how large a request it takes."""

from __future__ import annotations

from collections.abc import Hashable
from math import ceil, inf

import attrs

from .values import RetryPolicy, Uniform

MAX_HALVINGS = 4
AWAY_AFTER = 1.0
"""Seconds without a connection, or without an answer to somebody who waits, after which the backend is away."""


@attrs.frozen
class Down:
    """The backend cannot be reached, or keeps silent; one attempt at a time probes it."""

    since: float
    failures: int
    is_silent: bool
    """Whether there is a connection on which nothing comes back."""
    reason: str
    probe_at: float


@attrs.frozen
class Probe:
    """What is done to see whether the backend is back."""

    started: float
    key: Hashable = None
    """The execution that is sent; None while a connection is waited for."""
    is_connected: bool = False
    """Whether there is a connection, for an execution that is not sent yet."""


class Target:
    """One backend."""

    def __init__(self, retry: RetryPolicy, random: Uniform, limit: int | None) -> None:
        self.down: Down | None = None
        """The outage; None without one."""
        self.limit = limit
        """Bytes of a request at most."""
        self.last_answer = -inf
        self._probe: Probe | None = None
        """Only while the backend is down."""
        self._has_kept_waiting = False
        self._halvings = 0
        self._retry = retry
        self._random = random

    def is_away(self, now: float) -> bool:
        """Whether nobody needs to wait for the backend."""
        return self._has_kept_waiting or now >= self._unconnected_since() + AWAY_AFTER

    def away_at(self, now: float) -> float:
        """Return when the backend will count as away, if nothing changes."""
        return inf if self.is_away(now) else self._unconnected_since() + AWAY_AFTER

    def _unconnected_since(self) -> float:
        """Return since when no connection could be made; never where there is one, or none is needed."""
        down, probe = self.down, self._probe
        if down is None or not down.is_silent:
            return inf if down is None else down.since
        return probe.started if probe is not None and probe.key is None and not probe.is_connected else inf

    def keep_waiting(self, since: float, now: float) -> None:
        """Note that somebody has waited in vain."""
        if now - since >= AWAY_AFTER and self.last_answer < since:
            self._has_kept_waiting = True

    def next_probe(self) -> float:
        """Return when a probe may go on; never while one has to end first, or the backend is not down.

        A backend that keeps silent may only be slow with one execution, which must not be the only one to probe.
        """
        down, probe = self.down, self._probe
        if down is None or probe is None:
            return inf if down is None else down.probe_at
        if probe.key is not None:
            return max(down.probe_at, probe.started + self._retry.connection_cap) if down.is_silent else inf
        return probe.started if probe.is_connected else inf

    def connect(self, now: float) -> bool:
        """Begin a probe; False when there is a connection for it."""
        if self._probe is not None and self._probe.is_connected:
            return False
        self._probe = Probe(now)
        return True

    def connected(self, now: float) -> None:
        """Note that a probe may be sent."""
        if self._probe is not None and self._probe.key is None:
            self._probe = Probe(now, is_connected=True)

    def probe(self, key: Hashable, now: float) -> None:
        """Note which execution is sent as a probe."""
        if self.down is not None:
            self._probe = Probe(now, key)

    def end_probe(self, key: Hashable) -> None:
        """Note that the probe has ended without a word about the backend."""
        if self._probe is not None and self._probe.key == key:
            self._probe = None

    def fail(self, key: Hashable | None, now: float, is_silent: bool, reason: str) -> bool | None:
        """Note that the backend could not be reached, or kept silent; says whether that, or the reason, is news.

        It says None where the attempt began before that was known. `key` is the execution that was sent; None where no
        connection could be made.
        """
        down, probe = self.down, self._probe
        if down is not None and (probe is None or probe.key != key or probe.is_connected):
            return None
        failures, since = (1, now) if down is None else (down.failures + 1, down.since)
        wait = self._retry.probe_wait(failures, self._random)
        self.down, self._probe = Down(since, failures, is_silent, reason, now + wait), None
        return down is None or reason != down.reason

    def hurry(self, now: float) -> None:
        """Probe at once."""
        if self.down is not None:
            self.down = attrs.evolve(self.down, probe_at=min(self.down.probe_at, now))

    def answer(self, now: float) -> float | None:
        """Note that the backend answered; returns how many seconds it was down, None when it was not."""
        self.last_answer = now
        self._has_kept_waiting = False
        down, self.down, self._probe = self.down, None, None
        return None if down is None else now - down.since

    def shrink(self, tried: int | None, size: int) -> bool:
        """Halve the limit, unless another attempt has done so meanwhile; False when it was halved often enough."""
        if tried != self.limit:
            return True
        if self._halvings >= MAX_HALVINGS:
            return False
        self._halvings += 1
        self.limit = (size if tried is None else min(size, tried)) // 2
        return True


class Share:
    """What the delivery's own threads may take of one core: how far apart the sends of one execution have to be."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._cost = USUAL_COST
        """CPU seconds of one send."""
        self._is_measured = False
        self._sends = 0
        self._seen: tuple[float, float] | None = None
        """When the CPU was last read, and its seconds."""
        self._active: dict[Hashable, float] = {}
        """Executions that were sent lately, and until when they count."""
        self._swept = 0.0

    def read(self, seconds: float, now: float) -> None:
        """Take note of the CPU seconds that were used so far."""
        if self._seen is None or now < self._seen[0] + SHARE_WINDOW:
            self._seen = self._seen or (now, seconds)
            return
        if self._sends:
            cost = (seconds - self._seen[1]) / self._sends
            self._cost = (self._cost + cost) / 2 if self._is_measured else cost
            self._is_measured = True
        self._seen, self._sends = (now, seconds), 0

    def pace(self) -> float:
        """Return the seconds between two sends of one execution that keep within the share."""
        return min(LONGEST_PACE, len(self._active) * self._cost / self._most)

    def send(self, key: Hashable, now: float) -> float:
        """Note that an execution is sent; returns when it may be sent again.

        Who has to wait longer than a tick is sent beside others, because each waking costs as much as several sends.
        """
        if now > self._swept + SHARE_WINDOW:
            self._swept = now
            self._active = {other: until for other, until in self._active.items() if until > now}
        self._sends += 1
        self._active[key] = now + max(SHARE_WINDOW, 1.5 * self.pace())
        pace = self.pace()
        return now + pace if pace <= TICK else ceil((now + pace) / TICK) * TICK


TICK = 0.1
"""Seconds from one bundle of sends to the next."""
SHARE_WINDOW = 1.0
USUAL_COST = 0.0003
"""CPU seconds of one send until the first ones were measured, or they would take what they like for a second."""
LONGEST_PACE = 5.0
"""Seconds between two sends of one execution at most, whatever their share."""
