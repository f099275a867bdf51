"""What all parts of a core share: the time, what is to be done, what is counted, and the fates that others read."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...core.model.values import Outcome
from .effects import Effect, Log, SetFate, Settle, Tell
from .execution import Execution, Waiter
from .queue import Timers
from .values import Settings

QUIET = 60.0
"""Seconds in which a failure of one cause is logged once, however many executions it meets."""
MOST_CAUSES = 100
COUNTED = ("sent", "superseded", "retried", "failed", "spooled", "lost", "conflicts", "bytes")


class Desk:
    """Collects effects; no other part makes a list of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.now = 0.0
        self.waiters: Timers[Waiter] = Timers()
        """Those who wait, and until when."""
        self._effects: list[Effect] = []
        self._said: dict[tuple[str, str], float] = {}
        self._counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self._codes: Counter[str] = Counter()
        self._last_success: float | None = None
        self._last_error = ""

    def begin(self, now: float) -> None:
        """Begin a turn."""
        if now > self.now:
            self.now = now

    def end(self) -> list[Effect]:
        """Return what is to be done."""
        effects, self._effects = self._effects, []
        return effects

    def do(self, *effects: Effect) -> None:
        """Have something done."""
        self._effects += effects

    # Counting and saying

    def count(self, name: str, more: int = 1) -> None:
        """Count something."""
        self._counts[name] += more

    def succeed(self) -> None:
        """Note a success."""
        self._counts["sent"] += 1
        self._last_success = self.now

    def fail(self, code: str, error: str) -> None:
        """Note a failed attempt."""
        self._counts["failed"] += 1
        self._codes[code] += 1
        self._last_error = error

    @property
    def lost(self) -> int:
        """How many were lost."""
        return self._counts["lost"]

    def figures(self, now: float) -> dict[str, Any]:
        """Return what was counted so far."""
        age = None if self._last_success is None else now - self._last_success
        last = {"last_success_age": age, "last_error": self._last_error}
        return {**self._counts, **last, "failures": dict(self._codes.copy())}

    def log(self, level: str, text: str, execution_id: str = "", code: str = "", is_loss: bool = False) -> None:
        """Write a line."""
        self.do(Log(level, text, execution_id, code, is_loss))

    def say(self, code: str, cause: str, text: str, execution_id: str = "", is_loss: bool = False) -> bool:
        """Log a failure, once a minute for each cause; says whether it is logged.

        What is lost by a cause that was told is for those only who could not read that.
        """
        is_told = self._is_told(code, cause)
        if is_told and not (is_loss and not self._is_told(code, f"lost: {cause}")):
            return False
        self.log("debug" if is_told else "warning", text, execution_id, code, is_loss)
        return not is_told

    def _is_told(self, code: str, cause: str) -> bool:
        """Whether a cause was told in the last minute; otherwise it is now."""
        if self.now - self._said.get((code, cause), -QUIET) < QUIET:
            return True
        if len(self._said) >= MOST_CAUSES:
            self._said = {key: time for key, time in self._said.items() if self.now - time < QUIET}
        if len(self._said) >= MOST_CAUSES:
            return True
        self._said[code, cause] = self.now
        return False

    # Fates: always set before anybody who waits is told

    def fate(self, it: Execution, **changes: Any) -> None:
        """Replace what others read of an execution."""
        fate = it.fate._replace(**changes)
        if fate != it.fate:
            it.set_fate(fate)
            self.do(SetFate(it.ref, fate))

    def settle(self, it: Execution) -> None:
        """Answer those whose revision has met its fate."""
        for waiter in it.waiters:
            is_delivered = it.fate.delivered >= waiter.revision
            if is_delivered or it.is_ended or it.fate.outcome is not None or it.fate.refused >= waiter.revision:
                self.answer(waiter, is_delivered)

    def answer(self, waiter: Waiter, done: bool) -> None:
        """Answer somebody who still waits."""
        it = waiter.of
        if waiter in it.waiters:
            self.waiters.remove(waiter)
            it.set_waiters(tuple(other for other in it.waiters if other is not waiter))
            self.do(Settle(waiter.name, done))

    def tell(self, it: Execution, last: int | None = None, is_closing: bool = False) -> None:
        """Tell `on_receipt` of the last state, once its fate is set, and when that becomes another one.

        `last` is its revision, where that is known although the builder has not detached.
        """
        revision = it.final.version[1] if it.final is not None else last
        if revision is None:
            return
        outcome, reason = it.fate.of(revision)
        is_open = outcome is Outcome.PENDING or (outcome is Outcome.SPOOLED and not is_closing)
        if not is_open and it.tell((outcome, revision, reason)):
            self.do(Tell(it.ref, outcome, revision, reason))

    def finish(self, it: Execution, outcome: Outcome, reason: str) -> None:
        """Send nothing more, for good."""
        if it.is_ended:
            return
        it.end()
        if it.is_delivered:
            return
        if outcome is Outcome.LOST:
            self.count("lost")
        self.fate(it, outcome=outcome, reason=reason)
        self.settle(it)
        self.tell(it)
