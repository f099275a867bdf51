"""What all parts of a core share: the time, what is to be done, what is counted, and the fates that others read."""

from __future__ import annotations

from collections import Counter

import attrs

from ...core.model.values import Outcome
from .effects import Effect, Log, SetFate, Settle, Tell
from .execution import Source
from .values import Counters, Settings

QUIET = 60.0
"""Seconds in which a failure of one cause is logged once, however many executions it meets."""
MOST_CAUSES = 100


class Desk:
    """Collects effects; no other part makes a list of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.now = 0.0
        self._effects: list[Effect] = []
        self._said: dict[tuple[str, str], float] = {}
        self._counts: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._last_success: float | None = None
        self._last_error = ""

    def begin(self, now: float) -> None:
        """Begin a turn."""
        self.now = max(now, self.now)

    def end(self) -> list[Effect]:
        """Return what is to be done."""
        effects, self._effects = self._effects, []
        return effects

    def do(self, *effects: Effect) -> None:
        """Have something done."""
        self._effects += effects

    # Counting and saying

    def count(self, **more: int) -> None:
        """Count something."""
        for name, number in more.items():
            self._counts[name] += number

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
    def counters(self) -> Counters:
        """What was counted so far."""
        codes = tuple(self._codes.items())
        return Counters(**self._counts, last_success=self._last_success, last_error=self._last_error, codes=codes)

    def log(self, level: str, text: str, execution_id: str = "", code: str = "", is_loss: bool = False) -> None:
        """Write a line."""
        self.do(Log(level, text, execution_id, code, is_loss))

    def say(self, code: str, cause: str, text: str, execution_id: str = "") -> None:
        """Log a failure, once a minute for each cause."""
        if self.now - self._said.get((code, cause), -QUIET) < QUIET:
            return
        if len(self._said) >= MOST_CAUSES:
            self._said = {key: time for key, time in self._said.items() if self.now - time < QUIET}
        if len(self._said) < MOST_CAUSES:
            self._said[code, cause] = self.now
            self.log("warning", text, execution_id, code)

    # Fates: always set before anybody who waits is told

    def fate(self, source: Source, **changes: object) -> None:
        """Replace what others read of a source."""
        fate = attrs.evolve(source.fate, **changes)  # type: ignore[arg-type]
        if fate != source.fate:
            source.set_fate(fate)
            if source.is_gone:
                return
            self.do(SetFate(source.ref, fate))

    def settle(self, source: Source) -> None:
        """Answer those whose revision has met its fate."""
        for waiter in source.waiters:
            fate = source.fate
            is_delivered = fate.delivered >= waiter.revision
            if is_delivered or source.is_ended or fate.outcome is not None or fate.refused >= waiter.revision:
                self.answer(source, waiter.name, is_delivered)

    def answer(self, source: Source, name: object, done: bool) -> None:
        """Answer one who waits."""
        for waiter in source.waiters:
            if waiter.name == name:
                source.release(waiter)
                self.do(Settle(waiter.name, done))

    def tell(self, source: Source, last: int | None = None, is_closing: bool = False) -> None:
        """Tell `on_receipt` of a source's last state, once its fate is set, and when that becomes another one.

        `last` is its revision, where that is known although the builder has not detached.
        """
        revision = source.final.version[1] if source.final is not None else last
        if revision is None or source.is_gone:
            return
        outcome, reason = source.fate.of(revision)
        if outcome is Outcome.PENDING or (outcome is Outcome.SPOOLED and not is_closing):
            return
        if source.tell((outcome, revision, reason)):
            self.do(Tell(source.ref, outcome, revision, reason))

    def end_source(self, source: Source, outcome: Outcome, reason: str) -> None:
        """Send nothing more of a source, for good."""
        if source.is_done:
            return
        source.end()
        self.fate(source, outcome=outcome, reason=reason)
        if outcome is Outcome.LOST:
            self.count(lost=1)
        self.settle(source)
        self.tell(source)
